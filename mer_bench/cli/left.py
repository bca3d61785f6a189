"""What an earlier process left of a run that has no record yet: for the code that made it, or for nobody. No torch.

A record vouches for one code. So the folder of a run says whose its checkpoints are, from before the first one on:
`code.txt` while a run trains alone, `trained.json` itself once it has ended.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from mer_bench.results import atomic
from mer_bench.results.provenance import code
from mer_bench.runs import Run

CODE, TRAINED = "code.txt", "trained.json"
#: in a run's folder; the end of training goes first, so that it never vouches for another checkpoint
STATE = (TRAINED, "checkpoints/last.ckpt", "checkpoints/best.ckpt")


def taken_up(run: Run, *, fresh: bool) -> dict[str, Any] | None:
    """What the end of training left; None while there is something to train.

    What other code made, and with `fresh` all there is, is removed first.
    """
    done, now = _read(run), code(run.recipe.settings).hash
    if fresh or not _ours(run, done, now):
        if not fresh and any((run.folder / name).is_file() for name in STATE[:2]):
            print(f"{run.label}: other code trained what is in {run.folder}; it starts again", file=sys.stderr)
        discard(run)
        done = None
    if done is None:
        atomic.write(run.folder / CODE, now.encode())
    return done


def keep(run: Run, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Write down that training has ended; nothing that it could go on from is needed any more."""
    whose = code(run.recipe.settings, chosen.get("executor", "eager")).hash
    content = {**chosen, "code": whose}
    atomic.write(run.folder / TRAINED, json.dumps(content).encode())
    (run.folder / "checkpoints" / "last.ckpt").unlink(missing_ok=True)
    return content


def discard(run: Run) -> None:
    """Remove what a run could go on from."""
    for name in STATE:
        (run.folder / name).unlink(missing_ok=True)


def _ours(run: Run, done: Mapping[str, Any] | None, now: str) -> bool:
    if done is not None:
        return done.get("code") == code(run.recipe.settings, done.get("executor", "eager")).hash
    try:
        return (run.folder / CODE).read_text() == now
    except (OSError, ValueError):
        return False


def _read(run: Run) -> dict[str, Any] | None:
    """The content of `trained.json`; one that is not whole counts as absent."""
    try:
        found = json.loads((run.folder / TRAINED).read_text())
    except (OSError, ValueError):
        return None
    return (
        found
        if isinstance(found, dict) and {"val", "epoch", "epochs", "steps", "train_seconds"} <= found.keys()
        else None
    )
