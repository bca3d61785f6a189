"""Sizes of networks against those of the authors' code, layer by layer, at the code's own dimensions.

Parameters live on the meta device, so that nothing is allocated. What of ours is another size on purpose is in each
formula: keys and values have no bias (2 d of an attention layer), and the encoders, which are ours, do not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import nn

from mer_bench.methods.almt import ALMT
from mer_bench.methods.auxformer import AuxFormer
from mer_bench.methods.dmd import DMD
from mer_bench.methods.lfan import LFAN
from mer_bench.methods.lmf import LowRankLayer
from mer_bench.methods.lnln import LNLN
from mer_bench.methods.mag import MAG
from mer_bench.methods.mbt import MBT
from mer_bench.methods.mfn import MFN
from mer_bench.methods.misa import MISA
from mer_bench.methods.mmim import MMIM
from mer_bench.methods.mmin import MMIN
from mer_bench.methods.self_mm import SelfMM
from mer_bench.methods.tfn import TensorLayer
from mer_bench.methods.tmc import TMC
from mer_bench.types import FeatureSpec, TaskSpec

SCORE = {"score": TaskSpec("regression", ("sentiment",), range=(-3, 3))}
MOOD = {"mood": TaskSpec("multiclass", ("a", "b", "c", "d"))}
MOSI = {"text": FeatureSpec(768, 50), "vision": FeatureSpec(20, 500), "audio": FeatureSpec(5, 375)}


@pytest.fixture(autouse=True)
def on_meta() -> Iterator[None]:
    with torch.device("meta"):
        yield


def size(*modules: nn.Module | nn.Parameter | None) -> int:
    return sum(p.numel() for m in modules for p in (m.parameters() if isinstance(m, nn.Module) else [m]))


def linear(a: int, b: int) -> int:
    return (a + 1) * b


def layer(d: int, hidden: int) -> int:
    """A transformer layer: two normalisations, attention, feed-forward network."""
    return 4 * d + 4 * linear(d, d) - 2 * d + linear(d, hidden) + linear(hidden, d)


def test_tfn():
    """Audio 32, video 32, text 64; 160 units."""
    assert size(TensorLayer([32, 32, 64], 160)) == linear(33 * 33 * 65, 160)


def test_lmf():
    """Audio 16, video 16, text 128; rank 4; one answer."""
    assert size(LowRankLayer([16, 16, 128], 1, 4)) == 4 * (17 + 17 + 129) + 4 + 1


def test_mfn():
    """Words 300, COVAREP 5, FACET 20; the code's memory of 128 and LSTMs of one width, with one bias and not two."""
    h, memory, hidden = 88, 128, 64
    features = {"text": FeatureSpec(300), "audio": FeatureSpec(5), "vision": FeatureSpec(20)}
    lstms = sum(size(nn.LSTMCell(spec.dim, h)) - 4 * h for spec in features.values())
    window, known = 2 * 3 * h, 3 * h + memory
    attention = linear(window, hidden) + linear(hidden, window)
    proposal = linear(window, hidden) + linear(hidden, memory)
    gates = 2 * (linear(window + memory, hidden) + linear(hidden, memory))
    answer = linear(known, hidden) + linear(hidden, 1)
    method = MFN(features, SCORE, dim=h, memory=memory, hidden=hidden)
    assert size(method) == lstms + attention + proposal + gates + answer


def test_mag():
    """The gate on BERT's 768, with everything projected to that width before."""
    d = 768
    gate = MAG(MOSI, SCORE, anchor="text", dim=d).gates["text"]
    assert size(gate) == 2 * (linear(2 * d, d) + linear(d, d)) + 2 * d


def test_misa():
    d, method = 128, MISA(MOSI, SCORE)
    projections, parts = 3 * (linear(d, d) + 2 * d), (3 + 1 + 3) * linear(d, d)
    fusion = linear(6 * d, 3 * d) + linear(3 * d, 1)
    assert size(method) - size(method.encoders) == projections + parts + layer(d, 2048) + fusion


def test_mmim():
    """Fusion and predictors; the layers before InfoNCE are ours, and so is one width of all embeddings."""
    d, method = 128, MMIM(MOSI, SCORE, dim=128)
    fusion = linear(3 * d, 128) + linear(128, 128) + linear(128, 1)
    assert size(method) - size(method.encoders, method.align) == fusion + 3 * linear(128, d)


def test_self_mm():
    """Three layers after each embedding and after all of them; all widths alike, which is ours."""
    h, method = 128, SelfMM(MOSI, SCORE)
    after = sum(linear(d, h) + linear(h, h) + linear(h, 1) for d in (3 * h, h, h, h))
    assert size(method) - size(method.encoders) == after


def test_tmc():
    """One linear layer for each view; the hidden layer before it is ours."""
    method = TMC(MOSI, MOOD, dim=240)
    assert size(method.evidence) == 3 * linear(240, 4)


def test_mmin():
    """The script for IEMOCAP: two cascades of five autoencoders 256, 128, 64 on three embeddings of 128."""
    method = MMIN(MOSI, MOOD)
    steps = [384, 256, 128, 64]
    autoencoder = sum(linear(a, b) + linear(b, a) for a, b in pairwise(steps))
    classifier = linear(5 * 64, 128) + linear(128, 128) + linear(128, 4)
    assert size(method) - size(method.encoders) == 2 * (5 * autoencoder + 2 * linear(384, 384)) + classifier


def test_dmd():
    """All but the answers from shared parts, which the code flattens over 50 frames; no bias in the graph, 2 e + 1."""
    d, edge, method = 50, 32, DMD(MOSI, SCORE)
    maps = 3 * d * d + d * d + 3 * 2 * d * d
    together = 3 * (4 * layer(d, 4 * d) + 2 * d)
    crossmodal = 6 * (4 * layer(d, 4 * d) + 2 * d) + 3 * (4 * layer(2 * d, 8 * d) + 4 * d)
    alone = 3 * (2 * linear(2 * d, 2 * d) + linear(2 * d, 1)) + edge + 2 * d * edge + 4 * edge
    common = 2 * linear(3 * d, 3 * d) + linear(3 * d, 1)
    gates = 3 * linear(2 * d, 2 * d) + linear(3 * d, 3 * d)
    fused = 2 * linear(9 * d, 9 * d) + linear(9 * d, 1)
    found = size(method) - size(method.encoders, method.homogeneous, method.align)
    assert found == maps + together + crossmodal + alone + common + gates + fused


def test_lfan():
    """After temporal networks that end at 128, which the code has for video and text."""
    method = LFAN(MOSI, SCORE)
    attention = 3 * linear(128, 96) + linear(96, 96) + 2 * 96
    assert size(method) - size(method.streams) == attention + linear(128 + 96, 1)


def test_mbt():
    """ViT-Base twice, after patches and positions, with the five tokens that the code's bottleneck has in effect."""
    d, features = 768, {"rgb": FeatureSpec(1), "spectrogram": FeatureSpec(1)}
    method = MBT(features, MOOD, dim=d, layers=12, fusion_layer=8, heads=12, bottlenecks=5)
    tokens = 5 * d + 2 * d
    assert size(method) - size(method.encoders) == 2 * 12 * layer(d, 3072) + tokens + 2 * d + linear(d, 4)


def test_auxformer():
    """The later code (audio 1024, action units 50): two transformers of each kind, one scale a scaled layer."""
    d, features = 50, {"audio": FeatureSpec(1024), "vision": FeatureSpec(50)}
    method = AuxFormer(features, MOOD)
    transformer = 5 * layer(d, 4 * d) + 2 * d
    main = 2 * linear(2 * d, 2 * d) + linear(2 * d, 4)
    auxiliary = linear(d, 512) + linear(512, 256) + linear(256, d) + linear(d, 4)
    authors = 1024 * d + 6 * transformer + 2 * 5 + main + auxiliary
    ours = 50 * d  # action units are projected too
    assert size(method) == authors + ours


def vit(d: int, hidden: int) -> int:
    """A layer of the code of ALMT and LNLN at heads of d / heads: three normalisations, no bias of queries."""
    return 6 * d + 3 * d * d + linear(d, d) + 2 * d + linear(d, hidden) + linear(hidden, d)


OURS = 1 - 4  # beside that, in units of d: ours has a bias of queries, and one normalisation of queries and source


def hyper(d: int) -> int:
    return 4 * 2 * d + 5 * d * d + linear(d, d)  # ours has no normalisation of the hyper tokens


def positions(d: int, *, layers: int) -> int:
    """What code and ours learn beside layers, from the first hyper tokens on; its extra token and their positions."""
    return layers * hyper(d) + 8 * d + 8 * d + 2 * 9 * d + d


def fewer(layers: int) -> int:
    """Of `positions` at ours, in units of d: hyper tokens without normalisation, no extra token and its positions."""
    return -2 * layers - 3


def test_almt():
    """Its MOSI config, but heads of 16 everywhere; frames with learned positions there."""
    d, frames = 128, 50 + 500 + 375
    projections = sum(linear(spec.dim, d) for spec in MOSI.values())
    encoders = projections + 3 * vit(d, d) + (frames + 2 * 3 * 8) * d
    authors = encoders + (2 + 2) * vit(d, d) + positions(d, layers=3) + linear(d, 1)
    ours = 7 * OURS - (frames + 3 * 8) + fewer(3)
    assert size(ALMT(MOSI, SCORE)) == authors + ours * d


def test_lnln():
    """Its MOSI config, but heads of 16 everywhere; one output of the judge, no positions where one stack has none."""
    d, frames = 128, 50 + 500 + 375
    projections = sum(linear(spec.dim, d) for spec in MOSI.values())
    encoders = projections + 6 * vit(d, d) + (frames + 2 * 3 * 8) * d
    check = 2 * vit(d, d) + (8 + 2) * d + linear(d, 64) + linear(64, 1)
    proxy = 2 * vit(d, d) + (24 + 2 * 8) * d + 8 * d
    judge = linear(d, 64) + linear(64, 2)
    rebuild = 3 * (2 * vit(d, d) + 8 * d)
    authors = encoders + check + proxy + judge + rebuild + 4 * vit(d, d) + positions(d, layers=3) + linear(d, 1)
    tokens = -(frames + 3 * 8) - 9 - (24 + 8 - 2 * 8) - 3 * 8  # positions of frames, check, proxy, reconstruction
    closing = 2 + 2  # normalisations at the end of check and proxy
    ours = 20 * OURS + tokens + closing - 8 + fewer(3)  # -8: the second set of tokens of the proxy
    assert size(LNLN(MOSI, SCORE)) == authors + ours * d - linear(64, 1)
