"""From records to boards: what may stand in one table, and one line for each method in it. Pure; no statistics.

A board is one protocol, one feature set and one feature file; its tables are the variants of the settings. Runs on a
single modality of a board's feature set stand in it as control lines: the best of them is what fusion has to beat.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mer_bench.results.canonical import digest
from mer_bench.results.facts import Feature, ProtocolFacts
from mer_bench.results.lines import Line, make_line, ranked, used_features, with_gain
from mer_bench.results.record import Rejected
from mer_bench.results.schema import Record


@dataclass(frozen=True)
class Board:
    """One page.

    Attributes:
        protocol: what is compared.
        features: the feature set.
        data: fingerprint of the feature file.
        synthetic: invented data.
        tables: lines by variant: ranked ones, controls, the rest.
        selection: how weights were chosen, in the records' words.
    """

    protocol: ProtocolFacts
    features: tuple[Feature, ...]
    data: str
    synthetic: bool
    tables: Mapping[str, tuple[Line, ...]]
    selection: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Hash of what makes it a board of its own."""
        return digest([repr(self.protocol), repr(self.features), self.data, self.synthetic])


def consolidate(records: Iterable[Record]) -> tuple[list[Record], list[Rejected]]:
    """One record for each run, and one run for each fold and seed of a line.

    Copies count once. Of two records of a run with the same numbers the one with the smaller id stays; with different
    numbers none does, since nobody may choose. The same for two runs that claim one place in a line.

    Returns:
        Records in an order that depends on their content only, and those left out.
    """
    runs: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        runs[record.run_key][record.record_id] = record
    kept, rejected = [], []
    for found in runs.values():
        first, *others = (found[key] for key in sorted(found))
        if all(other.numbers() == first.numbers() for other in others):
            kept.append(first)
            rejected += [Rejected(_place(o), f"repeats run {o.run_key[:16]} with the same result") for o in others]
        else:
            reason = f"CONFLICT: {len(found)} records of run {first.run_key[:16]} with different results; none counts"
            rejected += [Rejected(_place(record), reason) for record in (first, *others)]
    places: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in kept:
        row = (record.method.slug, used_features(record), record.settings_hash, record.variant)
        family = (record.protocol, record.data_fingerprint, record.synthetic)
        places[*family, *row, record.fold, record.seed].append(record)
    for claims in places.values():
        reason = f"CONFLICT: {len(claims)} runs claim fold {claims[0].fold}, seed {claims[0].seed}; none counts"
        rejected += [Rejected(_place(record), reason) for record in claims if len(claims) > 1]
    single = [claims[0] for claims in places.values() if len(claims) == 1]
    return sorted(single, key=lambda record: record.record_id), sorted(rejected)


def _place(record: Record) -> str:
    return f"{record.protocol.name}/{record.method.slug}/{record.run_key[:16]} (record {record.record_id[:16]})"


def make_boards(records: Sequence[Record]) -> list[Board]:
    """Every board that the records make, each run counted once (see `consolidate`)."""
    families: dict[tuple[ProtocolFacts, str, bool], list[Record]] = defaultdict(list)
    for record in records:
        families[record.protocol, record.data_fingerprint, record.synthetic].append(record)
    boards = []
    for (protocol, data, synthetic), family in families.items():
        sets = {used_features(record) for record in family}
        wide = {features for features in sets if len(features) > 1}
        alone = {features for features in sets - wide if not any(set(features) <= set(other) for other in wide)}
        for features in wide | alone:
            inside = [record for record in family if _belongs(used_features(record), features)]
            boards.append(_board(protocol, features, data, synthetic, inside))
    return sorted(boards, key=lambda b: (b.synthetic, b.protocol.name, len(b.features), b.identity))


def _belongs(mine: tuple[Feature, ...], features: tuple[Feature, ...]) -> bool:
    return mine == features or (len(mine) == 1 and mine[0] in features)


def _board(
    protocol: ProtocolFacts, features: tuple[Feature, ...], data: str, synthetic: bool, records: list[Record]
) -> Board:
    variants: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        variants[record.variant].append(record)
    own = [record for record in records if used_features(record) == features]
    return Board(
        protocol=protocol,
        features=features,
        data=data,
        synthetic=synthetic,
        tables={name: _table(protocol, features, variants[name]) for name in sorted(variants)},
        selection=tuple(sorted({_selection(record) for record in own})),
    )


def _selection(record: Record) -> str:
    rule = record.selection.rule
    words = {
        "validation": f"best epoch by {record.selection.metric} on the validation part of the fold",
        "fixed": "last of a fixed number of epochs",
        "none": "nothing to train",
        "test": "best epoch on the reported part (TEST-SELECTED)",
    }
    return words[rule]


def _table(protocol: ProtocolFacts, features: tuple[Feature, ...], records: list[Record]) -> tuple[Line, ...]:
    rows: dict[tuple[str, tuple[Feature, ...], str], list[Record]] = defaultdict(list)
    for record in records:
        rows[record.method.slug, used_features(record), record.settings_hash].append(record)
    copies = Counter((slug, used) for slug, used, _ in rows)
    lines = []
    for (slug, used, settings), runs in rows.items():
        tag = settings[:8] if copies[slug, used] > 1 else ""
        lines.append(make_line(protocol, runs, tag, control=used != features))
    lines = with_gain(lines, protocol)
    return ranked(lines, protocol)
