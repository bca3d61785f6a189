"""What ``--rate`` says."""

from __future__ import annotations

from mer_bench.errors import UserError


def positive(text: str, where: str) -> float:
    """A number of rows per second.

    Raises:
        UserError: anything else.
    """
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where}={text}: expected a number of rows per second, or a file that is there") from None
    if not 0 < value < 1e6:
        raise UserError(f"{where}={text}: expected a number of rows per second above 0")
    return value
