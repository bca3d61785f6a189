from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_bench.data.corpora.iemocap import IEMOCAP4
from mer_bench.errors import UserError
from mer_bench.results import atomic, provenance
from mer_bench.results.canonical import canonical, plain
from mer_bench.results.record import (
    GroupScores,
    ProtocolFacts,
    Record,
    environment,
    read_record,
    read_records,
    run_folder,
    run_key,
    settings_hash,
    write_record,
)
from tests.results.factory import PROTOCOL, make

FULL = make(
    groups={"emotion/ua": GroupScores("speaker", 10, 0.5, 0.1, 0.3, 0.35)},
    items={"train": 3000, "test": 1000},
    warnings=("a modality is missing in 12 items",),
    finished_utc="2026-01-31T12:00:00Z",
    metrics={"full": {"emotion/ua": 0.5, "emotion/wa": 1 / 3}, "missing_0.1_3": {"emotion/ua": 0.25}},
)

# canonical form and keys --------------------------------------------------------------------------------------------

leaves = st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=5)
settings = st.recursive(
    leaves | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), settings, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_keys_never_matters(content, random):
    keys = list(content)
    random.shuffle(keys)
    assert canonical({key: content[key] for key in keys}) == canonical(content)
    assert json.loads(canonical(content)) == content
    assert settings_hash({key: content[key] for key in keys}) == settings_hash(content)


def test_canonical_form_has_sorted_keys_and_no_white_space():
    assert canonical({"b": [1, 2.5, None], "a": "é\n", "C": True}) == '{"C":true,"a":"é\\n","b":[1,2.5,null]}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"x": float("nan")})


def test_settings_written_in_other_ways_are_the_same():
    assert settings_hash({"lr": 1.0, "betas": (0.9, 0.99)}) == settings_hash({"betas": [0.9, 0.99], "lr": 1})
    assert settings_hash({"on": True}) != settings_hash({"on": 1})
    assert settings_hash({"lr": 0.1}) != settings_hash({"lr": 0.10000000000000002})
    for wrong, message in [
        ({"x": float("inf")}, r"settings.x is inf"),
        ({"x": [1, {2: 3}]}, r"settings.x\[1\]: key 2 is not text"),
        ({"p": Path("a")}, r"settings.p is a PosixPath"),
    ]:
        with pytest.raises(UserError, match=message):
            settings_hash(wrong)
    assert plain({"a": (1.5, 2.0)}) == {"a": [1.5, 2]}


def test_a_run_key_changes_with_everything_that_it_stands_for():
    base = {"settings": {"lr": 0.1}, "protocol_hash": "p", "data_fp": "d", "fold": 0, "seed": 0}
    others = [{"settings": {"lr": 0.2}}, {"protocol_hash": "q"}, {"data_fp": "e"}, {"fold": 1}, {"seed": 1}]
    keys = [run_key(**base), *(run_key(**(base | other)) for other in others)]
    assert len(set(keys)) == 6 and all(len(key) == 64 for key in keys)
    assert run_key(**(base | {"fold": 0, "seed": 1})) != run_key(**(base | {"fold": 1, "seed": 0}))


# schema -------------------------------------------------------------------------------------------------------------


def test_round_trip(tmp_path):
    assert write_record(tmp_path / "run", FULL) == "written"
    assert read_record(tmp_path / "run" / "record.json") == FULL
    assert Record.from_plain(json.loads(json.dumps(FULL.plain()))) == FULL
    text = (tmp_path / "run" / "record.json").read_text()
    content = json.loads(text)
    assert content["record_id"] == FULL.record_id == hashlib.sha256(canonical(FULL.plain())).hexdigest()
    assert text.endswith("}\n") and list(content) == sorted(content)


def test_a_record_from_before_a_field_was_added_is_read_and_keeps_its_id(tmp_path):
    data = FULL.plain()
    added = ("cpu_seconds", "gpu_seconds", "startup_seconds")
    for name in added:
        del data["cost"][name]
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**data, "record_id": hashlib.sha256(canonical(data)).hexdigest()}))
    found = read_record(path)
    assert [getattr(found.cost, name) for name in added] == [None, None, None]
    assert found.cost.steps == FULL.cost.steps and found.record_id != FULL.record_id


def test_facts_come_from_the_protocol():
    facts = ProtocolFacts.of(IEMOCAP4, "IEMOCAP")
    assert (facts.name, facts.hash, facts.folds, facts.seeds) == ("iemocap4", IEMOCAP4.hash, 5, IEMOCAP4.seeds)
    assert (facts.primary, facts.metrics, facts.title) == (IEMOCAP4.primary, IEMOCAP4.metrics, "IEMOCAP")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("seed"), "record lacks seed"),
        (lambda r: r.update(colour=1), "unknown key 'colour'"),
        (lambda r: r["cost"].update(step=1), r"record.cost has the unknown key 'step'; did you mean steps"),
        (lambda r: r.update(fold=True), "record.fold is True; expected a whole number"),
        (lambda r: r.update(fold=1.0), "record.fold is 1.0; expected a whole number"),
        (lambda r: r["protocol"].update(seeds=[0, "1"]), "record.protocol.seeds is '1'; expected a whole number"),
        (lambda r: r["metrics"]["full"].update({"emotion/ua": "high"}), "record.metrics.full.emotion/ua is 'high'"),
        (lambda r: r["metrics"]["full"].update({"emotion/ua": float("inf")}), "expected a finite number"),
        (lambda r: r["metrics"]["full"].update({"emotion/ua": 56.4}), "is 56.4; expected 0 to 1"),
        (lambda r: r["metrics"]["full"].pop("emotion/wa"), "metrics.full lacks emotion/wa"),
        (lambda r: r["metrics"]["full"].update({"emotion/uar": 0.5}), "no metric 'uar'; did you mean"),
        (lambda r: r["metrics"].update({"a/b": {}}), "a condition in metrics"),
        (lambda r: r.update(status="diverged"), "only a finished run has a score"),
        (lambda r: r.update(status="fine"), "expected one of ok, diverged"),
        (lambda r: r.update(fold=3), "fold is 3; the protocol has folds 0 to 2"),
        (lambda r: r.update(variant="best"), "variant is 'best'"),
        (lambda r: r.update(schema="mer-bench/record/2"), "this version reads mer-bench/record/1"),
        (lambda r: r.update(run_key="../../etc/passwd"), "run_key is"),
        (lambda r: r["method"].update(slug="../up"), r"method.slug is '../up'"),
        (lambda r: r["method"].update(title="evil\u202eeman"), "method.title is"),
        (lambda r: r["protocol"].update(name="a/b"), "protocol.name is"),
        (lambda r: r["protocol"].update(primary="emotion/wf1"), "expected one of its metrics"),
        (lambda r: r["protocol"].update(seeds=[]), "expected some of each"),
        (lambda r: r.update(modalities=["smell"]), "modalities are"),
        (lambda r: r["environment"].update(HOSTNAME="x"), "'HOSTNAME' is not on the list"),
        (lambda r: r["environment"].update(machine="/home/me"), "environment.machine is '/home/me'"),
        (lambda r: r["files"].update({"../x": "e" * 64}), "a name in files"),
        (lambda r: r["selection"].update(metric="emotion/luck"), "no metric 'luck'"),
        (lambda r: r.update(items={"a b": 1}), "a part in items"),
        (lambda r: r["selection"].update(rule="luck"), "expected one of validation, fixed, none, test"),
        (lambda r: r.update(metrics=[]), "record.metrics is .*; expected a mapping"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_schema_is_named(change, message):
    content = FULL.plain()
    change(content)
    with pytest.raises(UserError, match=message):
        Record.from_plain(content)


def test_a_failed_run_has_no_metrics():
    record = make(status="diverged", metrics={}, files={})
    assert Record.from_plain(record.plain()) == record


def test_numbers_are_what_a_rerun_must_reproduce():
    again = dataclasses.replace(
        FULL, cost=dataclasses.replace(FULL.cost, train_seconds=99.0), environment={"python": "3.12.1"}, finished_utc=""
    )
    assert again.numbers() == FULL.numbers() and again.record_id != FULL.record_id
    assert make(value=0.5000000001).numbers() != make(value=0.5).numbers()


# writing and reading ------------------------------------------------------------------------------------------------


def test_a_second_run_with_the_same_numbers_changes_nothing(tmp_path):
    write_record(tmp_path, FULL)
    before = (tmp_path / "record.json").read_bytes()
    again = dataclasses.replace(FULL, cost=dataclasses.replace(FULL.cost, train_seconds=99.0))
    assert write_record(tmp_path, again) == "kept"
    assert (tmp_path / "record.json").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["record.json"]


def test_a_second_run_with_other_numbers_is_a_conflict(tmp_path):
    write_record(tmp_path, make(value=0.5))
    before = (tmp_path / "record.json").read_bytes()
    other = make(value=0.6)
    name = f"conflict-{other.record_id[:16]}.json"
    with pytest.raises(UserError, match=rf"CONFLICT: .*record\.json and the new .*{name} .*\(metrics\)"):
        write_record(tmp_path, other)
    assert (tmp_path / "record.json").read_bytes() == before
    assert read_record(tmp_path / name) == other
    records, rejected = read_records(tmp_path)  # the other one is kept and named, but does not count
    assert len(records) == 1 and [entry.path for entry in rejected] == [name]
    assert rejected[0].reason.startswith("CONFLICT")


def test_an_unusable_record_in_the_way_is_named_and_kept(tmp_path):
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(UserError, match=r"exists but is unusable \(not valid JSON"):
        write_record(tmp_path, FULL)
    assert (tmp_path / "record.json").read_text() == "{"


def test_reading_a_folder_is_tolerant(tmp_path):
    good = run_folder(tmp_path, "iemocap4", "concat", FULL.run_key)
    assert good == tmp_path / "iemocap4" / "concat" / FULL.run_key[:16]
    write_record(good, FULL)
    text = (good / "record.json").read_text()
    doubled = text.replace('"seed": 0', '"seed": 1,\n "seed": 0')
    broken = {
        "torn": text[:200],
        "empty": "",
        "list": "[]",
        "changed": text.replace("0.5,", "0.7,", 1),
        "doubled": doubled,
        "nan": text.replace("0.5,", "NaN,", 1),
        "deep": "[" * 100_000,
        "binary": "\x00\xff",
    }
    for name, content in broken.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(content, encoding="latin-1")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "record.json").symlink_to(good / "record.json")
    records, rejected = read_records(tmp_path)
    assert records == [FULL]
    reasons = dict(rejected)
    assert set(reasons) == {f"{name}/record.json" for name in [*broken, "linked"]}
    assert "changed after it was written" in reasons["changed/record.json"]
    assert "a key occurs twice" in reasons["doubled/record.json"]
    assert "NaN is not a number" in reasons["nan/record.json"]
    assert "record_id is missing" in reasons["list/record.json"]
    assert "not a plain file" in reasons["linked/record.json"]
    with pytest.raises(UserError, match="no such folder"):
        read_records(tmp_path / "nowhere")


# atomicity ----------------------------------------------------------------------------------------------------------

CHILD = """
import os, sys
from pathlib import Path
from mer_bench.results import atomic
count, stop = 0, int(sys.argv[2])
def counted(function):
    def run(*arguments, **options):
        global count
        count += 1
        if count == stop:
            os._exit(9)
        return function(*arguments, **options)
    return run
for name in ("open", "fsync", "link", "replace", "unlink", "mkdir"):
    setattr(os, name, counted(getattr(os, name)))
getattr(atomic, sys.argv[3])(Path(sys.argv[1]), b"new" * 1000)
"""


@pytest.mark.parametrize(("function", "before"), [("create", None), ("write", None), ("write", b"old")])
def test_killed_at_any_step_a_file_is_old_absent_or_whole(tmp_path, function, before):
    seen = set()
    for stop in range(1, 30):
        target = tmp_path / f"{function}{stop}" / "record.json"
        target.parent.mkdir()
        if before is not None:
            target.write_bytes(before)
        done = subprocess.run([sys.executable, "-c", CHILD, str(target), str(stop), function], check=False)
        content = target.read_bytes() if target.exists() else None
        assert content in (before, b"new" * 1000)
        seen.add(content)
        getattr(atomic, function)(target, b"new" * 1000)  # the next attempt finds nothing in its way
        assert target.read_bytes() == b"new" * 1000
        if done.returncode == 0:
            break
        assert done.returncode == 9
    assert done.returncode == 0 and stop > 4
    assert seen == {before, b"new" * 1000}


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_failing_disk_leaves_nothing_behind(tmp_path, monkeypatch, step):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_record(tmp_path, FULL)
    assert list(tmp_path.iterdir()) == []


def test_file_systems_without_links_are_served(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert atomic.create(tmp_path / "a", b"1") is True
    assert atomic.create(tmp_path / "a", b"2") is False
    assert (tmp_path / "a").read_bytes() == b"1"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_of_many_writers_one_wins(tmp_path):
    code = "import sys; from pathlib import Path; from mer_bench.results import atomic;"
    code += "print(atomic.create(Path(sys.argv[1]), sys.argv[2].encode() * 10000))"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "f"), str(i)], stdout=subprocess.PIPE, text=True)
        for i in range(4)
    ]
    answers = [writer.communicate()[0].strip() for writer in writers]
    assert sorted(answers) == ["False", "False", "False", "True"]
    assert (tmp_path / "f").read_bytes() == str(answers.index("True")).encode() * 10000


# provenance ---------------------------------------------------------------------------------------------------------


def test_a_package_inside_somebody_elses_repository_gets_no_commit(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    package = tmp_path / "site-packages" / "mer_bench"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert provenance.git_state(package) == ("", None)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    commit, dirty = provenance.git_state(package)
    assert len(commit) == 40 and dirty is False
    (package / "__init__.py").write_text("x = 1")
    assert provenance.git_state(package) == (commit, True)


def test_the_environment_tells_of_the_machine_only_what_is_allowed(monkeypatch):
    for name, value in (("USER", "canary-user"), ("HOSTNAME", "canary-host"), ("API_KEY", "canary-key")):
        monkeypatch.setenv(name, value)
    found = environment(accelerator="NVIDIA/PCIe \u00e9", cuda="13.0")
    record = make(environment=found, code=provenance.code({}))
    assert found["accelerator"] == "NVIDIA PCIe  " and "torch" in found
    text = json.dumps(record.plain())
    assert not any(word in text for word in ("canary", str(Path.home()), os.uname().nodename, str(Path.cwd())))
    with pytest.raises(UserError, match=r"may not hold environment\.host"):
        environment(host="x")


def test_records_need_neither_numpy_nor_torch(tmp_path):
    write_record(tmp_path / "run", FULL)
    code = (
        "import sys; from pathlib import Path; from mer_bench.results.record import read_records;"
        f"assert len(read_records(Path({str(tmp_path)!r}))[0]) == 1;"
        "assert not {'numpy', 'torch', 'yaml', 'scipy'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_protocol_facts_are_hashable_and_equal_by_content():
    assert len({PROTOCOL, dataclasses.replace(PROTOCOL), dataclasses.replace(PROTOCOL, note="x")}) == 2
