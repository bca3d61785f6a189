"""A launcher in a process of its own, for tests that kill it.

python -m tests.sweep.launch RUNS SWEEP TARGET SECONDS
"""

from __future__ import annotations

import sys

from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.local import LocalEngine, slots
from mer_bench.sweep.plan import make_plan, read
from mer_bench.sweep.progress import Progress


def main(runs: str, sweep: str, target: str, seconds: str) -> int:
    plan = make_plan(read(sweep), runs)
    options = {"runs": runs, "seconds": float(seconds), "notes": f"{runs}.notes"}
    places, preload = slots(2, [], 1), ["tests.sweep.targets"]
    engine = LocalEngine(Ledger(runs, lease=2.0), places, f"tests.sweep.targets:{target}", options, preload)
    return 130 if engine.work(plan.runs, Progress(len(plan.runs), 0, bar=False)) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
