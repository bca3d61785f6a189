"""Shipped methods without a run in a table: under this definition of the protocol, or because they do not fit.

Runs under an older definition do not count, so a method that stands here may well have been run before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mer_bench.data.corpora import protocols
from mer_bench.recipes import unsupported
from mer_bench.results.facts import ProtocolFacts
from mer_bench.results.model import NotRun

#: by slug, as in the files of the methods
Cards = Mapping[str, Mapping[str, Any]]


def never_run(
    facts: ProtocolFacts, modalities: Sequence[str], cards: Cards, rows: set[tuple[str, tuple[str, ...]]]
) -> tuple[NotRun, ...]:
    """Methods that have no row, by slug; none for protocols that only repeat a paper, or are not shipped as they are.

    Args:
        facts: of the protocol.
        modalities: of the table.
        cards: of all methods.
        rows: method and modalities of every row that is there.
    """
    protocol = protocols().get(facts.name)
    if protocol is None or protocol.hash != facts.hash or facts.legacy:
        return ()
    found = []
    for slug, card in sorted(cards.items()):
        reason = unsupported(card, protocol, modalities)
        single = bool(card.get("per_modality")) and not reason
        for mine in [(modality,) for modality in modalities] if single else [tuple(modalities)]:
            if (slug, mine) not in rows:
                found.append(NotRun(slug, str(card.get("title", slug)), mine, reason))
    return tuple(found)
