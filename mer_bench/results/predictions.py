"""Raw outputs of one run on its test items, beside the record: no labels, no features, no pickles.

A zip of plain arrays (numpy's npz, stored uncompressed): ``ids`` in UTF-8, ``lengths`` where a task is frame-level, and
one float32 array for each ``condition/task``. The same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import tokenize
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mer_bench.errors import UserError
from mer_bench.results import atomic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_KEY = re.compile(r"[A-Za-z0-9_.=-]{1,64}/[A-Za-z0-9_.-]{1,64}")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LARGEST = 8 << 30


class Predictions(NamedTuple):
    """What `read_predictions` gives.

    Attributes:
        ids: of the items.
        outputs: by ``condition/task``, float32: a row an item, or, where there are lengths, a row a frame.
        lengths: frames of each item, for frame-level tasks.
    """

    ids: list[str]
    outputs: dict[str, NDArray[np.float32]]
    lengths: NDArray[np.int64] | None


def write_predictions(
    path: Path, ids: Sequence[str], outputs: Mapping[str, ArrayLike], lengths: ArrayLike | None = None
) -> str:
    """Write predictions, whole or not at all.

    Args:
        path: of the file, by custom ``predictions.npz`` beside the record to come.
        ids: of the items, in the order of the rows.
        outputs: by ``condition/task``, raw outputs (rows, size).
        lengths: frames of each item where rows are frames, the items' frames end to end.

    Returns:
        Sha256 of the file, for the record.

    Raises:
        UserError: rows, ids and lengths do not fit, an output is not finite, or the folder already holds a record with
            other predictions.
    """
    import numpy as np

    arrays: dict[str, NDArray[Any]] = {"ids": _encode_ids(ids)}
    rows = len(ids)
    if lengths is not None:
        frames = np.asarray(lengths, "<i8")
        if frames.shape != (len(ids),) or (frames < 0).any():
            raise UserError(f"{path}: lengths of shape {frames.shape} for {len(ids)} items; expected one an item")
        arrays["lengths"], rows = frames, int(frames.sum())
    for key, values in outputs.items():
        array = np.asarray(values, "<f4")
        if not _KEY.fullmatch(key):
            raise UserError(f"{path}: {key!r} does not name predictions; expected condition/task, such as full/emotion")
        if array.ndim != 2 or len(array) != rows:
            raise UserError(f"{path}: {key} has shape {array.shape}; expected ({rows}, size)")
        if not np.isfinite(array).all():
            raise UserError(f"{path}: {key} holds values that are not finite; such a run has diverged")
        arrays[key] = array
    content = _pack(arrays)
    if path.exists() and (path.parent / "record.json").exists() and path.read_bytes() != content:
        raise UserError(
            f"CONFLICT: {path} belongs to the finished run beside it and has other content; nothing was written. The "
            "same settings, data, fold and seed must give the same predictions: compare code and environment"
        )
    atomic.make_folder(path.parent)
    atomic.write(path, content)
    return hashlib.sha256(content).hexdigest()


def read_predictions(path: Path, sha256: str | None = None) -> Predictions:
    """Read predictions.

    Args:
        path: of the file.
        sha256: what the record says of the file; not checked by default.

    Raises:
        UserError: the file is missing, damaged, not the one of the record, or holds anything but what
            `write_predictions` puts there.
    """
    import numpy as np

    if not path.is_file():
        raise UserError(f"{path}: no such file; predictions lie beside the record of their run")
    if sha256 is not None:
        found = file_sha256(path)
        if found != sha256:
            raise UserError(f"{path}: not the predictions of the record (sha256 {found[:16]}, not {sha256[:16]})")
    try:
        arrays = read_arrays(path)
        ids = [item.decode("utf-8") for item in arrays.pop("ids").tolist()]
        lengths = arrays.pop("lengths", None)
        if lengths is not None and (lengths.dtype != np.dtype("<i8") or lengths.shape != (len(ids),)):
            raise ValueError("lengths do not fit the ids")
        rows = len(ids) if lengths is None else int(lengths.sum())
        for key, array in arrays.items():
            if not _KEY.fullmatch(key) or array.dtype != np.dtype("<f4") or array.ndim != 2 or len(array) != rows:
                raise ValueError(f"{key[:60]!r} is no float32 array of {rows} rows")
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: no readable predictions ({error}); run the method again") from None
    return Predictions(ids, arrays, lengths)


def _encode_ids(ids: Sequence[str]) -> NDArray[np.bytes_]:
    import numpy as np

    if len(set(ids)) != len(ids) or any(not item or "\0" in item for item in ids):
        raise UserError("ids of predictions are empty or not unique; expected the ids of the split, each once")
    return np.array([item.encode() for item in ids], dtype=np.bytes_)


def _pack(arrays: Mapping[str, NDArray]) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            archive.writestr(entry, part.getvalue())
    return buffer.getvalue()


def file_sha256(path: Path) -> str:
    """Sha256 of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def read_arrays(path: Path) -> dict[str, NDArray]:
    """The plain arrays of an npz file that this package wrote: uncompressed, no pickles, each name once.

    Raises:
        ValueError: anything else; or what `zipfile` raises on a damaged file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(e.compress_type != zipfile.ZIP_STORED or e.flag_bits & 1 for e in entries):
                raise ValueError("compressed or encrypted")
            if sum(e.file_size for e in entries) > min(_LARGEST, path.stat().st_size):
                raise ValueError("too large")
            if len({e.filename for e in entries}) != len(entries):
                raise ValueError("a name occurs twice")
            return {e.filename.removesuffix(".npy"): _read_array(archive, e) for e in entries}
    except (RuntimeError, MemoryError, SyntaxError, TypeError, OverflowError, tokenize.TokenError) as error:
        raise ValueError(f"damaged ({error})") from None  # a header is a Python literal, and may be any


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray:
    """One array, after its header was found to state as many bytes as there are: a few could ask for terabytes."""
    import numpy as np

    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"format {version}")
        first = version == (1, 0)
        header = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
        if stream.tell() + math.prod(shape) * dtype.itemsize != entry.file_size:
            raise ValueError(f"{entry.filename[:60]!r} has another size than its header says")
    with archive.open(entry) as stream:
        array: NDArray = np.lib.format.read_array(stream, allow_pickle=False)
        return array
