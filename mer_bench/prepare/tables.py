"""CSV tables of strangers: every column named, every row of the same width, ids read as text."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mer_bench.errors import UserError


def read_table(path: Path, columns: Sequence[str], delimiter: str = ",") -> dict[str, list[str]]:
    """Cells by column, as text.

    Args:
        path: the file, UTF-8 with or without a byte order mark.
        columns: the names that its header must have, in this order.
        delimiter: between cells.

    Raises:
        UserError: unreadable, another header, or a row of another width; names file and line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if header != list(columns):
                raise UserError(
                    f"{path}: header is {header[:8]}; expected {list(columns)[:8]} ({len(columns)} columns)"
                )
            rows = []
            for row in reader:
                if len(row) != len(columns):
                    raise UserError(f"{path}, line {reader.line_num}: {len(row)} cells; expected {len(columns)}")
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table: {error}") from None
    return {name: [row[place] for row in rows] for place, name in enumerate(columns)}


def read_rows(path: Path, width: int, delimiter: str = ",") -> list[list[str]]:
    """Rows of a table without a header, as text.

    Args:
        path: the file, UTF-8.
        width: cells of every row.
        delimiter: between cells.

    Raises:
        UserError: unreadable, empty, or a row of another width; names file and line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            rows = []
            for row in reader:
                if len(row) != width:
                    raise UserError(f"{path}, line {reader.line_num}: {len(row)} cells; expected {width}")
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table: {error}") from None
    if not rows:
        raise UserError(f"{path}: no rows; expected {width} cells in each")
    return rows


def numbers(cells: Sequence[str], where: str) -> np.ndarray:
    """Cells as float64; ``nan`` and ``inf`` pass, for the caller to judge.

    Raises:
        UserError: naming the first cell that is no number; `where` names file and column.
    """
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        row = next(row for row, cell in enumerate(cells) if not is_number(cell))
        raise UserError(f"{where}, row {row + 1}: {cells[row]!r:.40} is not a number") from None


def vectors(cells: Sequence[str], size: int, where: str) -> np.ndarray:
    """Cells such as ``[1.0, 2.5]`` as float64 (rows, size).

    Raises:
        UserError: naming the first cell that is no such list of that length.
    """
    lists = []
    for row, cell in enumerate(cells):
        parts = cell.strip().removeprefix("[").removesuffix("]").split(",")
        if not (cell.strip().startswith("[") and cell.strip().endswith("]") and len(parts) == size):
            raise UserError(f"{where}, row {row + 1}: {cell!r:.60}; expected {size} numbers in brackets")
        lists.append(numbers(parts, f"{where}, row {row + 1}"))
    return np.array(lists).reshape(len(cells), size)


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def read_any(path: Path, delimiter: str = ",") -> dict[str, list[str]]:
    """Cells by column, as text, whatever the header names; blanks around names and cells are taken off.

    Raises:
        UserError: unreadable, no header, a name twice or none, or a row of another width; names file and line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = [name.strip() for name in next(csv.reader(file, delimiter=delimiter, strict=True), [])]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table: {error}") from None
    if not header or len(set(header)) < len(header) or "" in header:
        raise UserError(f"{path}: header {header[:8]}; expected a name for each column, each once")
    table = read_table(path, header, delimiter)
    return {name: [cell.strip() for cell in cells] for name, cells in table.items()}


def width_of(path: Path, delimiter: str = ",") -> tuple[int, list[str]]:
    """Number of cells in the first row, and the cells.

    Raises:
        UserError: unreadable or empty.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = next(csv.reader(file, delimiter=delimiter, strict=True), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table: {error}") from None
    if not head:
        raise UserError(f"{path}: empty; expected a table")
    return len(head), head
