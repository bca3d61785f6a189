"""What conversions take: items in, kept, rows masked, what was dropped, time, peak memory, for every layout at hand.

    python benchmarks/prepare.py            # invented trees, and the real files where they are at hand
    python benchmarks/prepare.py --large    # also an IEMOCAP release of full size with a gigabyte of features

Each conversion runs as the command runs it: in a process of its own, which tells its time and memory. The invented
trees are too small to say anything of speed; their rows show that every layout converts, and what it counts.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mer_bench.cli.prepare import named, parser
from mer_bench.merh5 import FeatureFile
from mer_bench.prepare import Request
from mer_bench.prepare.child import prepare_apart
from mer_bench.prepare.report import Report
from tests.prepare import fake_cmu, fake_iemocap, fake_pack, fake_trees
from tests.realdata import REALDATA

#: what a layout calls the items that it found
FOUND = ("clips found", "turns", "samples", "tracks")


class Case(NamedTuple):
    """One conversion: corpus, where its files come from, and the words of the command."""

    corpus: str
    origin: str
    argv: list[str]


def invented(root: Path) -> list[Case]:
    """Official trees of all corpora, and the community files of MOSEI and IEMOCAP."""
    cases = [Case(corpus, "invented", make(root / corpus)) for corpus, make in fake_trees.TREES.items()]
    for dialect in ("MMSA", "MulT", "MultiBench"):
        path = fake_cmu.make_pickle(root / dialect / "data.pkl", dialect, aligned=False).path
        cases.append(Case("mosei", "invented", ["--from", str(path)]))
    labels = fake_cmu.make_labels(root / "merbench" / "label.npz")
    fake_cmu.make_index(root / "gcnet" / "index.pkl", labels)
    fake_cmu.make_folder(root / "wavlm", list(labels))
    for place in ("merbench", "gcnet"):
        argv = ["--from", str(root / place), "--features", f"audio={root / 'wavlm'}"]
        cases.append(Case("mosei", "invented", argv))
    release = root / "iemocap" / "IEMOCAP_full_release"
    cases.append(Case("iemocap", "invented", ["--from", str(root / "iemocap" / "papers"), "--labels", str(release)]))
    return cases


def real() -> list[Case]:
    """The research files that CONTRIBUTING.md names; none where they are not at hand."""
    iemocap, vision = REALDATA / "iemocap", f"vision={REALDATA / 'iemocap' / 'openface_au_129' / 'au'}"
    mosi = REALDATA / "cmu_mosi"
    places = {
        "iemocap": [
            [iemocap],
            [iemocap / "merbench_labels_text", "--features", vision],
            [iemocap / "gcnet_dialogue_index" / "IEMOCAP_features_raw_6way.pkl", "--features", vision],
        ],
        "biovid": [[REALDATA / "biovid" / "partA_bio_video_8700"]],
        "mosi": [[mosi], [mosi / "bclstm_utterance", "--labels", mosi / "merbench_labels" / "label.npz"]],
    }
    return [
        Case(corpus, "real", ["--from", *map(str, argv)])
        for corpus, lists in places.items()
        for argv in lists
        if Path(argv[0]).exists()
    ]


def large(root: Path) -> Case:
    """A release of 10,040 turns with 100 frames of 256 features for each, a gigabyte."""
    made = fake_iemocap.make_tree(root / "release", fake_pack.invent(root, turns=1004))
    frames = np.random.default_rng(0).normal(size=(100, 256)).astype(np.float32)
    (root / "features").mkdir()
    for turn in made.ids:
        np.save(root / "features" / f"{turn}.npy", frames)
    argv = ["--from", str(root / "release"), "--features", f"audio={root / 'features'}"]
    return Case("iemocap", "invented, full size", argv)


def row(case: Case, out: Path) -> str:
    """Convert, and say what came of it as a row of the table."""
    options = parser().parse_args([case.corpus, *case.argv])
    features, rate = named(options.features), dict(options.rate)
    request = Request(options.source, options.text, options.labels, features, options.align, rate)
    report = prepare_apart(case.corpus, request, out)
    file = FeatureFile(out)
    kept, masked = file.n, sum(rows_masked(file, name) for name in file.modalities)
    rows = sum(int(info.offsets[-1]) for info in file.modalities.values())
    labels = "; ".join(f"{name} {int(file.label(name)[1].sum()):,}" for name in file.labels)
    dropped = "; ".join(f"{what}: {tally.count:,}" for what, tally in report.dropped.items()) or "-"
    return (
        f"| {case.corpus} | {report.recognised}, {case.origin} | {found(report, kept):,} | {kept:,} | "
        f"{masked:,} of {rows:,} | {labels} | {dropped} | {report.seconds:.1f} | {report.peak_mb:,.0f} |"
    )


def found(report: Report, kept: int) -> int:
    """Items that the layout counted before it left any out."""
    return max([report.counted[word] for word in FOUND if word in report.counted] or [kept])


def rows_masked(file: FeatureFile, name: str) -> int:
    rows = int(file.modalities[name].offsets[-1])
    return int((~file.valid(name, 0, rows)).sum())


def main() -> None:
    options = argparse.ArgumentParser(description="what conversions take")
    options.add_argument("--large", action="store_true", help="also a release of full size")
    given = options.parse_args()
    print("| corpus | layout | items in | kept | rows masked | labels usable | dropped | s | MB |")
    print("| :-- | :-- | --: | --: | --: | :-- | :-- | --: | --: |")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        cases = [*invented(root), *real(), *([large(root / "large")] if given.large else [])]
        for number, case in enumerate(cases):
            print(row(case, root / f"{number}.h5"), flush=True)


if __name__ == "__main__":
    main()
