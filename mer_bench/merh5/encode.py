"""From `Contents` to the parts of a file: types and shapes are settled here, values are judged by the rules."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5.layout import GROUPS, MAX_ATTR_BYTES, NAME, REQUIRED_GROUPS, AttrType, Tree, pattern
from mer_bench.merh5.schema import CLASS_KINDS, GROUP_KEYS, SCHEMA, VERSION, Contents, Labels, Modality, SplitTable

MAX_TEXT_BYTES = 65_535
MAX_ORDER = 2**31 - 1
PLAIN_ATTRS = (
    "kind",
    "extractor",
    "extractor_version",
    "weights_sha256",
    "unit",
    "aligned_to",
    "normalised",
    "note",
)


def encode(contents: Contents) -> Tree:
    """Parts of the file that will hold these contents, without date, creator and hash.

    Raises:
        UserError: something has the wrong type, shape or length; the message says what and where.
    """
    n = len(contents.ids)
    tree = Tree()
    tree.attrs[""] = _root_attrs(contents)
    tree.attrs.update({group: {} for group in REQUIRED_GROUPS})
    tree.attrs["items"] = {"n": n}
    for group in ("modalities", "labels", "splits", "attrs"):
        for name in getattr(contents, group):
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise UserError(f"{group}: illegal name {name!r} (expected letters, digits, _ and -, at most 64)")
    _items(contents, n, tree)
    for name, modality in contents.modalities.items():
        _modality(f"modalities/{name}", modality, n, tree)
    for name, labels in contents.labels.items():
        _labels(f"labels/{name}", labels, n, tree)
    for name, split in contents.splits.items():
        _split(f"splits/{name}", split, n, tree)
    for path, attrs in tree.attrs.items():
        rules = GROUPS[pattern(path)[0]]
        tree.attrs[path] = {key: _attr(f"{path}@{key}", rules[key].type, value) for key, value in attrs.items()}
    return tree


def text_column(place: str, values: Sequence[str]) -> np.ndarray:
    """Strings as a column of fixed length, UTF-8.

    Raises:
        UserError: not text, not valid Unicode, with a NUL, or longer than 65,535 bytes.
    """
    encoded = [_text(f"{place}[{row}]", value).encode() for row, value in enumerate(values)]
    too_long = [row for row, item in enumerate(encoded) if len(item) > MAX_TEXT_BYTES]
    if too_long:
        row = too_long[0]
        raise UserError(f"{place}[{row}]: text of {len(encoded[row])} bytes (expected at most {MAX_TEXT_BYTES})")
    longest = max((len(item) for item in encoded), default=0)
    return np.array(encoded, dtype=f"S{max(1, longest)}")


def _text(place: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UserError(f"{place}: {type(value).__name__} {value!r:.40} (expected text)")
    if "\0" in value:
        raise UserError(f"{place}: text with a NUL character (expected none)")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise UserError(f"{place}: not valid Unicode: {exc.reason} (expected text)") from None
    return str(value)  # numpy's str_ becomes a plain string


def _attr(place: str, kind: AttrType, value: Any) -> Any:
    """An attribute as it will be read back: plain Python, JSON already through JSON."""
    try:
        match kind:
            case "text":
                return _short(place, _text(place, value))
            case "json":
                text = json.dumps(value, ensure_ascii=False, allow_nan=False)
                return json.loads(_short(place, _text(place, text)))
            case "float":
                return float(value)
            case _:
                return value
    except (TypeError, ValueError) as exc:
        raise UserError(f"{place}: {exc} (expected {kind})") from None


def _short(place: str, text: str) -> str:
    size = len(text.encode())
    if size > MAX_ATTR_BYTES:
        raise UserError(f"{place}: {size} bytes (expected at most {MAX_ATTR_BYTES})")
    return text


def _root_attrs(contents: Contents) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "schema_version": VERSION,
        "corpus": contents.corpus,
        "corpus_version": contents.corpus_version,
        "corpus_part": contents.corpus_part,
        "synthetic": bool(contents.synthetic),
        "truth": None if contents.truth is None else dict(contents.truth),
        "licence": contents.licence,
        "redistributable": bool(contents.redistributable),
        "sources": [dataclasses.asdict(source) for source in contents.sources],
        "repairs": dict(contents.repairs),
        "notes": contents.notes,
    }


def _items(contents: Contents, n: int, tree: Tree) -> None:
    tree.data["items/id"] = text_column("ids", contents.ids)
    for key in GROUP_KEYS:
        names = getattr(contents, key)
        if names is not None:
            column = text_column(key, _sized(key, names, n))
            vocabulary, codes = np.unique(column, return_inverse=True)
            tree.data[f"vocab/{key}"] = vocabulary
            tree.data[f"items/{key}"] = codes.reshape(-1).astype("<i4")
    if contents.order is not None:
        order = integers("order", contents.order, (n,))
        if (abs(order) > MAX_ORDER).any():
            raise UserError(f"order: a position beyond {MAX_ORDER} (expected positions inside a dialogue)")
        tree.data["items/order"] = order.astype("<i4")
    for key in ("start_s", "end_s"):
        if getattr(contents, key) is not None:
            tree.data[f"items/{key}"] = reals(key, getattr(contents, key), (n,))
    if contents.text is not None:
        tree.data["items/text"] = text_column("text", _sized("text", contents.text, n))
    for name, values in contents.attrs.items():
        tree.data[f"items/attr/{name}"] = _column(f"attrs/{name}", values, n)


def _column(place: str, column: Sequence[str] | np.ndarray, n: int) -> np.ndarray:
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiu":
        return reals(place, column, (n,))
    return text_column(place, _sized(place, list(column), n))


def _modality(place: str, modality: Modality, n: int, tree: Tree) -> None:
    values = np.asarray(modality.values)
    if values.ndim != 2 or values.dtype.kind != "f" or values.shape[1] == 0:
        raise UserError(f"{place}: values are {values.dtype}{values.shape} (expected floating point, (rows, features))")
    lengths = integers(f"{place}/lengths", modality.lengths, (n,))
    if (lengths < 0).any() or lengths.sum() != len(values):
        raise UserError(f"{place}: lengths sum to {lengths.sum()} (expected {len(values)}, the rows of values)")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and the rules see it
        values = values.astype("<f2" if values.dtype == np.float16 else "<f4", copy=False)
    if modality.valid is not None:
        valid = mask(f"{place}/valid", modality.valid, (len(values),))
        if not valid.all():
            hidden = values[~valid]
            if hidden.any() or np.signbit(hidden).any():  # a large modality is copied only if that changes a bit
                values = np.where(valid[:, None], values, values.dtype.type(0))
            tree.data[f"{place}/valid"] = valid.astype("|u1")
    tree.data[f"{place}/values"] = values
    tree.data[f"{place}/offsets"] = offsets(lengths)
    tree.data[f"{place}/present"] = (lengths > 0).astype("|u1")
    if modality.times is not None:
        tree.data[f"{place}/times"] = reals(f"{place}/times", modality.times, (len(values), 2))
    if modality.names is not None:
        names = _sized(f"{place}/names", modality.names, values.shape[1])
        tree.data[f"{place}/names"] = text_column(f"{place}/names", names)
    tree.attrs[place] = {
        "dim": values.shape[1],
        "rate_hz": modality.rate_hz,
        "t0_s": modality.t0_s,
        **{key: getattr(modality, key) for key in PLAIN_ATTRS},
        **({"fitted_on": modality.fitted_on} if modality.fitted_on else {}),
    }


def _labels(place: str, labels: Labels, n: int, tree: Tree) -> None:
    rows = n
    if labels.level == "frame":
        lengths = integers(f"{place}/lengths", labels.lengths if labels.lengths is not None else (), (n,))
        rows = int(lengths.sum())
        tree.data[f"{place}/offsets"] = offsets(lengths)
        if labels.times is not None:
            tree.data[f"{place}/times"] = reals(f"{place}/times", labels.times, (rows, 2))
    classes = labels.kind in CLASS_KINDS
    shape = (rows,) if classes else (rows, len(labels.names))
    usable = mask(f"{place}/mask", labels.mask, shape)
    if classes:
        values = integers(f"{place}/values", labels.values, shape)
    else:
        with np.errstate(over="ignore"):
            values = reals(f"{place}/values", labels.values, shape).astype("<f4")
    tree.data[f"{place}/values"] = np.where(usable, values, values.dtype.type(0))
    tree.data[f"{place}/mask"] = usable.astype("|u1")
    tree.attrs[place] = {
        "kind": labels.kind,
        "level": labels.level,
        "names": list(labels.names),
        "range": None if labels.range is None else reals(f"{place}@range", labels.range, (2,)).tolist(),
        "rate_hz": labels.rate_hz,
        "native_missing": labels.native_missing,
        "definition": labels.definition,
    }


def _split(place: str, split: SplitTable, n: int, tree: Tree) -> None:
    table = np.asarray(split.table)
    if table.ndim != 2:
        raise UserError(f"{place}/table: {table.ndim} axes (expected (folds, items))")
    values = integers(f"{place}/table", table, (len(table), n))
    if ((values < 0) | (values > 3)).any():
        raise UserError(f"{place}/table: a value outside 0..3 (expected 0 unused, 1 train, 2 validation, 3 test)")
    tree.data[f"{place}/table"] = values.astype("|u1")
    tree.attrs[place] = {"disjoint_by": list(split.disjoint_by), "source": split.source, "note": split.note}


def offsets(lengths: np.ndarray) -> np.ndarray:
    """(items + 1,) int64: item i occupies rows offsets[i] to offsets[i + 1]."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype("<i8")


def integers(place: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Whole numbers as int64; floats with whole values are refused too, because NaN hides among them."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu" and array.size:
        raise UserError(f"{place}: type {array.dtype} (expected whole numbers)")
    return _shaped(place, array, shape).astype("<i8", copy=False)


def reals(place: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers as float64."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise UserError(f"{place}: type {array.dtype} (expected numbers)")
    return _shaped(place, array, shape).astype("<f8", copy=False)


def mask(place: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A mask as bool; whole numbers are accepted when they are 0 and 1."""
    array = np.asarray(values)
    if array.dtype.kind not in "biu" or (array.dtype.kind != "b" and not np.isin(array, (0, 1)).all()):
        raise UserError(f"{place}: type {array.dtype} (expected a mask: True where observed)")
    return _shaped(place, array, shape).astype(bool, copy=False)


def _shaped(place: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape != shape:
        raise UserError(f"{place}: shape {array.shape} (expected {shape})")
    return array


def _sized(place: str, values: Sequence[str], n: int) -> Sequence[str]:
    if len(values) != n:
        raise UserError(f"{place}: {len(values)} entries (expected {n})")
    return values
