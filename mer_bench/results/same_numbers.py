"""Older code that gives the same numbers: shown by repeating a run, written down, and then no longer stale.

A change of a file that runs import makes their records stale, though most changes move no number. `mer-bench rerun
RECORD --confirm DIR` repeats one run with the present code; where every score agrees, records of that older code with
the same modules count as current. The list lies beside the records and is shown on the front page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.results import atomic
from mer_bench.results.decode import decode
from mer_bench.results.facts import SHA, SLUG, Code, require
from mer_bench.results.schema import plain
from mer_bench.results.sources import code_hash

NAME = "same_numbers.json"


@dataclass(frozen=True)
class Same:
    """Two versions of the code of one kind of run.

    Attributes:
        old: hash of the sources.
        new: hash of the sources that gave the same scores.
        method: slug.
        run: key of the run that was repeated.
    """

    old: str
    new: str
    method: str
    run: str

    def __post_init__(self) -> None:
        """Refuse anything but hashes and a slug."""
        for name in ("old", "new", "run"):
            require(SHA, getattr(self, name), f"same numbers: {name}")
        require(SLUG, self.method, "same numbers: method")


def read_same(folder: Path) -> tuple[Same, ...]:
    """What was confirmed for the records of a folder.

    Raises:
        UserError: the list is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return ()
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); `mer-bench rerun --confirm` writes it") from None
    return tuple(decode(tuple[Same, ...], content, str(path)))


def confirm(folder: Path, one: Same) -> None:
    """Add to the list; sorted, each once."""
    every = sorted({*read_same(folder), one}, key=lambda same: (same.method, same.old, same.new, same.run))
    atomic.make_folder(folder)
    atomic.write(folder / NAME, (json.dumps(plain(every), indent=1, sort_keys=True) + "\n").encode())


def is_current(found: Code, same: Iterable[Same]) -> bool:
    """Whether a record's code is the present one, or is known to give the same numbers as it."""
    try:
        present = code_hash(found.modules)
    except UserError:
        return False
    reached, waiting = set[str](), [found.hash]
    steps = list(same)
    while waiting:
        here = waiting.pop()
        if here not in reached:
            reached.add(here)
            waiting += [step.new for step in steps if step.old == here]
    return present in reached
