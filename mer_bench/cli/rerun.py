"""`mer-bench rerun`: train one recorded run again and compare the two records."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer_bench import recipes
from mer_bench.cli import options as cli_options
from mer_bench.data.corpora import register
from mer_bench.errors import Diverged, UserError
from mer_bench.runs import Run, plan

if TYPE_CHECKING:
    from mer_bench.results.schema import Record

TOLERANCE = 1e-9


def main(argv: list[str]) -> int:
    """Repeat a run.

    Returns:
        0 where the two agree to 1e-9; 2 where they do not; 1 where they need not, since the record is of a run that was
        trained with others.
    """
    parser = argparse.ArgumentParser(
        prog="mer-bench rerun",
        description="Train one recorded run again, elsewhere, and compare: settings, data, code, every score.",
        epilog="Options that the run had beside its config follow, such as --trainer.max_epochs 2 or --data.root DIR.",
    )
    parser.add_argument("record", type=Path, metavar="RECORD", help="record.json, or the folder of a run")
    parser.add_argument("--config", "-c", action="append", default=[], metavar="NAME", help="what it was run from")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="keep the new run here (thrown away by default)")
    parser.add_argument(
        "--confirm", type=Path, metavar="DIR", help="folder of records: where all agrees, their older code is not stale"
    )
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="as in fit")
    own = [word for action in parser._actions for word in action.option_strings]
    plain, overrides = cli_options.split(argv, own)
    options = parser.parse_args(plain)
    register(options.trust)

    from mer_bench.results.record import NAME, read_record

    path = options.record / NAME if options.record.is_dir() else options.record
    if not path.is_file():
        raise UserError(f"{path}: no such record")
    record = read_record(path)
    with tempfile.TemporaryDirectory(prefix="mer-bench-rerun-") as scratch:
        kept = options.runs or Path(scratch)
        run = same_run(record, path.parent, options.config, overrides, kept, options.trust)
        again = repeat(run, options.trust, kept)
    lines, agree = compare(record, again)
    print("\n".join(lines))
    if agree and options.confirm is not None and record.code.hash != again.code.hash:
        from mer_bench.results.same_numbers import NAME as LIST
        from mer_bench.results.same_numbers import Same, confirm

        confirm(options.confirm, Same(record.code.hash, again.code.hash, record.method.slug, record.run_key))
        print(f"written down in {options.confirm / LIST}: records of that code are not stale")
    return 0 if agree else 1 if undecided(record, again) else 2


def same_run(
    record: Record,
    folder: Path,
    configs: list[str],
    overrides: list[tuple[str, str]],
    runs: Path,
    trust: Sequence[str] = (),
) -> Run:
    """The run that a record is of: from the configs given, else from its names and the settings beside it.

    Raises:
        UserError: the settings that can be found are not those of the record.
    """
    identity = [
        ("data.protocol", record.protocol.name),
        ("data.fold", str(record.fold)),
        ("data.modalities", f"[{', '.join(feature.modality for feature in record.features)}]"),
        ("seed_everything", str(record.seed)),
    ]
    names = tuple(configs) or (f"{record.protocol.corpus}_{record.method.slug}",)
    recipe = recipes.resolve(names, (*identity, *overrides))
    beside = folder / "config.yaml"
    ways = [recipe]
    if beside.is_file() and not configs:
        ways.append(dataclasses.replace(recipe, settings=overlaid(recipe.settings, recipes.load_yaml(beside))))
    for way in ways:
        recipes.refuse_foreign_classes(way.settings, trust)
        (run, *_) = plan(way, str(runs))
        _same_ground(run, record)
        if run.key == record.run_key:
            return run
    raise UserError(
        f"the settings of {' '.join(names)} are not those of the record ({record.settings_hash[:16]}); give what the "
        "run was started with, such as --config my.yaml --trainer.max_epochs 2"
    )


def _same_ground(run: Run, record: Record) -> None:
    """Refuse other data, or another definition of the protocol."""
    if run.file.content_sha256 != record.data_fingerprint:
        raise UserError(
            f"{run.file.path} has the fingerprint {run.file.content_sha256[:16]}, the record "
            f"{record.data_fingerprint[:16]}; name the feature file that it was made from with --data.file"
        )
    if run.protocol.hash != record.protocol.hash:
        raise UserError(f"{run.protocol.name} has another definition now; check out the code of the record")


def overlaid(settings: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the values that a run wrote down, for the keys that both have; where data lie is kept.

    Classes are not taken over. Whether the result is right, the run key says.
    """
    found = {}
    for key, value in settings.items():
        there = written.get(key, value)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            found[key] = overlaid(value, there)
        else:
            found[key] = value if key in ("class_path", "root", "file") else there
    return found


def repeat(run: Run, trust: list[str], runs: Path) -> Record:
    """Train it in its new place; a run that diverges again has a record too."""
    from mer_bench.cli.fit import execute
    from mer_bench.results.record import read_record

    options = cli_options.Options("fit", (), (), runs=str(runs), trust=tuple(trust), progress="none")
    try:
        execute(run, options)
    except Diverged as stop:
        print(f"mer-bench: {stop}", file=sys.stderr)
    return read_record(run.folder / "record.json")


def compare(first: Record, second: Record) -> tuple[list[str], bool]:
    """What differs between two records of one run, and whether the scores agree."""
    lines = [*_circumstances(first, second)]
    if first.numbers() == second.numbers():
        return [*lines, "identical: every number, and the predictions byte for byte"], True
    gaps = [*_gaps(first, second)]
    worst = max(gaps, key=lambda gap: gap[1], default=None)
    agree = first.status == second.status and worst is not None and worst[1] <= TOLERANCE
    if first.status != second.status:
        lines.append(f"status was {first.status}, now {second.status}")
    if worst is None:
        lines.append("they have no metric in common")
    else:
        name, gap, was, now = worst
        lines.append(f"largest difference of {len(gaps)} scores: {gap:.3g} in {name} ({was:.6f}, now {now:.6f})")
    lines.append("the scores agree to 1e-9" if agree else _verdict(first, second))
    return lines, agree


def undecided(first: Record, second: Record) -> bool:
    """Whether two records that differ may: another executor adds in another order, and both have the same scores."""
    return first.executor != second.executor and first.status == second.status and _names(first) == _names(second)


def _verdict(first: Record, second: Record) -> str:
    if not undecided(first, second):
        made = first.environment.get("processor", "one that the record does not state")
        if made != second.environment.get("processor"):
            return f"NOT the same: made on another processor ({made}), which may round otherwise; repeat it there"
        return "NOT the same: something decides numbers that is not recorded"
    return (
        f"nothing is decided: {first.executor} and {second.executor} add in another order, so only the distributions "
        "over seeds can be compared; run all seeds alone (`sweep --executor eager`) and compare the rows"
    )


def _circumstances(first: Record, second: Record) -> Iterator[str]:
    if first.code.hash != second.code.hash:
        commit = first.code.commit[:12] or "unknown"
        yield f"other code: {first.code.hash[:16]} (commit {commit}), now {second.code.hash[:16]}"
    if first.executor != second.executor:
        yield f"other executor: {first.executor} (trained with other runs), now {second.executor}"
    for key in sorted(first.environment.keys() | second.environment.keys()):
        was, now = first.environment.get(key, "-"), second.environment.get(key, "-")
        if was != now:
            yield f"other {key}: {was}, now {now}"


def _names(record: Record) -> set[tuple[str, str]]:
    return {(condition, metric) for condition, values in record.metrics.items() for metric in values}


def _gaps(first: Record, second: Record) -> Iterator[tuple[str, float, float, float]]:
    """(name, difference, then, now) of every score; one that only one of the two has differs without end."""
    pairs: list[dict[str, Any]] = [
        {
            f"{condition}, {metric}": value
            for condition, values in one.metrics.items()
            for metric, value in values.items()
        }
        for one in (first, second)
    ]
    for name in sorted(pairs[0].keys() | pairs[1].keys()):
        was, now = (pair.get(name, float("inf")) for pair in pairs)
        yield name, abs(was - now), was, now
