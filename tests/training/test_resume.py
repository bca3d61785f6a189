"""The determinism kit: same seed, same bits; a run resumed after any epoch equals the uninterrupted one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from mer_bench import recipes
from mer_bench.cli.lightning import instantiate, quiet
from mer_bench.training.callbacks import EpochLog, checkpoints, read_log
from mer_bench.training.seeds import EpochSeeds
from tests.files import iemocap

EPOCHS = 3


class StopAfter(Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch == self.epochs - 1


def train(folder: Path, root: Path, *, seed: int = 0, stop: int = EPOCHS, resume: bool = False, method: str = "foal"):
    overrides = {
        "data.modalities": "[audio, text]",
        "data.root": str(root),
        "data.steps_per_block": "3",
        "trainer.max_epochs": str(EPOCHS),
        "trainer.accelerator": "cpu",
        "seed_everything": str(seed),
        "model.method.dim": "16",
    }
    recipe = recipes.resolve([f"iemocap_{method}"], overrides.items())
    folder.mkdir(parents=True, exist_ok=True)
    callbacks = [EpochSeeds(seed), *checkpoints(folder), EpochLog(folder / "metrics.csv"), StopAfter(stop)]
    command = instantiate(recipe, callbacks=callbacks)
    with quiet():
        command.trainer.fit(command.model, command.datamodule, ckpt_path=str(folder / "last.ckpt") if resume else None)
        command.trainer.test(command.model, command.datamodule, verbose=False)
    return command


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return iemocap(tmp_path_factory.mktemp("resume") / "iemocap.h5", n=150).parent


@pytest.fixture(scope="module")
def straight(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    return train(folder, root), folder


def same(one, two) -> bool:
    a, b = one.model.state_dict(), two.model.state_dict()
    weights = a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    p, q = one.model.predictions["full"], two.model.predictions["full"]
    return weights and all((p[k] == q[k]).all() for k in p)


@pytest.mark.parametrize("stop", range(1, EPOCHS))
def test_resume_is_bit_identical(straight, root, tmp_path, stop):
    whole, folder = straight
    train(tmp_path, root, stop=stop)
    resumed = train(tmp_path, root, resume=True)
    assert same(whole, resumed)
    assert resumed.model.steps == whole.model.steps

    def log(where: Path) -> list[dict]:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in read_log(where / "metrics.csv")]

    assert log(tmp_path) == log(folder)
    assert len(log(folder)) == EPOCHS


def test_same_seed_same_bits_other_seed_other_bits(straight, root, tmp_path):
    whole, _ = straight
    assert same(whole, train(tmp_path / "again", root))
    assert not same(whole, train(tmp_path / "other", root, seed=1))


def test_blind_to_the_test_part(straight, tmp_path):
    """Noise in place of the test session's features, and other test labels, leave every weight as it was."""
    import numpy as np

    from mer_bench.merh5 import FeatureFile

    whole, _ = straight
    file = FeatureFile(iemocap(tmp_path / "plain" / "iemocap.h5", n=150))
    test = set(whole.datamodule.split.test.tolist())
    rng = np.random.default_rng(7)
    label, mask = file.label("emo4")
    changed = np.array([(k + 1) % 4 if i in test else k for i, k in enumerate(label)])
    noisy = {}
    for m, info in file.modalities.items():
        values = file.values(m).copy()
        for i in test:
            a, b = info.offsets[i], info.offsets[i + 1]
            values[a:b] = rng.normal(0, 1e6, (b - a, info.dim))
        noisy[m] = (values, np.diff(info.offsets), info.kind, info.rate_hz)
    from mer_bench.merh5 import Labels, Modality

    path = iemocap(
        tmp_path / "noisy" / "iemocap.h5",
        n=150,
        modalities={m: Modality(v, n, kind=k, rate_hz=r) for m, (v, n, k, r) in noisy.items()},
        labels={"emo4": Labels(kind="multiclass", names=file.labels["emo4"].names, values=changed, mask=mask)},
    )
    blind = train(tmp_path / "run", path.parent)
    a, b = whole.model.state_dict(), blind.model.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not (whole.model.predictions["full"]["emotion"] == blind.model.predictions["full"]["emotion"]).all()
