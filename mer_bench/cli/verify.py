"""`mer-bench verify`: check records against everything that is at hand. No torch."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mer_bench.data.corpora import register
from mer_bench.errors import UserError

if TYPE_CHECKING:
    from mer_bench.merh5 import FeatureFile
    from mer_bench.results.admission import Finding
    from mer_bench.results.schema import Record
    from mer_bench.results.verify import Checked, Depth

Found = list[tuple[Path, "Record"]]
DEPTHS: dict[Depth, str] = {
    "predictions": "every score computed again from predictions and labels",
    "clusters": "primary metric computed again from statistics by cluster",
    "confusion": "metrics of counts, with nothing missing, computed again from the confusion in the record",
    "record": "schema, hashes and protocol only; no score was computed again",
}
NOT_HERE = (
    "not checked by this command: that the code of that hash gives these predictions (`mer-bench rerun` does, run by "
    "run), and published human agreement, which no protocol states"
)


def main(argv: list[str]) -> int:
    """Check records and print what was found.

    Returns:
        0; 2 when a record is wrong, with ``--strict`` also when one is only noted or quarantined.
    """
    parser = argparse.ArgumentParser(
        prog="mer-bench verify",
        description="Check records: schema, hashes, protocol, completeness, seeds; and every score again from "
        "predictions and labels, or from statistics by cluster, whichever lies beside them.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="RECORD|FOLDER", help="record.json, or a folder of runs")
    parser.add_argument(
        "--features", type=Path, action="append", metavar="FILE|DIR", help="feature files ($MER_BENCH_DATA, ./features)"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 2 for notes and quarantine too")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="know the corpus it defines too"
    )
    options = parser.parse_args(argv)
    register(options.trust)

    from mer_bench.results import admission
    from mer_bench.results.sums import sums_beside

    found, findings = read(options.paths)
    files, unsound = feature_files(options.features, {record.data_fingerprint for _, record in found})
    findings += unsound
    checked = [(folder, record, check(folder, record, files)) for folder, record in found]
    findings += [one for folder, _, result in checked for one in _failures(folder, result)]
    if any(path.is_dir() for path in options.paths):
        records = [record for _, record in found]
        findings += [*admission.rows(records), *admission.fence(records, sums_beside(found)[0])]
    for line in (*_lines(findings), *_summary(checked)):
        print(line)
    levels = Counter(one.level for one in findings)
    print(
        f"{len(found)} records, {levels['FAIL']} failures, {levels['QUARANTINE']} quarantined, {levels['NOTE']} notes"
    )
    return 2 if levels["FAIL"] or (options.strict and findings) else 0


def read(paths: Iterable[Path]) -> tuple[Found, list[Finding]]:
    """Every record of the paths, each once, and what cannot be read.

    Raises:
        UserError: a path is not there, or holds no record.
    """
    from mer_bench.results.admission import Finding
    from mer_bench.results.record import read_record, read_runs

    found: dict[Path, Record] = {}
    findings = []
    for path in paths:
        if path.is_dir():
            usable, rejected = read_runs(path)
            findings += [Finding("FAIL", f"{path.as_posix()}/{one.path}", one.reason) for one in rejected]
            if not usable and not rejected:
                raise UserError(f"no record.json below {path}; `mer-bench fit` leaves one for each finished run")
            found |= dict(usable)
        elif path.exists():
            try:
                found[path.parent] = read_record(path)
            except UserError as error:
                findings.append(Finding("FAIL", path.as_posix(), str(error).removeprefix(f"{path}: ")))
        else:
            raise UserError(f"{path}: no such record or folder")
    return [*found.items()], findings


def feature_files(given: list[Path] | None, wanted: set[str]) -> tuple[dict[str, FeatureFile], list[Finding]]:
    """Sound feature files among those that are at hand, by fingerprint, as far as a record wants them.

    Raises:
        UserError: a path that was given is not there.
    """
    from mer_bench.merh5 import FeatureFile
    from mer_bench.merh5.validator import check as faults
    from mer_bench.results.admission import Finding

    files, findings = {}, []
    for path in _candidates(given):
        try:
            file = FeatureFile(path)
        except UserError as error:
            findings.append(Finding("NOTE", path.as_posix(), f"not used: {error}"))
            continue
        if file.content_sha256 not in wanted:
            continue
        bad = faults(path)
        if bad:
            findings.append(
                Finding("NOTE", path.as_posix(), f"not used: {len(bad)} faults, see `mer-bench data check`")
            )
        else:
            files[file.content_sha256] = file
    return files, findings


def _candidates(given: list[Path] | None) -> Iterator[Path]:
    here = [Path(os.environ["MER_BENCH_DATA"])] if os.environ.get("MER_BENCH_DATA") else []
    for path in given or [*here, Path("features")]:
        if path.is_dir():
            yield from sorted(path.glob("*.h5"))
        elif path.is_file():
            yield path
        elif given:
            raise UserError(f"--features {path}: no such file or folder")


def check(folder: Path, record: Record, files: dict[str, FeatureFile]) -> Checked:
    """One record."""
    from mer_bench.results.verify import verify

    return verify(folder, record, files)


def _failures(folder: Path, result: Checked) -> Iterator[Finding]:
    from mer_bench.results.admission import Finding

    for problem in result.problems:
        yield Finding("FAIL", folder.as_posix(), problem)


def _lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Worst first; what comes from a record is shown without control characters."""
    order = ("FAIL", "QUARANTINE", "NOTE")
    for one in sorted(set(findings), key=lambda one: (order.index(one.level), one.place, one.text)):
        yield "".join(c if c.isprintable() else "\ufffd" for c in f"{one.level} {one.place}: {one.text}")


def _summary(checked: Iterable[tuple[Path, Record, Checked]]) -> Iterator[str]:
    """How deep the checks could go, said plainly."""
    results = [result for _, record, result in checked if record.status == "ok"]
    depths = Counter(result.depth for result in results)
    for depth, text in DEPTHS.items():
        if depths[depth]:
            yield f"{depths[depth]} of {len(results)} scored records: {text}"
    absent = Counter(name for result in results for name in result.absent)
    for name, times in sorted(absent.items()):
        yield f"not at hand, so its hash was not checked: {name} of {times} records"
    unknown = Counter(text for result in results for text in result.unknown)
    for text, times in sorted(unknown.items()):
        yield f"{text} ({times} records)"
    yield NOT_HERE
