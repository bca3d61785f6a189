"""From feature files to batches. This module imports no torch.

`mer_bench.data.write(path, Contents(...))` is the door for a corpus of your own: fill the dataclasses of
`mer_bench.merh5` from wherever your features are, and write one feature file.

    from mer_bench import data, merh5

    contents = merh5.Contents(
        corpus="mine",
        ids=["a", "b"],
        speaker=["s1", "s2"],
        modalities={"audio": merh5.Modality(values=frames, lengths=[120, 87], rate_hz=50.0, extractor="wavlm-base")},
        labels={"emotion": merh5.Labels("multiclass", ("angry", "sad"), values=classes, mask=labelled)},
    )
    data.write("features/mine.h5", contents)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mer_bench.merh5 import write

__all__ = ["write"]


def __getattr__(name: str) -> Any:
    if name == "write":
        from mer_bench.merh5 import write

        return write
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
