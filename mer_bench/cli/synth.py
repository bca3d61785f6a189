"""`mer-bench data synth CORPUS --out FILE`: a synthetic twin of a corpus, with a known optimum. No torch here."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, FeatureFile, write


def main(argv: list[str]) -> int:
    """Make and write a synthetic corpus.

    Returns:
        0.

    Raises:
        UserError: an option that does not fit, or a file in the way that is not synthetic.
    """
    from mer_bench.data.synthetic import generate

    options = vars(_parser().parse_args(argv))
    out, force = options.pop("out"), options.pop("force")
    if not force:
        _refuse_to_overwrite(out)
    contents = generate(options.pop("corpus"), **{name: value for name, value in options.items() if value is not None})
    digest = write(out, contents)
    print(_summary(out, contents, digest))
    return 0


def _parser() -> argparse.ArgumentParser:
    from mer_bench.data.synthetic import PROFILES, STRUCTURES

    parser = argparse.ArgumentParser(
        prog="mer-bench data synth",
        description="Write a synthetic twin of a corpus: its shapes, groups and label sets, label information placed by"
        " choice, and the optimum of each metric from each subset of the modalities stated in the file.",
    )
    add = parser.add_argument
    add("corpus", help=f"one of {', '.join(PROFILES)}")
    add("--out", type=Path, required=True, metavar="FILE", help="the feature file to write")
    add("--structure", default="mixed", help=f"{', '.join(STRUCTURES)} (default: mixed)")
    add("--seed", type=int, default=0, help="of everything that is drawn (default: 0)")
    add("--items", type=_items, metavar="N", help="how many items; `full` for the size of the corpus")
    add("--reveal", type=float, metavar="q", help="chance that the code names the true class; explained variance (0.9)")
    add("--mixture", type=_numbers, metavar="R,U,S,0", help="shares of redundant, unique, synergy, none in `mixed`")
    add("--weights", type=_by_name, metavar="M=SHARE,...", help="who owns unique information")
    add("--pair", type=_names, metavar="A,B", help="the two modalities that hold the synergy")
    add("--missing", type=_rates, metavar="RATE|M=RATE,...", help="share of items that lack a modality")
    add("--invalid", type=_rates, metavar="RATE|M=RATE,...", help="share of frames that are invalid")
    add("--dims", type=_whole_by_name, metavar="M=D,...", help="features per frame")
    add("--seconds", type=float, help="mean duration of an item")
    add("--signal", type=float, help="size of a code; the noise of a frame has standard deviation 1 (4)")
    add("--offset", type=float, help="standard deviation of speaker, session and item offsets (0.25)")
    add("--signals", action="store_true", help="biovid: eda, ecg and emg at 512 Hz as well")
    add("--force", action="store_true", help="replace whatever stands at FILE")
    return parser


def _items(text: str) -> int | str:
    return "full" if text == "full" else int(text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _pairs(text: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in text.split(",")]
    if any(not name or not mark for name, mark, _ in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form modality=number,...")
    return [(name.strip(), value) for name, _, value in parts]


def _by_name(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in _pairs(text)}


def _whole_by_name(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in _pairs(text)}


def _rates(text: str) -> float | dict[str, float]:
    return _by_name(text) if "=" in text else float(text)


def _refuse_to_overwrite(path: Path) -> None:
    """An existing synthetic file may be made again; anything else may be a lab's own features."""
    if not path.exists():
        return
    try:
        synthetic = FeatureFile(path).synthetic
    except UserError:
        synthetic = False
    if not synthetic:
        raise UserError(f"{path}: exists and is not a synthetic feature file; choose another name, or add --force")


def _summary(path: Path, contents: Contents, digest: str) -> str:
    truth: Any = contents.truth
    everything = "+".join(sorted(contents.modalities))
    pair = "+".join(sorted(truth["parameters"]["pair"]))
    shown = [*contents.modalities, *dict.fromkeys((pair, everything))]
    shapes = ", ".join(f"{name} {m.values.shape[1]}" for name, m in contents.modalities.items())
    lines = [
        f"{path}: SYNTHETIC {contents.corpus} ({truth['structure']}, seed {truth['seed']}), {len(contents.ids)} items, "
        f"{shapes}, sha256 {digest[:16]}",
        "best possible on average (all subsets of the modalities stand in the file):",
    ]
    for task, subsets in truth["optimum"].items():
        for subset in shown:
            values = "  ".join(f"{name} {value:.3f}" for name, value in subsets[subset].items())
            lines.append(f"  {task:<14}  {subset:<17}  {values}")
    return "\n".join(lines)
