"""Methods on synthetic corpora of known optimum: who can learn what, and nobody more than there is.

A method whose card says that it represents a structure reaches 0.9 of the oracle's score on the same items; one whose
card does not stays near chance where one modality says nothing; nobody exceeds the oracle by more than four cluster
standard errors, which would be a leak. Everything runs through the command that a user types.

The twin of BioVid is used since its samples are equally long: with 1.25 s a look-up has five frames, one for each key,
so their average says nothing of it. Runs are short: networks at most 50 wide, and an end as soon as the validation
score is well above what the card promises. On `redundant`, which takes a few epochs, and where a card promises nothing,
no run ends before its time: a method that has learned all there is could show more only after that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mer_bench import recipes
from mer_bench.cli import main
from mer_bench.data.corpora import find_protocol
from mer_bench.data.splits import make_split, targets
from mer_bench.data.synthetic import oracle_predictions
from mer_bench.merh5 import FeatureFile
from mer_bench.metrics import score
from mer_bench.results.record import Record, read_predictions, read_records
from mer_bench.sweep.space import targets as settings_of

#: epochs of a run at most, by structure; ours, like all settings here
EPOCHS = {"redundant": 3, "unique": 8, "synergy": 8, "synergy_lookup": 8}
SETTINGS = ("--data.batch_size", "64", "--early_stopping.patience", "99")
WIDTH, RATE = 50, "2e-3"
#: width and rate of those that say the same of every item otherwise: JMT at that rate, MISA also when 32 wide
OTHERS = {"jmt": (WIDTH, "5e-4"), "misa": (128, "5e-4")}
CORPUS = ("--items", "26100", "--seconds", "1.25", "--missing", "0", "--invalid", "0")
PROTOCOL, MODALITIES = find_protocol("biovid_a_kfold5"), ("bio", "vision")
LABELS, METRIC, CHANCE = "pain_binary", "pain/wa", 0.5
#: what a card promises, and where a run ends that keeps it, as shares of the optimum
PROMISED, ENOUGH = 0.9, 0.96


def methods() -> list[str]:
    """Every method, and the presets whose network is another than that of the method; wider ones are the same."""
    networks, found = [], []
    for slug in sorted(recipes.cards(), key=lambda name: len(recipes.chain(recipes.shipped("method")[name]))):
        network = recipes.resolve([f"biovid_{slug}"]).settings["model"]["method"]
        network.get("init_args", {}).pop("match_parameters", None)
        if network not in networks:
            networks.append(network)
            found.append(slug)
    return sorted(found)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("structures")
    for structure in EPOCHS:
        out = folder / structure / "biovid.h5"
        assert main(["data", "synth", "biovid", "--structure", structure, "--out", str(out), *CORPUS]) == 0
    return {structure: folder / structure for structure in EPOCHS}


def quick(slug: str) -> Iterator[str]:
    """Options for a rate, and for widths, those that searches vary, halved until the method is narrow enough."""
    width, rate = OTHERS.get(slug, (WIDTH, RATE))
    yield from ("--model.optimizer.lr", rate)
    recipe = recipes.resolve([f"biovid_{slug}"])
    given = recipe.settings["model"]["method"].get("init_args", {})
    factor = 1.0
    while given.get("dim", 0) * factor > width:
        factor /= 2
    for name in settings_of("width", recipe):
        yield from (f"--{name}", str(round(given[name.rpartition(".")[2]] * factor)))


def fit(root: Path, slug: str, *options: str) -> tuple[Path, list[Record]]:
    """Where the runs of a method on fold 0 of a corpus are, and their records."""
    runs = root / "runs" / slug
    data = ("--data.protocol", PROTOCOL.name, "--data.modalities", f"[{', '.join(MODALITIES)}]")
    where = ("--data.root", str(root), "--runs", str(runs), "--progress", "none")
    epochs = ("--trainer.max_epochs", str(EPOCHS[root.name]))
    assert main(["fit", f"biovid_{slug}", *data, *where, *epochs, *SETTINGS, *quick(slug), *options]) == 0
    found, rejected = read_records(runs)
    assert found and not rejected
    return runs, found


def measure(root: Path, slug: str) -> list[tuple[float, float, float]]:
    """(method's accuracy, oracle's, cluster standard error of their difference) of each run of a method, fold 0."""
    file = FeatureFile(root / "biovid.h5")
    options: tuple[str, ...] = ()
    if root.name in recipes.cards()[slug]["represents"] and root.name != "redundant":
        optimum = file.truth["optimum"][LABELS]["+".join(sorted(MODALITIES))]["wa"]
        options = ("--early_stopping.stopping_threshold", f"{ENOUGH * optimum:.3f}")
    runs, found = fit(root, slug, *options)
    rows = make_split(PROTOCOL, file, 0).test
    values, mask = targets(file, "pain", PROTOCOL.tasks["pain"])
    truth = {"pain": (values[rows], mask[rows])}
    results = []
    for record in found:
        best = oracle_predictions(file, LABELS, "wa", modalities=record.modalities, rows=rows)
        oracle = score(PROTOCOL.tasks, [METRIC], {"pain": best}, truth)[METRIC]
        (path,) = runs.rglob(f"{record.run_key[:16]}/predictions.npz")
        said = read_predictions(path).outputs["full/pain"]
        error = _standard_error(said, best, values[rows], file.group("speaker")[rows])
        results.append((record.metrics["full"][METRIC], oracle, error))
    return results


def _standard_error(said, best, truth, speakers) -> float:
    """Of the difference in accuracy, by subjects."""
    gain = (said.argmax(1) == truth).astype(float) - (best.argmax(1) == truth)
    sums = np.bincount(np.unique(speakers, return_inverse=True)[1], weights=gain - gain.mean())
    n = len(sums)
    return float(np.sqrt(n / (n - 1) * (sums**2).sum()) / len(gain))


def test_every_network_is_among_the_methods():
    assert {"concat", "foal", "mmtransmt", "mmtransmt_cascade", "mmtransmt_pooled", "late_mean"} <= set(methods())
    assert not {"concat_wide", "concat_moddrop", "iccl_mutual"} & set(methods())


@pytest.mark.slow
@pytest.mark.parametrize("structure", EPOCHS)
@pytest.mark.parametrize("method", methods())
def test_methods_learn_what_their_cards_say_and_no_more(corpora, structure, method):
    card = recipes.cards()[method]
    for ours, oracle, error in measure(corpora[structure], method):
        print(f"{method} {structure}: {ours:.3f} of {oracle:.3f}")
        assert ours <= oracle + 4 * error, "more than there is to know: something leaks"
        if structure in card["represents"]:
            assert ours >= PROMISED * oracle
        elif structure.startswith("synergy"):
            assert ours <= CHANCE + 0.1, "its card denies what it can do"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learned", "plain"),
    [("iccl", "iccl_avonly"), ("concat_moddrop", "concat"), ("transformer_moddrop", "transformer")],
)
def test_methods_trained_on_parts_lose_less_when_one_is_gone(corpora, learned, plain):
    """On redundant data one modality says all: who has learned from either alone loses less without the other."""
    losses = {}
    for method in (learned, plain):
        _, (record,) = fit(corpora["redundant"], method)
        without = [record.metrics[f"no_{m}"][METRIC] for m in record.modalities]
        losses[method] = record.metrics["full"][METRIC] - sum(without) / len(without)
    assert losses[learned] < losses[plain]
