"""Every protocol finds what it needs in the twin of its corpus."""

from __future__ import annotations

import pytest

from mer_bench.data.corpora import find_protocol, protocols
from mer_bench.data.splits import make_split, targets
from mer_bench.data.synthetic import PROFILES, generate
from mer_bench.merh5 import FeatureFile, write

#: where 300 are too many to make or too few for every class
ITEMS = {"affwild2": 60, "biovid": 435}


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins")
    for corpus in PROFILES:
        write(folder / f"{corpus}.h5", generate(corpus, items=ITEMS.get(corpus, 300), seconds=1.0))
    return {corpus: FeatureFile(folder / f"{corpus}.h5") for corpus in PROFILES}


def test_every_corpus_with_a_protocol_has_a_twin():
    assert {protocol.corpus for protocol in protocols().values()} <= set(PROFILES)


@pytest.mark.parametrize("name", sorted(protocols()))
def test_protocols_run_on_twins(twins, name: str):
    protocol = find_protocol(name)
    file = twins[protocol.corpus]
    for task, spec in protocol.tasks.items():
        _, mask = targets(file, task, spec)
        assert mask.any()
        assert file.labels[spec.labels or task].level == spec.level
    for fold in {0, protocol.folds - 1}:
        split = make_split(protocol, file, fold)
        assert len(split.train) > len(split.test) > 0
