"""Search: equal draws for all, decided by scores alone, rebuilt from files, and blind to every test part."""

from __future__ import annotations

import random
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import yaml

from mer_bench import recipes
from mer_bench.cli import engines, fit
from mer_bench.cli import search as command
from mer_bench.cli.sweep import main
from mer_bench.cli.sweep import options_of as main_options
from mer_bench.cli.trial import work
from mer_bench.data.corpora import find_protocol
from mer_bench.data.splits import make_split, search_fold
from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, FeatureFile, Labels, Modality, write
from mer_bench.protocol import searched
from mer_bench.runs import plan, row_hash
from mer_bench.sweep import trials, winners
from mer_bench.sweep.file import FeatureSet
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.plan import Pair, make_plan, read
from mer_bench.sweep.search import Need, advance
from mer_bench.sweep.space import Search, targets
from mer_bench.sweep.trials import Outcome
from mer_bench.sweep.winners import families
from tests.files import iemocap, people

SWEEP = """
protocols: [iemocap4]
methods: [{methods}]
modalities: {{iemocap4: [audio, text]}}
folds: {folds}
seeds: [0]
set: {{trainer.max_epochs: 3}}
search: {{{search}}}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    iemocap(tmp_path / "features" / "iemocap.h5", n=100)
    return tmp_path


def studies(search: str = "draws: 8, halve: [2]", runs: str = "runs", folds: str = "[0, 1]"):
    Path("s.yaml").write_text(SWEEP.format(methods="concat", search=search, folds=folds))
    return [study for family in families(read("s.yaml"), runs)[0] for study in family.studies.values()]


def value(trial, epochs: int) -> float:
    """A made-up learning curve: good rates win in the end, a few promise more than they keep."""
    rate = trial.settings["model.optimizer.lr"]
    return round(-abs(np.log10(rate) + 3) + 0.01 * epochs - trial.number * 1e-4, 6)


@pytest.mark.parametrize("method", [slug for slug in recipes.cards() if slug not in ("gbt", "majority", "linear")])
def test_every_drawn_width_is_one_that_the_method_can_have(method):
    search, recipe = Search(), recipes.resolve(["data/iemocap.yaml", f"method/{method}.yaml"])
    heads = recipe.settings["model"]["method"].get("init_args", {}).get("heads", 1)
    for factor in (0.25, 0.5, 1.0, 2.0):
        found = search.settings({**search.draw(0), "width": factor}, recipe)
        widths = {name: found[name] for name in targets("width", recipe)}
        assert all(width > 0 and width % heads == 0 for width in widths.values()), widths
        if factor == 1.0:
            own = recipe.settings["model"]["method"]["init_args"] if widths else {}
            assert widths == {name: own[name.rpartition(".")[2]] for name in widths}


def pretend(need: Need, order: random.Random | None = None) -> bool:
    """What the engine would leave, in any order."""
    waiting = list(need.trials)
    if order is not None:
        order.shuffle(waiting)
    for trial in waiting:
        epochs = need.epochs or 10
        outcome = Outcome("ok" if need.epochs is None else "stopped", value(trial, epochs), {}, 0, epochs, 100, 1.0)
        trials.write(trial.run.folder / (trials.END if need.epochs is None else trials.rung(epochs)), outcome)
    return False


def test_draws_are_the_same_for_every_method_and_stay_when_more_are_made(home):
    few, many = Search(draws=5), Search(draws=50)
    assert [few.draw(i) for i in range(5)] == [many.draw(i) for i in range(5)]
    drawn = [many.draw(i) for i in range(50)]
    assert len({d["model.optimizer.lr"] for d in drawn}) > 40
    assert all(1e-4 <= d["model.optimizer.lr"] <= 1e-2 and 0 <= d["dropout"] <= 0.6 for d in drawn)
    assert {d["width"] for d in drawn} == {0.25, 0.5, 1.0, 2.0}
    for method, axes in (("concat", 4), ("linear", 2), ("jmt", 4)):
        recipe = recipes.resolve(["data/iemocap.yaml", f"method/{method}.yaml"])
        found = [many.settings(draw, recipe) for draw in drawn]
        assert [f["model.optimizer.lr"] for f in found] == [d["model.optimizer.lr"] for d in drawn]
        assert sum(bool(targets(axis.name, recipe)) for axis in many.axes) == axes
        for dotted in found[0]:  # every setting exists: a search may not invent one
            node = recipe.settings
            for part in dotted.split("."):
                node = node.get("init_args", node) if "class_path" in node else node
                assert part in node, dotted
                node = node[part]
    wide = recipes.resolve(["data/iemocap.yaml", "method/jmt.yaml"])
    assert many.settings({**drawn[0], "width": 0.5}, wide)["model.method.hidden"] == 256


def test_the_worse_half_stops_and_the_best_survivor_wins(home):
    made = studies()
    ended = advance(made, pretend)
    assert not ended.broken and not ended.needs and len(ended.winners) == 2
    for best in ended.winners.values():
        scores = {t.number: value(t, 2) for t, _ in best.finished}
        alive = sorted(scores, key=scores.__getitem__, reverse=True)[:4]
        assert {t.number for t, o in best.finished if o.status == "ok"} == set(alive)
        assert best.trial.number == alive[0]
        assert len(best.trials) == 8


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_order_and_interruption_change_no_winner(home, sampler):
    given = f"draws: 7, halve: [2], sampler: {sampler}"
    whole = advance(studies(given, folds="[0]"), pretend)
    calls = random.Random(3)
    for _ in range(40):  # stopped at every step, seen anew from files alone, finished in another order

        def some(need: Need) -> bool:
            pretend(Need(calls.sample(list(need.trials), (len(need.trials) + 1) // 2), need.epochs), calls)
            return True

        parts = advance(studies(given, "other", "[0]"), some)
        if not parts.needs:
            break
    assert not parts.needs and not whole.needs
    for i, best in whole.winners.items():
        assert best.trial.settings == parts.winners[i].trial.settings
        assert best.trials == parts.winners[i].trials and best.ledger == parts.winners[i].ledger


def test_tpe_learns_from_what_it_was_told(home):
    ended = advance(studies("draws: 25, halve: [], sampler: tpe", folds="[0]"), pretend)
    for best in ended.winners.values():
        rates = [abs(np.log10(t.settings["model.optimizer.lr"]) + 3) for t, _ in best.finished]
        assert np.median(rates[10:]) < np.median(rates[:5])


def test_too_many_parameters_narrow_the_draw(home):
    def strict(need: Need) -> bool:
        for trial in need.trials:
            fits = trial.draw["width"] <= 0.5
            outcome = Outcome(
                "ok" if fits else "too_large",
                value(trial, 1) if fits else None,
                {},
                0,
                1,
                9 if fits else 3_000_000,
                0.0,
            )
            trials.write(trial.run.folder / trials.END, outcome)
        return False

    ended = advance(studies(), strict)
    for best in ended.winners.values():
        assert all(trial.draw["width"] <= 0.5 for trial, _ in best.finished)
        assert any(entry["narrowed"] for entry in best.trials)


def test_trials_of_another_search_are_judged_by_the_own_rung(home):
    """All went to their end for somebody else: who wins is what a search of its own would have said."""
    alone = advance(studies(runs="alone"), pretend)
    shared = studies()
    pretend(Need([study.trial(i, study.search.draw(i)) for study in shared for i in range(8)], None))

    def from_the_log(need: Need) -> bool:
        assert need.epochs == 2
        return pretend(need)

    ended = advance(shared, from_the_log)
    for i, best in alone.winners.items():
        assert ended.winners[i].ledger == best.ledger


def test_a_trial_that_diverges_later_still_stood_at_its_rung(home):
    (study,) = studies(folds="[0]")
    whole = advance([study], pretend).winners[0]
    trials.write(whole.trial.run.folder / trials.END, Outcome("diverged", None, {}, None, 5, 100, 1.0))
    again = advance([study], pretend).winners[0]
    assert again.trial != whole.trial
    assert sum(outcome.status != "stopped" for _, outcome in again.finished) == 4  # the half is the same
    assert trials.outcome(whole.trial.run.folder, 99, None).status == "too_large"
    (whole.trial.run.folder / trials.rung(2)).unlink()
    assert whole.trial.standing(5) is None and whole.trial.standing(6).status == "diverged"


def test_a_cap_is_held_against_what_other_searches_left(home):
    """Trained under a larger cap: narrowed here. Refused under a smaller one: run here."""

    def sized(need: Need) -> bool:
        for trial in need.trials:
            trials.discard(trial)
            size = round(1_000_000 * trial.draw["width"])
            fits = size <= trial.cap
            outcome = Outcome("ok" if fits else "too_large", value(trial, 1) if fits else None, {}, 0, fits, size, 0.0)
            assert not (trial.run.folder / trials.END).exists()
            trials.write(trial.run.folder / trials.END, outcome)
        return False

    small, large = ({"search": f"draws: 8, halve: [], cap: {cap}", "folds": "[0]"} for cap in (600_000, 5_000_000))
    first = {runs: advance(studies(**given, runs=runs), sized) for runs, given in (("a", small), ("b", large))}
    other = {runs: advance(studies(**given, runs=runs), sized) for runs, given in (("b", small), ("a", large))}
    assert first["a"].winners[0].ledger == other["b"].winners[0].ledger
    assert first["b"].winners[0].ledger == other["a"].winners[0].ledger
    assert all(outcome.parameters <= 600_000 for _, outcome in other["b"].winners[0].finished)


def test_a_rung_is_written_from_the_log_of_a_trial_that_went_further(home):
    (study,) = studies("draws: 1, halve: []", folds="[0]")
    trial = study.trial(0, study.search.draw(0))
    given = {"threads": 1, "trust": (), "runs": str(Path("runs/trials")), "cap": 2_000_000}
    work(trial.run.recipe, {**given, "epochs": 2})
    straight = trials.read(trial.run.folder / trials.rung(2))
    work(trial.run.recipe, {**given, "epochs": None})
    (trial.run.folder / trials.rung(2)).unlink()
    for epochs in (1, 2):  # the checkpoint is gone, so training again would take all epochs
        work(trial.run.recipe, {**given, "epochs": epochs})
    assert trial.standing(2) == straight and straight.status == "stopped"
    assert trial.standing(1).epochs == 1 and trial.outcome().epochs == 3


def test_a_study_whose_trials_fail_is_named_and_stops_no_other(home):
    def one_fails(need: Need) -> bool:
        return pretend(Need([t for t in need.trials if not (t.run.fold == 1 and t.number == 3)], need.epochs))

    ended = advance(studies(), one_fails)
    assert list(ended.winners) == [0]
    assert "concat on iemocap4 (audio, text) fold 1: 1 trials failed" in ended.broken[1]


def test_two_files_of_the_same_modalities_have_settings_of_their_own(home):
    """On one file the highest rate wins, on the other the lowest; the runs of each have the one of their file."""
    iemocap(Path("features/b.h5"), n=120)
    a, b = (FeatureFile(Path(f"features/{name}.h5")).content_sha256 for name in ("iemocap", "b"))
    sets = ", ".join(f"{{modalities: [audio, text], file: features/{name}.h5}}" for name in ("iemocap", "b"))
    content = SWEEP.format(methods="concat", search="draws: 4, halve: []", folds="[0]")
    content = content.replace("modalities: {iemocap4: [audio, text]}", f"features: {{iemocap4: [{sets}]}}")
    Path("s.yaml").write_text(content)

    def ended(runs, options, target, given, folder) -> bool:
        for run in runs.values():
            score = rate(run) * (1 if run.file.content_sha256 == a else -1)
            trials.write(run.folder / run.result, Outcome("ok", score, {}, 0, 3, 9, 0.0))
        return False

    def rate(run) -> float:
        return run.recipe.settings["model"]["optimizer"]["init_args"]["lr"]

    options = Namespace(runs="runs", trust=[], retry=False)
    found = command.find(read("s.yaml"), options, [], ended, looking=False)
    runs = make_plan(read("s.yaml"), "runs", (), found.configs).runs.values()
    drawn = [Search(draws=4).draw(i)["model.optimizer.lr"] for i in range(4)]
    assert {run.file.content_sha256: rate(run) for run in runs} == {a: max(drawn), b: min(drawn)}
    looked = command.find(read("s.yaml"), options, [], ended, looking=True)
    assert looked.configs == found.configs
    (path,) = next(paths for (_, _, features), paths in found.configs.items() if features.file == "features/b.h5")
    assert path.endswith(f"-audio-text-{b[:8]}.yaml")
    with pytest.raises(UserError, match=r"iemocap\.h5.*was searched on other features"):
        plan(recipes.resolve([path], [("data.file", "features/iemocap.h5")]), "runs")


@pytest.mark.parametrize(
    ("name", "why"), [("iemocap4_testselect_legacy", "on its test part"), ("biovid_a_clip5fold_legacy", "same people")]
)
def test_no_search_where_it_would_choose_on_those_who_are_tested(name, why):
    pair = Pair(find_protocol(name), "concat", FeatureSet(), {}, "")
    with pytest.raises(UserError, match=why):
        winners.refuse_unsearchable(pair)


def test_people_of_a_fold_are_outside_its_search(tmp_path):
    """87 people in five blocks: whoever is tested is locked away while the settings of the fold are searched."""
    names = [f"p{i // 2:02d}" for i in range(174)]
    pain = Labels(kind="multiclass", names=("BL1", "PA4"), values=np.arange(174) % 2, mask=np.ones(174, bool))
    bio = Modality(values=np.ones((174, 2), np.float32), lengths=np.ones(174, int), kind="utterance", rate_hz=0.0)
    ids = [f"i{i:03d}" for i in range(174)]
    parts = {"ids": ids, "speaker": names, "modalities": {"bio": bio}, "labels": {"pain_binary": pain}}
    write(tmp_path / "biovid.h5", Contents(corpus="biovid", synthetic=True, **parts))
    file = FeatureFile(tmp_path / "biovid.h5")
    protocol = find_protocol("biovid_a_binary")
    place, speakers = searched(protocol), file.group("speaker")
    blocks = [search_fold(protocol, file, fold) for fold in range(protocol.folds)]
    assert set(blocks) == set(range(5)) and min(map(blocks.count, range(5))) >= 17
    for fold, block in enumerate(blocks):
        mine = set(speakers[make_split(protocol, file, fold).test])
        part = make_split(place, file, block)
        assert not mine & set(speakers[np.concatenate([part.train, part.val])])
    assert searched(find_protocol("iemocap4")) is find_protocol("iemocap4")
    with pytest.raises(UserError, match="is for searches only"):
        fit.main(["biovid_concat", "--data.protocol", place.name, "--data.file", str(file.path)])


def in_process(need_runs, options, target, settings, folder) -> bool:
    for run in need_runs.values():
        work(run.recipe, {"threads": 1, "trust": (), "runs": folder, **settings})
    return False


def real_search(runs: str) -> tuple[dict, dict]:
    sweep = read("s.yaml")
    options = type("Options", (), {"runs": runs, "trust": [], "retry": False})()
    found = command.find(sweep, options, [], in_process, looking=False)
    ((path,),) = found.configs.values()
    return yaml.safe_load(Path(path).read_text()), found.configs


@pytest.mark.slow
def test_no_test_row_touches_a_winner(home):
    """Features and labels of the test session become noise: the same draws win with the same scores."""
    Path("s.yaml").write_text(SWEEP.format(methods="concat", search="draws: 3, halve: [1]", folds="[0]"))
    first, _ = real_search("runs")
    test = np.array([name == "Ses01" for name in people(100)["session"]])
    spoil(Path("features/iemocap.h5"), test)
    second, _ = real_search("runs")
    assert first["tuned"]["search"] != second["tuned"]["search"]  # it is another file, and was searched anew
    strip = [{k: v for k, v in found["tuned"]["folds"][0].items() if k != "ledger"} for found in (first, second)]
    assert strip[0] == strip[1]
    spoil(Path("features/iemocap.h5"), ~test)  # the reverse: rows of training and validation do count
    assert real_search("runs")[0]["tuned"]["folds"][0]["score"] != first["tuned"]["folds"][0]["score"]
    left = {path.name for path in Path("runs").rglob("*") if path.is_file()}
    assert not left & {"record.json", "predictions.npz", "clusters.npz", "best.ckpt", "last.ckpt"}


def spoil(path: Path, rows: np.ndarray) -> None:
    """Write the same file with noise in some rows: features anew, labels shuffled, masks as they were."""
    file, rng = FeatureFile(path), np.random.default_rng(9)
    modalities = {}
    for name, info in file.modalities.items():
        lengths = np.diff(info.offsets)
        values = np.array(file.values(name))
        inside = np.repeat(rows, lengths)
        values[inside] = rng.normal(0, 50, (inside.sum(), info.dim))
        modalities[name] = Modality(values=values, lengths=lengths, kind=info.kind, rate_hz=info.rate_hz)
    values, mask = file.label("emo4")
    values = np.where(rows, rng.integers(0, 4, len(values)), values)
    names = file.labels["emo4"].names
    labels = {"emo4": Labels(kind="multiclass", names=names, values=values, mask=mask)}
    path.unlink()
    iemocap(path, n=100, modalities=modalities, labels=labels)


def test_a_searched_config_serves_its_folds_only(home):
    made = studies("draws: 2, halve: []")
    ended = advance(made, pretend)
    family = families(read("s.yaml"), "runs")[0][0]
    path = str(winners.write(family, dict(enumerate(ended.winners.values())), "runs", "s"))
    chosen = [ended.winners[i].trial.settings["model.optimizer.lr"] for i in (0, 1)]
    found = [recipes.resolve([path], [("data.fold", str(fold))]) for fold in (0, 1)]
    assert [r.settings["model"]["optimizer"]["init_args"]["lr"] for r in found] == chosen
    assert {r.card["variant"] for r in found} == {"tuned-2"}
    assert len({row_hash(r) for r in found}) == 1  # one row, whatever was chosen
    (searched_run,) = plan(found[0], "runs")
    default = recipes.resolve(
        ["iemocap_concat"],
        [("data.modalities", "[audio, text]"), ("data.protocol", "iemocap4"), ("trainer.max_epochs", "3")]
        + [(k, str(v)) for k, v in ended.winners[0].trial.settings.items()],
    )
    assert plan(default, "runs")[0].key != searched_run.key  # the same values by hand are another run
    for pairs, message in (
        ([("data.fold", "2")], "has settings for fold 0, 1 only"),
        ([("model.optimizer.lr", "0.1")], "the search chose it"),
        ([("data.protocol", "iemocap6")], "searched under iemocap4"),
    ):
        with pytest.raises(UserError, match=message):
            recipes.resolve([path], pairs)
    plan_of_runs = make_plan(read("s.yaml"), "runs", (), {family.key: [path]}).runs
    assert {run.fold for run in plan_of_runs.values()} == {0, 1}


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("draw: 3", "unknown key 'draw'; did you mean draws"),
        ("draws: 0", "draws is 0; expected a whole number from 1"),
        ("sampler: grid", "sampler: 'grid'"),
        ("halve: [5, 2]", "epochs in rising order"),
        ("halve: 10", "halve is 10; expected a list of epochs"),
        ("space: {lr: {log: [1, 2]}}", "expected a dotted setting"),
        ("space: {model.optimizer.lr: {log: [0, 2]}}", "expected the lower and the upper bound"),
        ("space: {model.optimizer.lr: {normal: [0, 2]}}", "expected one of log, uniform, choice, scale"),
    ],
)
def test_bad_searches(home, search, message):
    Path("s.yaml").write_text(SWEEP.format(methods="concat", search=search, folds="[0]"))
    with pytest.raises(UserError) as error:
        read("s.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize("key", ["model.optimizer.lr", "model.optimizer.init_args.lr", "model.method.dim"])
def test_what_is_given_is_not_drawn_too(home, key):
    content = SWEEP.format(methods="concat", search="draws: 2", folds="[0]")
    Path("s.yaml").write_text(content.replace("trainer.max_epochs: 3", f"{key}: 1"))
    with pytest.raises(UserError, match=rf"{key} is given.*search\.space\."):
        families(read("s.yaml"), "runs")
    Path("s.yaml").write_text(content)
    with pytest.raises(UserError, match="the command line"):
        families(read("s.yaml"), "runs", [(key, "1")])


def test_looking_at_a_search_writes_nothing(home, capsys):
    Path("s.yaml").write_text(SWEEP.format(methods="concat, majority", search="draws: 4", folds="[0, 1]"))
    assert main(["s.yaml", "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert "search of 8 trials: 8 go on next" in shown.out and "no settings to search" in shown.err
    assert not Path("runs").exists()


def test_trials_and_tracked_runs_never_train_as_a_stack(home):
    """A stack leaves records, so a trial in one would be tested; and it has no tracker."""
    options = main_options(["s", "--cpu", "--workers", "1", "--stack", "4"])
    ledger = Ledger("runs")

    def room(target: str, **given: str) -> int:
        return engines.ENGINES["local"](options, ledger, target, given).places[0].room

    assert room(engines.TARGET) == room(engines.TARGET, track="csv") == 4
    assert room(command.TARGET) == room(engines.TARGET, track="wandb") == 1
