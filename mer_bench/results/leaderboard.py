"""Records to markdown pages. Pure: the same records give the same bytes, in whatever order they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.results import atomic
from mer_bench.results.board import consolidate, make_boards
from mer_bench.results.pages import INDEX, MARK, SYNTHETIC_INDEX, file_name, index, page
from mer_bench.results.record import Record, Rejected


def build(records: Iterable[Record], rejected: Sequence[Rejected] = ()) -> tuple[dict[str, str], list[Rejected]]:
    """Every page by file name, and every record that was left out.

    Args:
        records: in any order; copies are allowed.
        rejected: what could not even be read.
    """
    kept, unusable = consolidate(records)
    left_out = sorted({*rejected, *unusable})
    boards = make_boards(kept)
    pages = {file_name(board): page(board) for board in boards}
    pages[INDEX] = index([b for b in boards if not b.synthetic], left_out, synthetic=False)
    pages[SYNTHETIC_INDEX] = index([b for b in boards if b.synthetic], [], synthetic=True)
    return pages, left_out


def write_pages(folder: Path, pages: Mapping[str, str]) -> None:
    """Write the pages, the index last, and remove generated pages that no record makes any more.

    Raises:
        UserError: a page would replace a file that was not generated.
    """
    for name in pages:
        path = folder / name
        if path.exists() and not generated(path):
            raise UserError(f"{path} was not made by `mer-bench leaderboard`; move it away or choose another --out")
    atomic.make_folder(folder)
    stale = [path for path in sorted(folder.glob("*.md")) if path.name not in pages and generated(path)]
    for name in sorted(pages, key=lambda name: (name == INDEX, name)):
        content = pages[name].encode()
        if not (folder / name).exists() or (folder / name).read_bytes() != content:
            atomic.write(folder / name, content)
    for path in stale:
        path.unlink()


def generated(path: Path) -> bool:
    """Whether a file carries the mark of this generator."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(MARK.encode())) == MARK.encode()
