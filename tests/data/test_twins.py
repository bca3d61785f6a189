"""A twin is named as the converter names the corpus, and every protocol of the corpus stands on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mer_bench.data.corpora import corpora
from mer_bench.data.splits import make_split
from mer_bench.data.synthetic import generate
from mer_bench.merh5 import Contents, FeatureFile, write
from mer_bench.prepare import Report, Request
from mer_bench.prepare.affwild2 import OfficialAnnotations
from mer_bench.prepare.biovid.pack import ResearchPack
from tests.prepare.fake_affwild2 import write_annotations, write_frames, write_sound
from tests.prepare.fake_biovid import SUBJECTS, write_pack


@pytest.fixture(scope="module", params=["affwild2", "biovid"])
def twin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FeatureFile:
    path = tmp_path_factory.mktemp("twins") / f"{request.param}.h5"
    settings = {"affwild2": {"items": 40, "seconds": 4.0}, "biovid": {"items": 870}}[request.param]
    write(path, generate(request.param, **settings))
    return FeatureFile(path)


def converted(corpus: str, root: Path) -> Contents:
    """What the converter makes of fake files."""
    if corpus == "biovid":
        write_pack(root)
        return ResearchPack(subjects=len(SUBJECTS), each=2).read(Request(root), Report(corpus, ""))
    write_annotations(root)
    features = {"vision": write_frames(root / "v", "npz"), "audio": write_sound(root / "a")}
    return OfficialAnnotations().read(Request(root, features=features, rate={"audio": "100"}), Report(corpus, ""))


def test_names_are_those_of_the_converter(twin: FeatureFile, tmp_path: Path) -> None:
    real = converted(twin.corpus, tmp_path)
    assert set(real.modalities) == set(twin.modalities)
    assert {n: (t.kind, t.level, t.names, t.range, t.native_missing) for n, t in real.labels.items()} == {
        n: (t.kind, t.level, t.names, t.range, t.native_missing) for n, t in twin.labels.items()
    }
    assert set(real.splits) == set(twin.splits)
    assert set(real.attrs) <= set(twin.columns)
    assert {key for key in ("session", "dialogue") if getattr(real, key)} == {
        key for key in ("session", "dialogue") if key in twin.columns
    }
    for name, modality in real.modalities.items():
        if twin.modalities[name].names:
            assert set(modality.names or ()) <= set(twin.modalities[name].names or ())


def test_every_protocol_stands(twin: FeatureFile) -> None:
    for protocol in corpora()[twin.corpus].protocols:
        for fold in (0, protocol.folds - 1):
            split = make_split(protocol, twin, fold)
            assert split.train.size and split.val.size and split.test.size
