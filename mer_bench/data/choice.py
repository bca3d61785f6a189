"""Which modalities of a feature file a run may use. numpy only; nothing asked for is silently removed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mer_bench.data.splits import Rows, Split
from mer_bench.errors import UserError, did_you_mean
from mer_bench.merh5 import FeatureFile
from mer_bench.protocol import Protocol

#: a modality asked for must be present in this share of the training items (science.md 1)
MIN_PRESENT = 0.05


def choose_modalities(
    file: FeatureFile, protocol: Protocol, fold: int, split: Split, asked: Sequence[str] | None
) -> tuple[str, ...]:
    """The modalities to use.

    Args:
        file: the features.
        protocol: what is compared.
        fold: its test fold, for messages.
        split: the rows of the fold.
        asked: names; none means all but alternative forms, whose names hold an underscore (`text_sentence`).

    Raises:
        UserError: an unknown name, one named twice, one whose extractor was trained on items that are held out here,
            or one that is hardly ever present; with a line that works.
    """
    known = file.modalities
    chosen = list(asked) if asked else [m for m in known if "_" not in m]
    for m in chosen:
        if m not in known:
            raise UserError(
                f"--data.modalities: {file.path} has no modality {m!r}; {did_you_mean(m, known)} "
                f"(it has {', '.join(known)})"
            )
    if len(set(chosen)) < len(chosen):
        raise UserError(f"--data.modalities names one modality twice: {', '.join(chosen)}")
    refused = _rare(file, protocol, fold, split) | _seen(file, protocol, split)
    bad = [m for m in chosen if m in refused]
    if bad:
        good = [m for m in chosen if m not in refused] or [m for m in known if m not in refused and "_" not in m]
        raise UserError(f"{file.path}: {refused[bad[0]]}; use --data.modalities '[{', '.join(good)}]'")
    return tuple(chosen)


def _seen(file: FeatureFile, protocol: Protocol, split: Split) -> dict[str, str]:
    """Modalities whose extractor was trained on items that this protocol selects or scores on, and what to say."""
    told = {}
    for m, info in file.modalities.items():
        for part, rows in {"validation": split.val, "test": split.test}.items():
            count = _trained_on(file, info.fitted_on, rows)
            if count:
                told[m] = (
                    f"the extractor of modality {m!r} was trained on {count} of the {len(rows)} {part} items of "
                    f"{protocol.name} (training part of split {info.fitted_on!r}), so its scores there are memory"
                )
    return told


def _trained_on(file: FeatureFile, scheme: str, rows: Rows) -> int:
    """How many of the items are in the training part of a split; 0 without a split."""
    return int((file.split_table(scheme)[0][rows] == 1).sum()) if scheme else 0


def _rare(file: FeatureFile, protocol: Protocol, fold: int, split: Split) -> dict[str, str]:
    """Modalities that are hardly ever present in the training part, and what to say."""
    n = len(split.train)
    present = {m: int(np.count_nonzero(info.present[split.train])) for m, info in file.modalities.items()}
    return {
        m: f"modality {m!r} is present in {count} of {n} training items of {protocol.name} fold {fold}, at least "
        f"{MIN_PRESENT:.0%} are needed"
        for m, count in present.items()
        if count < max(1, MIN_PRESENT * n)
    }
