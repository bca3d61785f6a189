"""The Ray engine: the same loop, with actors of a Ray cluster as places. Only Ray Core is used.

No shared file system is needed: an actor gets a run's settings and checkpoint, and returns its folder; the driver alone
claims runs and publishes records. Features are looked for at the same path on each machine, and travel through the
object store where they are not found. An actor that dies is restarted by Ray, and its run tried again; a driver that is
killed leaves no process behind, and the next one goes on.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from mer_bench.errors import UserError
from mer_bench.runs import Run
from mer_bench.sweep.actor import LACKING, Order, Worker
from mer_bench.sweep.agenda import Agenda
from mer_bench.sweep.engine import Engine
from mer_bench.sweep.guard import guarded
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.loop import GRACE, Place, drive
from mer_bench.sweep.parcel import Parcel, pack, publish
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.worker import Ended

#: how often Ray runs an order again whose actor died
RETRIES = 2


class RayEngine(Engine):
    """Works a plan off on a Ray cluster, or on one that it starts here and ends with it.

    Args:
        ledger: of the runs' folder, on the driver's machine.
        target: ``module:function`` that a run calls; it must be importable on every machine.
        options: for the target.
        preload: modules that each actor's fork server imports once.
        workers: actors; None means as many as the cluster has room for.
        gpu: share of a GPU for each actor, where the cluster has GPUs.
        address: of a running cluster; empty starts one on this machine.
        grace: seconds that runs have to stop.
    """

    def __init__(
        self,
        ledger: Ledger,
        target: str,
        options: Mapping[str, Any],
        preload: Sequence[str],
        *,
        workers: int | None = None,
        gpu: float = 0.0,
        address: str = "",
        grace: float = GRACE,
    ) -> None:
        self.ledger, self.target, self.options, self.preload = ledger, target, dict(options), tuple(preload)
        self.workers, self.gpu, self.address, self.grace = workers, gpu, address, grace
        self.ray = _import_ray()

    def work(self, plan: Mapping[str, Run], progress: Progress) -> bool:
        """As in `Engine`."""
        self.ledger.prepare()
        with guarded(), self._cluster():
            places = self._places(len(plan))
            try:
                return drive(places, Agenda(self.ledger, plan, progress), self._wait, self.grace)
            finally:
                for place in places:
                    place.close()

    @contextlib.contextmanager
    def _cluster(self) -> Iterator[None]:
        """A connection, ended whatever happens; a cluster of our own ends with it.

        Raises:
            UserError: no cluster answers at the address.
        """
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's new way; the old one warns
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves this machine
        common: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        own = {"address": "local", "include_dashboard": False, "num_cpus": self.workers}
        try:
            self.ray.init(**common, **({"address": self.address} if self.address else own))
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"--address {self.address or 'local'}: no Ray cluster ({str(error).splitlines()[0]}); start one with "
                "`ray start --head` and name its address, or leave --address out"
            ) from None
        try:
            yield
        finally:
            self.ray.shutdown()

    def _places(self, runs: int) -> list[_Actor]:
        """As many actors as the cluster has room for.

        Raises:
            UserError: it has none.
        """
        offered = self.ray.cluster_resources()
        gpu = self.gpu if offered.get("GPU") else 0.0
        room = offered["GPU"] / gpu if gpu else offered.get("CPU", 0)
        count = int(min(room, self.workers or room, runs))
        if count < 1:
            raise UserError(f"the Ray cluster offers {offered.get('CPU', 0):g} CPUs and no GPU: no room for a worker")
        cpu = min(1.0, offered.get("CPU", 1) / count)
        kind = self.ray.remote(num_cpus=cpu, num_gpus=gpu, max_restarts=-1)(Worker)
        kind = kind.options(max_task_retries=RETRIES, max_concurrency=2)  # the second thread is for `stop`
        store = _Store(self.ray)
        handles = [kind.remote(self.target, self.options, self.preload, gpu > 0) for _ in range(count)]
        return [_Actor(self.ray, handle, self.ledger, store) for handle in handles]

    def _wait(self, places: Sequence[Place], seconds: float) -> None:
        tasks = [cast(_Actor, place).task for place in places]
        self.ray.wait([task for task in tasks if task is not None], num_returns=1, timeout=seconds)


class _Store:
    """Feature files in the object store, each put there once, and only when a machine lacks it."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self.known: dict[Path, Any] = {}

    def reference(self, path: Path) -> Any:
        """Of the file's content."""
        if path not in self.known:
            self.known[path] = self.ray.put(path.read_bytes())
        return self.known[path]


class _Actor:
    """A place in the cluster."""

    def __init__(self, ray: Any, handle: Any, ledger: Ledger, store: _Store) -> None:
        self.ray, self.handle, self.ledger, self.store = ray, handle, ledger, store
        self.usable, self.room = True, 1
        self.task: Any = None
        self.run: Run | None = None

    def start(self, runs: Sequence[Run]) -> None:
        (self.run,) = runs
        self.task = self.handle.run.remote(self._order(self.run))

    def ended(self) -> Ended | None:
        if self.task is None or self.run is None or not self.ray.wait([self.task], timeout=0)[0]:
            return None
        run, ended, parcel = self.run, *self._fetched()
        if ended == LACKING:
            content = self.store.reference(run.file.path.absolute())
            self.task = self.handle.run.remote(self._order(run), content)
            return None
        self.task = self.run = None
        return publish(run, parcel, ended)

    def stop(self) -> None:
        self.handle.stop.remote()

    def kill(self) -> None:
        self.close()

    def close(self) -> None:
        """End the actor; the process of its run follows it."""
        self.ray.kill(self.handle)

    def _order(self, run: Run) -> Order:
        below = run.folder.relative_to(self.ledger.root.parent)
        return Order(run.recipe, below, run.file.path.absolute(), run.file.content_sha256, pack(run.folder))

    def _fetched(self) -> tuple[Ended, Parcel]:
        try:
            return self.ray.get(self.task)
        except self.ray.exceptions.RayActorError as error:
            return Ended("failed", f"the Ray worker died {RETRIES + 1} times: {str(error).splitlines()[0]}"), {}
        except self.ray.exceptions.RayError as error:
            return Ended("failed", f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"), {}


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise UserError(
            "--engine ray needs Ray, which is not installed; install the extra: pip install 'mer-bench[ray]'"
        ) from None
