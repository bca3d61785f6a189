"""Where feature files are looked for. No torch."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile


def open_features(path: Path) -> FeatureFile:
    """The file, opened and judged once in a process as long as it does not change: a plan asks for it at every run.

    Raises:
        UserError: as `FeatureFile`.
    """
    try:
        found = path.stat()
    except OSError:
        return FeatureFile(path)  # it says what is wrong
    return _opened(path, (found.st_ino, found.st_size, found.st_mtime_ns))


@functools.lru_cache(16)
def _opened(path: Path, version: tuple[int, ...]) -> FeatureFile:
    return FeatureFile(path)


def find_features(corpus: str, root: str = "", file: str = "") -> Path:
    """The feature file of a corpus.

    `file` if given, else `<corpus>.h5` in `root`; without `root` in `$MER_BENCH_DATA`, then in `./features`.

    Raises:
        UserError: not found; says where it was looked for, how to make one, and how to try without data.
    """
    if file:
        if not Path(file).is_file():
            raise UserError(f"--data.file: no such file: {file}")
        return Path(file)
    elsewhere = os.environ.get("MER_BENCH_DATA", "")
    folders = [Path(root)] if root else [Path(elsewhere), Path("features")] if elsewhere else [Path("features")]
    for folder in folders:
        path = folder / f"{corpus}.h5"
        if path.is_file():
            return path
    looked = ", ".join(str(folder / f"{corpus}.h5") for folder in folders)
    hint = "" if root or elsewhere else " ($MER_BENCH_DATA is not set; --data.root FOLDER names another place)"
    raise UserError(
        f"no features of {corpus}: looked for {looked}{hint}. Make them from your copy of the corpus with "
        f"`mer-bench prepare {corpus} --from PATH --out {folders[0] / (corpus + '.h5')}`, or try without data on "
        f"synthetic features with `mer-bench data synth {corpus} --out {folders[0] / (corpus + '.h5')}`"
    )
