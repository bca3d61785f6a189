"""The folder of a run as bytes, for machines that share no file system; and its publication where records are kept."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from mer_bench.errors import Conflict, UserError
from mer_bench.results import atomic
from mer_bench.results.record import NAME, read_record, write_record
from mer_bench.runs import Run
from mer_bench.sweep.worker import Ended

Parcel = Mapping[str, bytes]


def pack(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; none where there is no folder. Hidden ones are somebody's work in progress."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def unpack(folder: Path, parcel: Parcel) -> None:
    """Write the files of a parcel.

    Raises:
        UserError: a name that leads out of the folder.
    """
    for name, content in parcel.items():
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts:
            raise UserError(f"a worker returned a file named {name[:60]!r}; expected a name inside the run's folder")
        atomic.make_folder((folder / place).parent)
        atomic.write(folder / place, content)


def publish(run: Run, parcel: Parcel, ended: Ended) -> Ended:
    """Put what a worker returned into the run's folder: the result last, and never over another one.

    Returns:
        How the run ended, as seen from here: a conflict is found only now.
    """
    if run.result in parcel and (run.folder / run.result).is_file():
        return _compared(run, parcel, ended)
    unpack(run.folder, {name: content for name, content in parcel.items() if name != run.result})
    if run.result not in parcel:
        return ended
    if run.result != NAME:  # no record: the first one stays
        atomic.create(run.folder / run.result, parcel[run.result])
        return ended
    return _compared(run, parcel, ended)


def _compared(run: Run, parcel: Parcel, ended: Ended) -> Ended:
    """Publish a record that may be there already; the files beside the one that is there are not touched."""
    if run.result != NAME:
        return ended
    with _aside(run.folder) as folder:
        unpack(folder, {NAME: parcel[NAME]})
        try:
            write_record(run.folder, read_record(folder / NAME))
        except Conflict as error:
            return Ended("conflict", str(error))
        except UserError as error:
            return Ended("failed", str(error))
    return ended


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    atomic.make_folder(folder)
    place = Path(tempfile.mkdtemp(prefix=".parcel-", dir=folder))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
