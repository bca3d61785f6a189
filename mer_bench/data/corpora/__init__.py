"""What is defined of each corpus without its files: one Python file a corpus, found by discovery. No torch."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from mer_bench.errors import UserError, did_you_mean
from mer_bench.protocol import Corpus, Protocol


@functools.cache
def corpora() -> dict[str, Corpus]:
    """Every corpus by slug."""
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        found[module.CORPUS.slug] = module.CORPUS
    return dict(sorted(found.items()))


def protocols() -> dict[str, Protocol]:
    """Every protocol by name, sorted."""
    return dict(sorted((p.name, p) for corpus in corpora().values() for p in corpus.protocols))


def find_protocol(name: str, corpus: str = "") -> Protocol:
    """The protocol of that name, or the default one of the corpus when the name is empty.

    Raises:
        UserError: unknown name, or a protocol of another corpus.
    """
    if not name and corpus:
        return corpora()[corpus].protocols[0]
    known = {p.name: p for p in corpora()[corpus].protocols} if corpus in corpora() else protocols()
    if name not in known:
        raise UserError(f"no protocol named {name!r}{f' for {corpus}' if corpus else ''}; {did_you_mean(name, known)}")
    return known[name]
