"""Checkpoint files: whole or absent, no code in them, damage is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from mer_bench.errors import UserError
from mer_bench.training.checkpoints import AtomicCheckpoints, load

CONTENT = {
    "state_dict": {"w": torch.arange(6.0).reshape(2, 3)},
    "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}, 1: {}}, "param_groups": [{"betas": (0.9, 0.99)}]}],
    "epoch": 4,
    "path": Path("a/b"),
    "none": None,
    "text": "ü",
}


def test_round_trip(tmp_path):
    AtomicCheckpoints().save_checkpoint(CONTENT, tmp_path / "a.ckpt")
    got = load(tmp_path / "a.ckpt")
    assert torch.equal(got["state_dict"]["w"], CONTENT["state_dict"]["w"])
    assert got["optimizer_states"][0]["state"][0]["step"] == 3.0
    assert got["optimizer_states"][0]["param_groups"][0]["betas"] == (0.9, 0.99)
    assert (got["epoch"], got["path"], got["none"], got["text"]) == (4, os.path.join("a", "b"), None, "ü")  # noqa: PTH118
    assert set(torch.load(tmp_path / "a.ckpt", weights_only=True)) == {"json", "tensors"}


def test_objects_are_refused(tmp_path):
    with pytest.raises(TypeError, match="tensors and plain values only, not set"):
        AtomicCheckpoints().save_checkpoint({"x": {1, 2}}, tmp_path / "a.ckpt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_while_saving_keeps_the_old_file(tmp_path, monkeypatch, step):
    door = AtomicCheckpoints()
    door.save_checkpoint({"epoch": 1}, tmp_path / "a.ckpt")

    def fail(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync", fail), "replace": (Path, "replace", fail)}[step])
    with pytest.raises(OSError, match="no space"):
        door.save_checkpoint({"epoch": 2}, tmp_path / "a.ckpt")
    monkeypatch.undo()
    assert load(tmp_path / "a.ckpt")["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_damage_is_named(tmp_path, share):
    path = tmp_path / "a.ckpt"
    AtomicCheckpoints().save_checkpoint(CONTENT, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"a\.ckpt: damaged, or not a checkpoint of mer-bench"):
        load(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no checkpoint at"):
        load(tmp_path / "none.ckpt")


def test_foreign_pickle_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "canary",))

    torch.save({"json": "{}", "tensors": {}, "x": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match="damaged, or not a checkpoint"):
        load(tmp_path / "evil.ckpt")
    assert not (tmp_path / "canary").exists()
