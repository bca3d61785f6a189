"""A launcher in a process of its own, for tests that kill it.

python -m tests.sweep.launch RUNS SWEEP TARGET SECONDS; the target `ray` means `record` on Ray
"""

from __future__ import annotations

import sys
from pathlib import Path

from mer_bench.sweep.engine import Engine
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.local import LocalEngine, slots
from mer_bench.sweep.plan import make_plan, read
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.ray import RayEngine
from tests.sweep.cases import PRELOAD


def main(runs: str, sweep: str, target: str, seconds: str) -> int:
    plan = make_plan(read(sweep), runs)
    options = {"runs": runs, "seconds": float(seconds), "notes": str(Path(f"{runs}.notes").absolute())}
    ledger = Ledger(runs, lease=2.0)
    engine: Engine
    if target == "ray":
        engine = RayEngine(ledger, "tests.sweep.targets:record", options, PRELOAD, workers=2)
    else:
        engine = LocalEngine(ledger, slots(2, [], 1), f"tests.sweep.targets:{target}", options, PRELOAD)
    return 130 if engine.work(plan.runs, Progress(len(plan.runs), 0, bar=False)) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
