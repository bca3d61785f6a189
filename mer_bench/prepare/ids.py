"""Checks of item ids, with messages that name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from mer_bench.errors import UserError


def shown(ids: Iterable[str], limit: int = 5) -> str:
    """The first few ids, and how many there are."""
    ids = list(ids)
    more = f", ... ({len(ids):,} in all)" if len(ids) > limit else ""
    return ", ".join(ids[:limit]) + more


def unique(where: object, ids: Sequence[str]) -> None:
    """Refuse ids that occur twice.

    Raises:
        UserError: naming them.
    """
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise UserError(f"{where}: duplicate ids: {shown(twice)}; expected each item once")


def same(where: object, ids: Collection[str], expected: Collection[str]) -> None:
    """Refuse a set of ids that is not the expected one.

    Raises:
        UserError: naming the missing ones, or the foreign ones.
    """
    found, wanted = set(ids), set(expected)
    for what, names in (("missing", wanted - found), ("unexpected", found - wanted)):
        if names:
            raise UserError(f"{where}: {what} ids: {shown(sorted(names))}; expected the same {len(wanted):,} items")


def same_order(where: object, ids: Sequence[str], expected: Sequence[str]) -> None:
    """Refuse ids that are not the expected ones, row by row.

    Raises:
        UserError: naming the first row that differs.
    """
    unique(where, ids)
    same(where, ids, expected)
    for row, (found, wanted) in enumerate(zip(ids, expected, strict=True)):
        if found != wanted:
            raise UserError(f"{where}: row {row} is {found}; expected {wanted} (lexicographic order of the ids)")
