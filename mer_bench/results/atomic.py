"""Files that are whole or absent, whatever happens in between."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def write(path: Path, content: bytes) -> None:
    """Put a file in place of whatever stood there: temp beside it, fsync, rename, fsync of the folder."""
    with _temporary(path, content) as temp:
        temp.replace(path)
    sync_folder(path.parent)


def create(path: Path, content: bytes) -> bool:
    """Put a file where none stands; an existing one is left alone.

    The name is claimed by a hard link, which fails when it is taken, so that of two writers one wins. File systems
    without links get a check and a rename.

    Returns:
        True if this call wrote it, False if it was there.
    """
    with _temporary(path, content) as temp:
        try:
            os.link(temp, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if path.exists():
                return False
            temp.rename(path)
    sync_folder(path.parent)
    return True


def make_folder(path: Path) -> None:
    """Make a folder and those above it, each durable."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make names in a folder durable, where the system can."""
    with contextlib.suppress(PermissionError, NotImplementedError):  # Windows opens no folders
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _temporary(path: Path, content: bytes) -> Iterator[Path]:
    """A synced file with the content beside the target, gone afterwards."""
    temp = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temp.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        yield temp
    finally:
        temp.unlink(missing_ok=True)
