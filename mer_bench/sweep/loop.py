"""The one loop that works a plan off: fill the free places, see who has ended, keep the claims alive, stop in order."""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from mer_bench.errors import UserError
from mer_bench.runs import Run
from mer_bench.sweep.agenda import Agenda, recorded
from mer_bench.sweep.ledger import BEAT
from mer_bench.sweep.worker import FULL, Ended

#: seconds that a run has, once it was asked to stop, to end its epoch and write the checkpoint
GRACE = 10.0
#: seconds between two looks at what other launchers hold
PAUSE = 0.5
#: runs that a place with room for K takes at a time, in K: those that queue step in for those that stop early
DEEP = 4


class Place(Protocol):
    """Where runs can be: a process of this machine, or an actor of a cluster.

    Attributes:
        usable: False after running out of memory; the others go on.
        room: how many runs can train together here, of those that are started; fewer after running out of memory.
    """

    usable: bool
    room: int

    def start(self, runs: Sequence[Run]) -> None:
        """Begin a run, or several that train together, `room` at a time; the place is free."""
        ...

    def ended(self) -> Ended | None:
        """How the run ended; None while it goes on. Afterwards the place is free."""
        ...

    def stop(self) -> None:
        """Ask the run to write its checkpoint and end."""
        ...

    def kill(self) -> None:
        """End the run at once."""
        ...


#: returns when one of the places may have ended, or after so many seconds
Wait = Callable[[Sequence[Place], float], None]


@dataclass
class Flight:
    """One or several runs in a place."""

    runs: list[Run]
    place: Place
    started: float = field(default_factory=time.monotonic)

    def land(self, agenda: Agenda, ended: Ended) -> None:
        """Note how they ended."""
        for run in self.runs:
            agenda.land(run, ended, time.monotonic() - self.started)


@dataclass
class Stop:
    """How often Ctrl-C or SIGTERM came."""

    asked: int = 0


def drive(places: Sequence[Place], agenda: Agenda, wait: Wait, grace: float = GRACE) -> bool:
    """Run what is left until nothing remains that this launcher may do.

    The first Ctrl-C or SIGTERM asks the runs to stop and gives them some seconds; the second one ends them at once.

    Returns:
        True when it was interrupted.

    Raises:
        UserError: the disk is full; what is recorded stays.
    """
    flights: list[Flight] = []
    with signals() as stop, _full_disk(agenda):
        beat = time.monotonic()
        try:
            while not stop.asked and not agenda.trouble:
                _fill(places, agenda, flights)
                if not flights:
                    if agenda.settled():
                        break
                    time.sleep(PAUSE)  # everything left is claimed by other launchers
                    continue
                wait([flight.place for flight in flights], 1.0)
                if stop.asked:  # a signal to the whole group ends children too: no failures of theirs
                    break
                _land(flights, places, agenda)
                if time.monotonic() - beat > BEAT:
                    beat = time.monotonic()
                    agenda.beat(run for flight in flights for run in flight.runs)
                agenda.progress.tick(len(flights))
        finally:  # also when this very process is told to exit
            _bring_down(flights, agenda, wait, stop, grace)
    if agenda.trouble:
        raise UserError(f"{agenda.trouble}; what is recorded stays, and the same command goes on once there is room")
    return stop.asked > 0


def _fill(places: Sequence[Place], agenda: Agenda, flights: list[Flight]) -> None:
    busy = [id(flight.place) for flight in flights]
    for place in places:
        if not place.usable or id(place) in busy:
            continue
        run = agenda.next()
        if run is None:
            return
        share = 1 + len(agenda.left) // sum(place.usable for place in places)  # something stays for the others
        several = min(max(place.room, share), DEEP * place.room) if place.room > 1 else 1
        runs = [run, *agenda.companions(run, several - 1)]
        flights.append(Flight(runs, place))
        place.start(runs)


def _land(flights: list[Flight], places: Sequence[Place], agenda: Agenda) -> None:
    for flight in list(flights):
        ended = flight.place.ended()
        if ended is None:
            _land_early(flight, agenda)
            continue
        flights.remove(flight)
        if ended.status == "oom" and flight.place.room > 1:
            flight.place.room //= 2
            agenda.progress.note(f"out of memory: at most {flight.place.room} runs train together from now on")
            ended = Ended("stopped")  # not the fault of the runs
        elif ended.status == "oom" and sum(place.usable for place in places) > 1:
            flight.place.usable = False
            agenda.progress.note(f"out of memory: {sum(place.usable for place in places)} slots are left")
            ended = Ended("stopped")
        flight.land(agenda, ended)


def _land_early(flight: Flight, agenda: Agenda) -> None:
    """Note those of several runs that have their record while the others go on."""
    for run in flight.runs[:] if len(flight.runs) > 1 else ():
        if recorded(run):
            flight.runs.remove(run)
            agenda.land(run, Ended("ok"), time.monotonic() - flight.started)


def _bring_down(flights: list[Flight], agenda: Agenda, wait: Wait, stop: Stop, grace: float) -> None:
    """Ask every run to stop, note what still came to its end, and kill the others."""
    for flight in flights:
        flight.place.stop()
    end, before = time.monotonic() + grace, stop.asked
    while flights and time.monotonic() < end and stop.asked == before:
        wait([flight.place for flight in flights], 0.2)
        for flight in list(flights):
            ended = flight.place.ended()
            if ended is not None:
                flights.remove(flight)
                whole = ended if ended.status in ("ok", "diverged", "conflict") else Ended("stopped")
                flight.land(agenda, whole)
    for flight in flights:
        flight.place.kill()
        flight.land(agenda, Ended("stopped"))
    flights.clear()


@contextmanager
def signals() -> Iterator[Stop]:
    """Count Ctrl-C and SIGTERM instead of dying of them."""
    stop = Stop()

    def note(number: int, frame: object) -> None:
        stop.asked += 1

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _full_disk(agenda: Agenda) -> Iterator[None]:
    """A full disk met by the launcher itself is trouble too, not a traceback."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        agenda.trouble = f"{agenda.ledger.root}: {errno.errorcode[error.errno or 0]}, {error.strerror}"
