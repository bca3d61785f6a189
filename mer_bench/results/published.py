"""What papers report: `leaderboards/published.yaml`, read strictly. No numpy, no torch.

These numbers are never ranked and never mixed with measured ones; pages show them beside a method, with their source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mer_bench.errors import UserError, did_you_mean
from mer_bench.metrics.definitions import METRICS, split
from mer_bench.recipes import load_yaml
from mer_bench.results.decode import decode
from mer_bench.results.facts import SLUG, readable, require

PERCENT = " %"
Selection = Literal["validation", "test", "challenge", "unstated"]


@dataclass(frozen=True)
class Source:
    """Where a number stands.

    Attributes:
        title: for people.
        where: address, or repository and file.
        read: from the authors' own text or file (``source``), from a ``picture`` of theirs, or as somebody else
            repeats it (``quoted``).
    """

    title: str
    where: str
    read: Literal["source", "picture", "quoted"]

    def __post_init__(self) -> None:
        """Refuse what could not stand on a page."""
        readable(self.title, "sources.title", 200)
        readable(self.where, "sources.where", 300)


@dataclass(frozen=True)
class PublishedTable:
    """Numbers of one table of one edition, which share everything but the method.

    Attributes:
        id: slug, unique.
        source: which one.
        place: table, row or section of it.
        edition: version, commit or date.
        corpus: what was tested.
        protocol: as far as stated.
        near: the protocol of this suite that is nearest; empty where none is.
        features: inputs, as far as stated.
        selection: what the reported epoch or setting was chosen on.
        comparable: whether the numbers may stand beside those of `near`.
        why: the reason.
        columns: ``task/metric`` or ``task/metric/output``, with `PERCENT` behind it where printed times 100.
        rows: values by method, one a column, None where not stated.
    """

    id: str
    source: str
    place: str
    edition: str
    corpus: str
    protocol: str
    near: str
    features: str
    selection: Selection
    comparable: bool
    why: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float | None, ...]]

    def __post_init__(self) -> None:
        """Refuse unknown metrics, ragged rows and values that no metric can have."""
        require(SLUG, self.id, "tables.id")
        where = f"table {self.id}"
        for name in ("place", "edition", "corpus", "protocol", "features", "why"):
            readable(getattr(self, name), f"{where}: {name}", 400)
        metrics = [column.removesuffix(PERCENT) for column in self.columns]
        if len(set(metrics)) != len(metrics) or not metrics or not self.rows:
            raise UserError(f"{where}: expected at least one row, and at least one column, each once")
        for method, values in self.rows.items():
            require(SLUG, method, f"{where}: a method")
            if len(values) != len(metrics):
                raise UserError(
                    f"{where}, row {method}: {len(values)} values for {len(metrics)} columns; write null where the "
                    "source has none"
                )
        for number in self.numbers():
            low, high = METRICS[split(number.metric)[1]].bounds
            if not low <= number.value <= high:
                raise UserError(
                    f"{where}, row {number.method}: {number.metric} is {number.value:g}; expected {low:g} to {high:g}. "
                    f"Is {PERCENT.strip()!r} missing behind the column's name, or there by mistake?"
                )

    def numbers(self) -> Iterator[Number]:
        """Every stated value, in the order of the file."""
        for method, values in self.rows.items():
            for column, value in zip(self.columns, values, strict=True):
                if value is not None:
                    shown = value / 100 if column.endswith(PERCENT) else value
                    yield Number(method, column.removesuffix(PERCENT), shown, self)


@dataclass(frozen=True)
class Number:
    """One published number.

    Attributes:
        method: slug of this suite.
        metric: ``task/metric`` or ``task/metric/output``.
        value: as a record would hold it (0.801, not 80.1).
        table: where it stands.
    """

    method: str
    metric: str
    value: float
    table: PublishedTable


@dataclass(frozen=True)
class Published:
    """Everything that was read.

    Attributes:
        sources: by slug.
        tables: in the order of the file.
        unread: methods for which no number could be read, with the reason.
    """

    sources: Mapping[str, Source]
    tables: tuple[PublishedTable, ...]
    unread: Mapping[str, str] = field(default_factory=dict, metadata={"added": True})

    def __post_init__(self) -> None:
        """Refuse dangling sources, and two tables of one name."""
        seen = set()
        for table in self.tables:
            if table.source not in self.sources:
                raise UserError(
                    f"table {table.id}: source {table.source!r}; {did_you_mean(table.source, self.sources)}"
                )
            if table.id in seen:
                raise UserError(f"table {table.id}: there are two of this name; expected each once")
            seen.add(table.id)
        for method, reason in self.unread.items():
            require(SLUG, method, "a method in unread")
            readable(reason, f"unread.{method}", 300)
            if any(number.method == method for number in self.numbers()):
                raise UserError(f"unread.{method}: there are numbers of {method} in a table; remove one of the two")

    def numbers(self) -> Iterator[Number]:
        """Every published number."""
        for table in self.tables:
            yield from table.numbers()

    def of(self, method: str) -> list[Number]:
        """The numbers of one method."""
        return [number for number in self.numbers() if number.method == method]


def read_published(path: Path) -> Published:
    """Read and check published numbers.

    Raises:
        UserError: the file cannot be read, or does not fit; with the place.
    """
    content = load_yaml(path)
    try:
        found: Published = decode(Published, content, "published")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return found
