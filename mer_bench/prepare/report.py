"""What a conversion found and did: short on screen, in full as JSON beside the feature file."""

from __future__ import annotations

import dataclasses
import json
import os
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mer_bench.errors import UserError


@dataclass
class Tally:
    """How often something happened, and to which items."""

    count: int
    ids: list[str] = field(default_factory=list)


@dataclass
class Report:
    """The account of one conversion.

    Attributes:
        corpus: slug.
        source: what was converted, as the user named it.
        recognised: the layout that was recognised.
        absent: optional parts of that layout that are not there.
        counted: what was found.
        verified: what was checked and holds.
        repaired: what was mended or masked.
        dropped: what was left out.
        written: the feature file; empty for a dry run.
        content_sha256: its content hash.
        seconds: that the conversion took; 0 where nobody measured.
        peak_mb: most memory it held, likewise.
    """

    corpus: str
    source: str
    recognised: str = ""
    absent: list[str] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)
    verified: list[str] = field(default_factory=list)
    repaired: dict[str, Tally] = field(default_factory=dict)
    dropped: dict[str, Tally] = field(default_factory=dict)
    written: str = ""
    content_sha256: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0

    def repair(self, what: str, ids: Iterable[str], count: int | None = None) -> None:
        """Note a repair of these items; nothing when there are none. `count` where it is not the number of items."""
        _note(self.repaired, what, list(ids), count)

    def drop(self, what: str, ids: Iterable[str], count: int | None = None) -> None:
        """Note what was left out, likewise."""
        _note(self.dropped, what, list(ids), count)

    def lines(self) -> list[str]:
        """The short form."""
        told = [
            ("recognised", f"{self.recognised} in {self.source}"),
            *(("absent", part) for part in self.absent),
            ("counted", ", ".join(f"{what} {count:,}" for what, count in self.counted.items())),
            *(("verified", fact) for fact in self.verified),
            *(("repaired", f"{what}: {tally.count:,}") for what, tally in self.repaired.items()),
            *(("dropped", f"{what}: {tally.count:,}") for what, tally in self.dropped.items()),
            *([("took", f"{self.seconds:.1f} s, {self.peak_mb:,.0f} MB at most")] if self.seconds else []),
            ("written", f"{self.written} (content {self.content_sha256[:12]})" if self.written else "nothing: dry run"),
        ]
        return [f"{word if first else '':<11} {part}" for word, text in told for first, part in _folded(text)]

    def save(self, path: Path) -> None:
        """Write everything as JSON, whole or not at all.

        Raises:
            UserError: the place cannot be written.
        """
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(self), file, indent=1, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error}") from None
        finally:
            temporary.unlink(missing_ok=True)


def _folded(text: str) -> list[tuple[bool, str]]:
    """The lines of a long entry, and which is the first."""
    parts = textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)
    return [(number == 0, part) for number, part in enumerate(parts)]


def _note(table: dict[str, Tally], what: str, ids: list[str], count: int | None) -> None:
    number = len(ids) if count is None else count
    if number:
        table[what] = Tally(number, ids)
