"""The one exception a user is meant to see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. The message says what is wrong, where, what was expected and what to do.

    Commands print it without a traceback and exit with code 2.
    """


class Diverged(UserError):
    """Training met a loss that is not finite; the run is left without a record."""


class Conflict(UserError):
    """A run has a record already, and another result; the first one stays, the other is kept beside it."""


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """A clause that names the nearest known names, or all of them when none is near."""
    known = sorted(set(known))
    near = difflib.get_close_matches(name, known, n=limit, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    if not known:
        return "none is known"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"known: {shown}"
