"""From records to the model of all pages. A pure function: the order of the records changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from mer_bench.metrics.definitions import METRICS, direction, split
from mer_bench.results.consolidate import used_features
from mer_bench.results.facts import ProtocolFacts
from mer_bench.results.grids import given, row_name
from mer_bench.results.loading import Loaded
from mer_bench.results.measured import Sums, superseded
from mer_bench.results.model import (
    Board,
    BoardPage,
    BoardRow,
    BoardTable,
    Interval,
    LeftOut,
    PairOf,
    Resolved,
    Scale,
)
from mer_bench.results.never_run import Cards, never_run
from mer_bench.results.rows import Row
from mer_bench.results.samples import FULL
from mer_bench.results.schema import Record
from mer_bench.results.statistics import Difference, Estimate
from mer_bench.results.statistics.ranks import DRAWS
from mer_bench.results.tables import CONTROLS, REFERENCE, Table, make_tables

EXPECTED = ("majority", "unimodal", REFERENCE, "shuffled")
_ROUND = 6

Place = tuple[str, str, str, tuple[str, ...]]  # of a page: protocol, its hash, feature file, modalities


def build(loaded: Loaded, *, synthetic: bool, draws: int = DRAWS, cards: Cards | None = None) -> Board:
    """The board of real or of invented data.

    Args:
        loaded: records and what goes with them.
        synthetic: which of the two.
        draws: bootstrap resamples for rank intervals (rule A).
        cards: of the shipped methods; those without a run are named on the boards of real data.
    """
    shipped: Cards = {} if synthetic or cards is None else cards
    records = [record for record in loaded.records if record.synthetic == synthetic]
    tables = make_tables(records, statistics=loaded.statistics, stale=loaded.stale, draws=draws)
    groups: dict[Place, list[Table]] = {}
    for table in tables:
        place = table.protocol.name, table.protocol.hash, table.data, table.modalities
        groups.setdefault(place, []).append(table)
    names = _names(groups)
    left = [LeftOut(entry.path, entry.reason) for entry in loaded.left_out] if not synthetic else []
    pages = [_page(names[place], groups[place], records, loaded.statistics, shipped, left) for place in groups]
    return Board(
        synthetic, tuple(sorted(pages, key=lambda page: (page.superseded, page.name))), tuple(left), tuple(loaded.same)
    )


def _names(groups: Mapping[Place, Sequence[Table]]) -> dict[Place, str]:
    """Readable and unique: with hashes where two pages would share a name.

    The page of the present definition keeps its address when records of an older one lie beside its own.
    """
    short = {place: f"{place[0]}--{'-'.join(place[3])[:80]}" for place in groups}
    old = {place for place, tables in groups.items() if superseded(tables[0].protocol)}
    count = Counter(short.values())
    present = Counter(name for place, name in short.items() if place not in old)
    plain = {p for p, name in short.items() if count[name] == 1 or (p not in old and present[name] == 1)}
    return {p: name if p in plain else f"{name}--{p[1][:8]}-{p[2][:8]}" for p, name in short.items()}


def _page(
    name: str, tables: Sequence[Table], records: Iterable[Record], sums: Sums, cards: Cards, left: Iterable[LeftOut]
) -> BoardPage:
    first = tables[0]
    same = [
        r
        for r in records
        if (r.protocol.name, r.protocol.hash, r.data_fingerprint)
        == (first.protocol.name, first.protocol.hash, first.data)
        and set(r.modalities) <= set(first.modalities)
    ]
    order = given(same, first.modalities)
    features = sorted({f for r in same for f in used_features(r)}, key=lambda f: order.index(f.modality))
    parts = sorted({part for r in same for part in r.items})
    sizes = {part: [r.items[part] for r in same if part in r.items] for part in parts}
    tested = {len(sums[r.run_key][FULL].clusters) for r in same if FULL in sums.get(r.run_key, {})}
    protocol = first.protocol
    return BoardPage(
        name=name,
        protocol=protocol,
        features=tuple(features),
        data=first.data,
        scales={metric: _scale(protocol, metric) for metric in _metrics(protocol, tables)},
        items={part: tuple(sorted({min(n), max(n)})) for part, n in sizes.items()},
        clusters=tuple(sorted({min(tested), max(tested)})) if tested else (),
        newest=max((r.finished_utc[:10] for r in same), default=""),
        tables=tuple(_table(table, cards) for table in sorted(tables, key=lambda table: table.variant)),
        superseded=superseded(protocol),
        left_out=tuple(one for one in left if protocol.name in PurePosixPath(one.record).parts),
    )


def _metrics(protocol: ProtocolFacts, tables: Iterable[Table]) -> list[str]:
    """Those of the protocol, then their parts by class or dimension."""
    parts = {metric for table in tables for row in table.rows for metric in row.details.metrics}
    return [*protocol.metrics, *sorted(parts - set(protocol.metrics))]


def _scale(protocol: ProtocolFacts, metric: str) -> Scale:
    task, name, output = split(metric)
    several = len({split(m)[0] for m in protocol.metrics}) > 1
    words = [*([task] if several else []), METRICS[name].title, *([output] if output else [])]
    percent = METRICS[name].percent
    return Scale(" ".join(words), "%" if percent else "", 2 if percent else 3, direction(metric) > 0)


def _table(table: Table, cards: Cards) -> BoardTable:
    primary = table.protocol.primary
    factor = _factor(primary)
    copies = Counter((row.method.slug, row.modalities) for row in table.rows)
    singles = [row for row in table.rows if len(row.modalities) == 1 < len(table.modalities) and row.score is not None]
    best = min(singles, key=lambda row: _loss(row, primary), default=None)
    rows = [
        _row(row, table, factor, several=copies[row.method.slug, row.modalities] > 1, best=row is best)
        for row in table.rows
    ]
    resolved = table.resolution
    return BoardTable(
        variant=table.variant,
        rows=tuple(rows),
        resolution=None
        if resolved is None
        else Resolved(
            round(resolved.single * factor, _ROUND),
            round(resolved.smallest * factor, _ROUND),
            round(resolved.largest * factor, _ROUND),
            round(resolved.adjusted * factor, _ROUND),
            resolved.comparisons,
            round(resolved.factor, _ROUND),
        ),
        pairs=tuple(
            PairOf(a, b, _interval(d, factor), round(d.p, _ROUND), round(d.p_better, _ROUND))
            for (a, b), d in sorted(table.pairs.items())
        ),
        problems=table.problems,
        alarms=table.alarms,
        absent=tuple(slug for slug in EXPECTED if slug not in {row.method.slug for row in table.rows}),
        not_run=never_run(
            table.protocol, table.modalities, cards, {(row.method.slug, row.modalities) for row in table.rows}
        )
        if table.variant == "default"
        else (),
    )


def _loss(row: Row, primary: str) -> tuple[float, str]:
    assert row.score is not None
    return -direction(primary) * row.score.value, row.modalities[0]


def _factor(metric: str) -> float:
    return 100.0 if METRICS[split(metric)[1]].percent else 1.0


def _interval(found: Estimate | Difference, factor: float) -> Interval:
    return Interval(*(_rounded(x * factor) for x in (found.value, found.low, found.high)))


def _rounded(value: float) -> float:
    """Rounded, and never a minus zero."""
    return round(value, _ROUND) + 0.0


def _known(value: float | None, factor: float = 1.0) -> float | None:
    return None if value is None else _rounded(value * factor)


def _row(row: Row, table: Table, factor: float, *, several: bool, best: bool) -> BoardRow:
    details, tested, difference = row.details, row.tested, row.difference
    scaled: Mapping[str, float] = {m: _rounded(x * _factor(m)) for m, x in details.metrics.items()}
    single = row.modalities != table.modalities
    label = row.method.title + (f" ({', '.join(row.modalities)})" if single else "")
    return BoardRow(
        key=row_name((row.method.slug, row.modalities, row.settings)),
        slug=row.method.slug,
        title=row.method.title,
        label=f"{label} [{row.settings[:8]}]" if several else label,
        year=row.method.year,
        modalities=row.modalities,
        control=single or row.method.slug in CONTROLS,
        rank=None if row.rank is None else (row.rank.low, row.rank.high),
        mean=_known(row.mean, factor),
        score=None if row.score is None else _interval(row.score, factor),
        difference=None if difference is None else _interval(difference, factor),
        p=None if tested is None else _rounded(tested.p),
        p_adjusted=None if tested is None else _known(tested.adjusted),
        family="" if tested is None else tested.family,
        p_better=None if difference is None else _rounded(difference.p_better),
        p_within=None if difference is None else _rounded(difference.p_within),
        second_opinions={name: _rounded(p) for name, p in row.second_opinions.items()},
        seed_sd=_known(row.seed_sd, factor),
        gain=None if row.gain is None else _interval(row.gain, factor),
        missing_auc=None if row.missing_auc is None else _interval(row.missing_auc, factor),
        worst_group=_known(row.worst_group, factor),
        validation=_known(details.validation, factor),
        parameters=row.parameters,
        train_seconds=round(row.train_seconds / row.done, 3) if row.done else None,
        compute_seconds=None if row.compute_seconds is None else round(row.compute_seconds / row.done, 3),
        done=row.done,
        planned=row.planned,
        badges=(*row.badges, *(["BEST-SINGLE"] if best else [])),
        metrics=scaled,
        conditions={c: _rounded(x * factor) for c, x in details.conditions.items()},
        folds=tuple(_known(x, factor) for x in details.folds),
        confusion=details.confusion,
        selection=details.selection,
        settings=row.settings[:16],
        commits=details.commits,
    )
