"""Streaming: what a shelf holds is what a resident corpus holds, and with one shelf nothing differs at all."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mer_bench.cli import main
from mer_bench.data import rows as room
from mer_bench.data.corpora import find_protocol
from mer_bench.data.datamodule import MERDataModule
from mer_bench.data.datamodules import IEMOCAP
from mer_bench.data.rows import scale_of, spans
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from mer_bench.protocol import OfficialTable
from tests.files import iemocap, recordings


@pytest.fixture(scope="module")
def turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return iemocap(tmp_path_factory.mktemp("turns") / "iemocap.h5", absent=0.3)


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("tracks") / "affwild2.h5", tracks=9)


def of_turns(path: Path, **settings) -> MERDataModule:
    return IEMOCAP(file=str(path), batch_size=16, steps_per_block=2, **settings)


def of_tracks(path: Path, monkeypatch: pytest.MonkeyPatch, **settings) -> MERDataModule:
    """Windows that overlap, vision on the clock of the labels, audio on another."""
    split = OfficialTable("abaw")
    protocol = replace(find_protocol("affwild2_va"), split=split)
    monkeypatch.setattr("mer_bench.data.datamodule.find_protocol", lambda name, corpus: protocol)
    monkeypatch.setattr(MERDataModule, "corpus", "affwild2")
    return MERDataModule(file=str(path), batch_size=3, steps_per_block=2, window=16, stride=5, **settings)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), max_size=15))
def test_spans_cover_the_same_positions_once(ranges: list[tuple[int, int]]) -> None:
    starts, sizes = np.array(ranges, np.int64).reshape(-1, 2).T
    found = spans(starts, starts + sizes).tolist()
    covered = {k for start, size in ranges for k in range(start, start + size)}
    assert sorted(covered) == [k for start, stop in found for k in range(start, stop)]
    assert all(stop < start for (_, stop), (start, _) in pairwise(found))


def test_statistics_in_pieces_are_those_of_the_whole(turns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FeatureFile(turns)
    items = np.sort(np.random.default_rng(0).permutation(file.n)[:170])
    offsets = file.modalities["vision"].offsets
    inside = np.repeat(np.isin(np.arange(file.n), items), np.diff(offsets))
    part = file.values("vision")[inside].astype(np.float64)
    for size in (1 << 24, 200, 1):
        monkeypatch.setattr(room, "PIECE_BYTES", size)
        found = scale_of(file, "vision", items)
        assert found is not None
        np.testing.assert_allclose(found.mean, part.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(found.std, part.std(axis=0), rtol=1e-6)


def same(block, store, step: int) -> None:
    """The batch of a step is what the resident store gives for its items."""
    got = block.batch(step)
    widths = {name: int(width[step]) for name, width in block.widths.items()}
    wanted = store.gather(got.rows, widths, got.draws, block.keep)
    for m in wanted.inputs:
        assert torch.equal(got.inputs[m].values, wanted.inputs[m].values)
        assert torch.equal(got.inputs[m].mask, wanted.inputs[m].mask)
    for t in wanted.targets:
        assert torch.equal(got.targets[t].values, wanted.targets[t].values)
        assert torch.equal(got.targets[t].mask, wanted.targets[t].mask)


@pytest.mark.parametrize("shelf_mb", [1e-6, 3e-3, 8e-3])
@pytest.mark.parametrize("kind", ["turns", "tracks"])
def test_a_shelf_holds_what_memory_holds(kind: str, shelf_mb: float, request, monkeypatch) -> None:
    path = request.getfixturevalue(kind)
    settings = {"turns": {}, "tracks": {"eval_window": 16, "eval_stride": 7}}[kind]
    make = {"turns": of_turns, "tracks": lambda p, **s: of_tracks(p, monkeypatch, **s)}[kind]
    resident = make(path, stream="never", **settings)
    streamed = make(path, stream="always", shelf_mb=shelf_mb, **settings)
    loaders = [streamed.train_dataloader(), streamed.val_dataloader(), *streamed.test_dataloader()[:3]]
    parts = [streamed.parts[name] for name in ("train", "val", "test", "test", "test")]
    for loader, part in zip(loaders, parts, strict=True):
        seen, count = [], 0
        for block in loader:  # one after the other: a shelf is filled again
            for step in range(len(block)):
                same(block, resident.store, step)
                seen += block.batch(step).rows.tolist()
            count += 1
        assert sorted(seen) == part.tolist() and count == len(loader)
    sizes = streamed.source.sizes(streamed.parts["train"], streamed.batch_size)
    assert len(sizes) > 1 and all(size % streamed.batch_size == 0 for size in sizes[:-1])


def test_one_shelf_is_the_resident_order_bit_for_bit(turns: Path) -> None:
    resident, streamed = of_turns(turns, stream="never", seed=3), of_turns(turns, stream="always", seed=3)
    for epoch in (0, 5):
        loaders = resident.train_dataloader(), streamed.train_dataloader()
        for loader in loaders:
            loader.set_epoch(epoch)
        for a, b in zip(*loaders, strict=True):
            assert torch.equal(a.items, b.items) and a.seed == b.seed
            for step in range(len(a)):
                same(b, resident.store, step)


def test_order_over_shelves_depends_on_seed_and_epoch_alone(turns: Path) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        loader = of_turns(turns, stream="always", shelf_mb=5e-3, seed=seed).train_dataloader()
        next(iter(loader))  # an iteration that is given up changes nothing
        loader.set_epoch(epoch)
        return torch.cat([block.items.flatten() for block in loader]).tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2) and order(0, 1) != order(1, 1)
    places = np.abs(np.diff(order(0, 1)))
    assert np.median(places) > 20  # neighbours in the file are no neighbours in an epoch


def test_half_precision_keeps_three_digits(turns: Path) -> None:
    whole = of_turns(turns).store
    for stream in ("never", "always"):
        half = of_turns(turns, storage=16, stream=stream)
        block = next(iter(half.train_dataloader()))
        batch = block.batch(0)
        assert block.store.inputs["text"].values.dtype == torch.float16
        wanted = whole.gather(batch.rows, {m: int(w[0]) for m, w in block.widths.items()}, batch.draws)
        for m, x in batch.inputs.items():
            assert x.values.dtype == torch.float32 and torch.equal(x.mask, wanted.inputs[m].mask)
            torch.testing.assert_close(x.values, wanted.inputs[m].values, rtol=5e-4, atol=1e-6)


def test_beyond_half_precision_is_its_largest_number(tmp_path: Path) -> None:
    from mer_bench.data.rows import Rows

    path = iemocap(tmp_path / "x.h5")
    rows = Rows(FeatureFile(path), "audio", room.Scale(np.zeros(6, np.float32), np.full(6, 1e-7, np.float32)))
    values, observed = np.empty((4, 6), np.float16), np.empty(4, bool)
    rows.fill(0, values, observed)
    assert np.isfinite(values).all() and np.abs(values).max() == np.finfo(np.float16).max


def test_when_it_streams(turns: Path) -> None:
    assert not of_turns(turns).memory.streams(FeatureFile(turns), ["text"])
    small = of_turns(turns, memory_gb=1e-6)
    with pytest.raises(UserError, match=r"features are streamed; use --data\.stream never"):
        _ = small.store
    assert of_turns(turns, memory_gb=1e-6, stream="never").store
    with pytest.raises(UserError, match=r"--data\.shelf_mb must be above 0, got 0"):
        of_turns(turns, shelf_mb=0.0)


def test_fit_streams_through_the_command(turns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    quick = ["--trainer.max_epochs", "2", "--model.method.dim", "8", "--trainer.accelerator", "cpu"]
    quick += ["--model.optimizer.lr", "0.02", "--data.file", str(turns)]
    runs = {"resident": ("never", "128"), "one": ("always", "128"), "many": ("always", "0.004")}
    found = {}
    for name, (when, shelf) in runs.items():
        assert main(["fit", "iemocap_concat", *quick, "--data.stream", when, "--data.shelf_mb", shelf]) == 0
        (path,) = set(Path().glob("runs/*/*/*/record.json")) - {p for p, _ in found.values()}
        found[name] = path, json.loads(path.read_text())
    records = {name: record for name, (_, record) in found.items()}
    assert records["one"]["metrics"] == records["resident"]["metrics"]
    assert records["many"]["metrics"] != records["resident"]["metrics"]  # another order of the items
    assert records["many"]["cost"]["steps"] == records["resident"]["cost"]["steps"]
