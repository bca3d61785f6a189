"""Every YAML that is shipped runs through the command a user types: one warm process, one batch, a record."""

from __future__ import annotations

from pathlib import Path

import pytest

from mer_bench import recipes
from mer_bench.cli import main
from mer_bench.data import partners
from mer_bench.data.corpora import find_protocol, protocols
from mer_bench.data.synthetic import generate
from mer_bench.merh5 import write
from mer_bench.results.record import read_records
from tests.files import iemocap

#: one batch of one epoch; what is tested is that everything fits together
QUICK = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--data.steps_per_block", "2")
#: items and seconds of each twin: enough for every class to occur in every part; a corpus without an entry has `USUAL`
USUAL = (400, 2)
SIZES = {"iemocap": (300, 2), "mosei": (400, 2), "mosi": (150, 2), "affwild2": (60, 30), "biovid": (87 * 5, 2)}
SMALL = {corpus: SIZES.get(corpus, USUAL) for corpus in sorted({p.corpus for p in protocols().values()})}
METHODS = sorted(recipes.cards())
PAIRS = sorted(path.stem for path in (recipes.packaged_configs()).glob("*_*.yaml"))


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> Path:
    """Synthetic twins of all corpora, small."""
    folder = tmp_path_factory.mktemp("features")
    for corpus, (items, seconds) in SMALL.items():
        write(folder / f"{corpus}.h5", generate(corpus, items=items, seconds=float(seconds), missing=0.0))
    # a pair's settings may be slow; what they are tried on need not have every class
    few = {**SMALL, "affwild2": (12, 3)}
    (folder / "few").mkdir()
    for corpus, (items, seconds) in few.items():
        write(folder / "few" / f"{corpus}.h5", generate(corpus, items=items, seconds=float(seconds), missing=0.0))
    return folder


@pytest.fixture(autouse=True)
def _few_partners(monkeypatch):
    """The projection of every run would take most of the time, and is the same for every method."""
    monkeypatch.setattr(partners, "PARTNERS", 2)


def fit(name: str, root: Path, runs: Path, *more: str) -> None:
    argv = ["fit", name, "--data.root", str(root), "--runs", str(runs), "--progress", "none", *QUICK, *more]
    assert main(argv) == 0
    found, rejected = read_records(runs)
    assert found and not rejected
    assert all(record.status == "ok" for record in found)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_fits(method, tmp_path):
    iemocap(tmp_path / "iemocap.h5", n=60)
    fit(f"iemocap_{method}", tmp_path, tmp_path / "runs", "--data.modalities", "[audio, text]")


@pytest.mark.parametrize("protocol", sorted(protocols()))
def test_every_protocol_fits(protocol, features, tmp_path):
    corpus = protocols()[protocol].corpus
    fit(f"{corpus}_concat", features, tmp_path, "--data.protocol", protocol)


@pytest.mark.parametrize("pair", PAIRS)
def test_every_pair_file_fits(pair, features, tmp_path):
    fit(pair, features / "few", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("corpus", sorted(SMALL))
@pytest.mark.parametrize("method", METHODS)
def test_every_supported_pair_fits(method, corpus, features, tmp_path):
    """On the protocol of the corpus's config, or the first other one of the corpus that the method can answer."""
    recipe = recipes.resolve([f"{corpus}_{method}"])
    own = find_protocol("", corpus).name
    offered = [own, *(p.name for p in protocols().values() if p.corpus == corpus and p.name != own)]
    reasons = {name: recipes.unsupported(recipe.card, protocols()[name], ["two", "modalities"]) for name in offered}
    fitting = [name for name, reason in reasons.items() if not reason]
    if not fitting:
        pytest.skip(reasons[own])
    fit(f"{corpus}_{method}", features, tmp_path, "--data.protocol", fitting[0])
