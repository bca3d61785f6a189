"""The oracle, drawn again from a file."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from mer_bench.data.synthetic import PROFILES, Oracle, generate, oracle_predictions, resolve
from mer_bench.data.synthetic.optimum import metrics_of
from mer_bench.data.synthetic.twin import Twin
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, write
from mer_bench.metrics import score
from mer_bench.types import TaskSpec
from tests.data.synthetic_draws import small


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins")
    made = {}
    for corpus in ("iemocap", "mosei", "affwild2", "biovid"):
        made[corpus] = folder / f"{corpus}.h5"
        settings = small(corpus, "mixed")
        write(made[corpus], generate(corpus, structure="mixed", items=settings.items))
    return made


def realised(file: FeatureFile, task: str, metric: str, rows: np.ndarray, **options) -> float:
    """The oracle's score on some items, through the scorer."""
    info = file.labels[task]
    values, mask = file.label(task)
    if info.offsets is not None:
        rows_of = [np.arange(info.offsets[i], info.offsets[i + 1]) for i in rows]
        grains = np.concatenate(rows_of)
    else:
        grains = rows
    spec = TaskSpec(info.kind, tuple(info.names), info.level, range=info.range)
    said = oracle_predictions(file, task, metric, rows=rows, **options)
    target = {"t": (values[grains], mask[grains])}
    return score({"t": spec}, [f"t/{metric}"], {"t": said}, target, absent_classes=True)[f"t/{metric}"]


@pytest.mark.parametrize("corpus", ["iemocap", "mosei", "affwild2", "biovid"])
def test_the_stated_scores_are_those_of_the_predictions_drawn_again(files, corpus: str):
    file = FeatureFile(files[corpus])
    stated = file.truth["oracle"]
    settings = PROFILES[corpus]
    for task, table in settings.tables.items():
        for metric in metrics_of(table):
            for subset, scores in list(stated[task].items())[:2] + list(stated[task].items())[-1:]:
                again = realised(file, task, metric, np.arange(file.n), modalities=subset.split("+"))
                assert again == pytest.approx(scores[metric]["all"], abs=1e-6)


def test_parts_are_scored_by_themselves(files):
    file = FeatureFile(files["iemocap"])
    stated = file.truth["oracle"]["emo4"]["audio+vision"]["wa"]
    assert {f"session/Ses0{k}" for k in range(1, 6)} < set(stated)
    for session in ("Ses02", "Ses05"):
        rows = np.flatnonzero(file.group("session") == session)
        again = realised(file, "emo4", "wa", rows, modalities=["vision", "audio"])
        assert again == pytest.approx(stated[f"session/{session}"], abs=1e-6)
    file = FeatureFile(files["affwild2"])
    rows = np.flatnonzero(file.split_table("abaw")[0] == 3)
    again = realised(file, "va", "mae", rows)
    assert again == pytest.approx(file.truth["oracle"]["va"]["audio+vision"]["mae"]["abaw/test"], abs=1e-6)


def test_a_modality_taken_away_is_as_good_as_not_looked_at(files):
    file = FeatureFile(files["iemocap"])
    nobody = np.zeros(file.n, bool)
    for task, metric in (("emo4", "ua"), ("vad", "mae")):
        without = oracle_predictions(file, task, metric, available={"text": nobody, "vision": nobody})
        assert np.allclose(without, oracle_predictions(file, task, metric, modalities=["audio"]))


def test_rows_come_in_the_order_asked_for(files):
    for corpus, task in (("iemocap", "emo4"), ("affwild2", "va")):
        file = FeatureFile(files[corpus])
        offsets = file.labels[task].offsets
        offsets = np.arange(file.n + 1) if offsets is None else offsets
        everything = oracle_predictions(file, task)
        some = oracle_predictions(file, task, rows=[7, 2, 3])
        expected = np.concatenate([everything[offsets[i] : offsets[i + 1]] for i in (7, 2, 3)])
        assert np.array_equal(some, expected)
        assert len(oracle_predictions(file, task, rows=[])) == 0


def test_probabilities_are_calibrated():
    """Without a metric the outputs are log-probabilities: of the items that get p, a share p is of the class."""
    oracle = Oracle(Twin.of(resolve("iemocap", items=40_000, reveal=0.8)))
    _, values, mask = oracle.task("emo6_erc")
    chance = np.exp(oracle.predict("emo6_erc", modalities=["audio", "text"]))
    assert chance.sum(axis=1) == pytest.approx(np.ones(len(chance)))
    for p in np.unique(np.round(chance, 6)):
        here = np.isclose(chance, p, atol=1e-5) & mask[:, None]
        hit = (np.arange(6) == values[:, None])[here].mean()
        assert hit == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / here.sum()) + 1e-3)


def test_the_truth_alone_is_enough(files):
    file = FeatureFile(files["mosei"])
    assert np.array_equal(
        oracle_predictions(file.truth, "emotions6", "wa"), oracle_predictions(file, "emotions6", "wa")
    )
    assert np.array_equal(oracle_predictions(str(file.path), "sentiment"), oracle_predictions(file, "sentiment"))


def test_no_prediction_is_stored(files):
    """The stated truth holds a number for a metric, subset and part, and nothing as long as the corpus."""

    def longest(node) -> int:
        if isinstance(node, dict):
            return max([len(node), *map(longest, node.values())])
        return len(node) if isinstance(node, list) else 0

    for path in files.values():
        file = FeatureFile(path)
        assert longest(file.truth) < 120 < file.n or file.corpus == "affwild2"


def test_foreign_and_changed_files_are_refused(files, tmp_path):
    contents = generate("iemocap", items=100, structure="redundant")
    real = tmp_path / "real.h5"
    write(real, dataclasses.replace(contents, truth=None, synthetic=False))
    with pytest.raises(UserError, match="only synthetic files have an oracle"):
        oracle_predictions(real, "emo4")
    table = contents.labels["emo4"]
    turned = dataclasses.replace(table, values=np.roll(table.values, 1), mask=table.mask)
    write(tmp_path / "turned.h5", dataclasses.replace(contents, labels={**contents.labels, "emo4": turned}))
    with pytest.raises(UserError, match="labels are not those"):
        oracle_predictions(tmp_path / "turned.h5", "emo4")
    with pytest.raises(UserError, match="version 0"):
        oracle_predictions({**contents.truth, "version": 0}, "emo4")
    for damage in ({"corpus": "nowhere"}, {"items": "many"}, {"extra": 1}):
        with pytest.raises(UserError, match="parameters are damaged"):
            oracle_predictions({**contents.truth, "parameters": {**contents.truth["parameters"], **damage}}, "emo4")
    for bad, message in (("emo5", "did you mean .*emo4"), ("vision", "no labels")):
        with pytest.raises(UserError, match=message):
            oracle_predictions(contents.truth, bad)
    with pytest.raises(UserError, match="no optimum of 'ccc'"):
        oracle_predictions(contents.truth, "emo4", "ccc")
    with pytest.raises(UserError, match="no modality 'face'"):
        oracle_predictions(contents.truth, "emo4", modalities=["face"])


def test_draws_of_version_1():
    """Files name the version of the generator: whoever changes these draws must raise it."""
    twin = Twin.of(resolve("iemocap", items=500, seed=7, structure="synergy_lookup"))
    code = twin.hidden["emotion4"]
    parts = [code.y, code.w, code.c, code.keys, code.table, twin.line.present, twin.labels["emo4"].mask]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(p, dtype="<i8").tobytes() for p in parts)).hexdigest()
    assert digest[:16] == "0459a651caa50893"
