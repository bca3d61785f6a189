"""The data behind every page. Markdown, CSV, pictures and HTML are renderings of it, so they cannot disagree.

`board.json` is this, as plain data. Values of a metric are in the unit that is shown (`Scale`), rounded so that another
machine gives the same bytes; a rendering only cuts digits. None: it cannot be known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mer_bench.results.facts import Confusion, Feature, ProtocolFacts
from mer_bench.results.same_numbers import Same
from mer_bench.results.schema import plain
from mer_bench.results.statistics import MARGIN

SCHEMA = "mer-bench/board/1"


@dataclass(frozen=True)
class Scale:
    """How the values of a metric are shown.

    Attributes:
        title: of the metric, with its task where there are several.
        unit: ``%`` or nothing.
        digits: after the point.
        higher_is_better: its direction.
    """

    title: str
    unit: str
    digits: int
    higher_is_better: bool

    @property
    def margin(self) -> str:
        """The difference that nobody would notice, in the unit that is shown."""
        return f"{100 * MARGIN:g} points" if self.unit else f"{MARGIN:g}"


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class BoardRow:
    """One method in one table; see `rows.Row` for what the numbers are.

    Attributes:
        key: names the row on its page.
        slug: of the method; its page is ``methods/<slug>.md``.
        title: as in the paper.
        label: title, with modalities or settings where others of the same method stand beside it.
        year: of the paper.
        modalities: that it used.
        control: shows what a score means; never ranked.
        rank: lowest and highest rank that it may have.
        mean: of the finished runs.
        score: of complete rows.
        difference: to the reference.
        p: of the difference.
        p_adjusted: after Holm, for confirmatory comparisons.
        family: confirmatory or exploratory.
        p_better: probability that it is better than the reference.
        p_within: probability that the two differ by less than the margin.
        second_opinions: other p values.
        seed_sd: over seeds.
        gain: interaction gain.
        missing_auc: area under the missing-modality curve.
        worst_group: see `rows.Row`.
        validation: on the validation part.
        parameters: trainable ones.
        train_seconds: in training, on the clock, mean of a run.
        compute_seconds: of processors, and of a GPU where one was held, mean of a run.
        done: finished runs.
        planned: runs of a complete row.
        badges: what a reader must know.
        metrics: mean of every metric.
        conditions: primary metric by condition.
        folds: primary metric by fold.
        confusion: counts over all runs.
        selection: how epochs were chosen.
        settings: first digits of the settings' hash.
        commits: of the code.
    """

    key: str
    slug: str
    title: str
    label: str
    year: int | None
    modalities: tuple[str, ...]
    control: bool
    rank: tuple[int, ...] | None
    mean: float | None
    score: Interval | None
    difference: Interval | None
    p: float | None
    p_adjusted: float | None
    family: str
    p_better: float | None
    p_within: float | None
    second_opinions: Mapping[str, float]
    seed_sd: float | None
    gain: Interval | None
    missing_auc: Interval | None
    worst_group: float | None
    validation: float | None
    parameters: int
    train_seconds: float | None
    compute_seconds: float | None
    done: int
    planned: int
    badges: tuple[str, ...]
    metrics: Mapping[str, float]
    conditions: Mapping[str, float]
    folds: tuple[float | None, ...]
    confusion: Mapping[str, Confusion]
    selection: tuple[str, ...]
    settings: str
    commits: tuple[str, ...]


@dataclass(frozen=True)
class Resolved:
    """The smallest difference that the protocol finds with 80 % power; every pair of ranked rows has its own.

    Attributes:
        single: for one comparison: half of the pairs need more.
        smallest: of the pair that needs least.
        largest: of the pair that needs most.
        adjusted: for the first step of Holm among `comparisons`.
        comparisons: of the confirmatory family.
        factor: standard errors that an observed difference needs after adjustment.
    """

    single: float
    smallest: float
    largest: float
    adjusted: float
    comparisons: int
    factor: float


@dataclass(frozen=True)
class PairOf:
    """Difference of two ranked rows, first minus second, exploratory.

    Attributes:
        first: key of a row.
        second: key of another.
        difference: with its interval.
        p: not adjusted.
        p_better: probability that the first is better.
    """

    first: str
    second: str
    difference: Interval
    p: float
    p_better: float


@dataclass(frozen=True)
class NotRun:
    """A shipped method without a run.

    Attributes:
        slug: of the method.
        title: as in the paper.
        modalities: that it would use.
        reason: why it cannot be run here; empty where there is only no run under this definition of the protocol.
    """

    slug: str
    title: str
    modalities: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class BoardTable:
    """One variant of the settings.

    Attributes:
        variant: default, tuned-N or paper.
        rows: in the order of the table.
        resolution: None with fewer than two ranked rows.
        pairs: all differences of ranked rows.
        problems: what was left out, and why.
        alarms: controls out of their band.
        absent: controls that were not run.
        not_run: shipped methods that no row is of.
    """

    variant: str
    rows: tuple[BoardRow, ...]
    resolution: Resolved | None
    pairs: tuple[PairOf, ...]
    problems: tuple[str, ...]
    alarms: tuple[str, ...]
    absent: tuple[str, ...]
    not_run: tuple[NotRun, ...]


@dataclass(frozen=True)
class LeftOut:
    """A record that is not used, and why."""

    record: str
    reason: str


@dataclass(frozen=True)
class BoardPage:
    """One protocol with one feature set of one feature file.

    Attributes:
        name: of its page, without ending.
        protocol: what is compared.
        features: the feature set, in the order in which most runs were given it.
        data: fingerprint of the feature file.
        scales: of every metric.
        items: number of items by part, smallest and largest over the folds.
        clusters: number of clusters of the test part, smallest and largest over runs; empty where no run says.
        newest: date of the newest record.
        tables: by variant.
        superseded: the protocol has another definition now.
        left_out: records of the protocol that are not used.
    """

    name: str
    protocol: ProtocolFacts
    features: tuple[Feature, ...]
    data: str
    scales: Mapping[str, Scale]
    items: Mapping[str, tuple[int, ...]]
    clusters: tuple[int, ...]
    newest: str
    tables: tuple[BoardTable, ...]
    superseded: bool = False
    left_out: tuple[LeftOut, ...] = ()

    @property
    def scale(self) -> Scale:
        """Of the primary metric."""
        return self.scales[self.protocol.primary]


@dataclass(frozen=True)
class Board:
    """All pages of one kind.

    Attributes:
        synthetic: invented data; such a board never shares a page with another.
        pages: sorted by name, older definitions last.
        left_out: records that are not used.
        same: older code that gives the same numbers as newer one.
        schema: version of this form.
    """

    synthetic: bool
    pages: tuple[BoardPage, ...]
    left_out: tuple[LeftOut, ...]
    same: tuple[Same, ...] = ()
    schema: str = SCHEMA


def to_json(board: Board) -> str:
    """The bytes of `board.json`."""
    return json.dumps(plain(board), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
