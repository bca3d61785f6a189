"""A whole synthetic corpus, ready to be written."""

from __future__ import annotations

from typing import Any

import numpy as np

from mer_bench.data.synthetic.emission import Emission
from mer_bench.data.synthetic.oracle import Oracle
from mer_bench.data.synthetic.settings import resolve
from mer_bench.data.synthetic.timeline import rows_of, word_times
from mer_bench.data.synthetic.truth import truth
from mer_bench.data.synthetic.twin import Twin
from mer_bench.merh5 import Contents, Modality

_NOTE = (
    "Invented by mer-bench: no recording, no person. Scores say what a method can represent, not how it does on people."
)


def generate(corpus: str, **options: Any) -> Contents:
    """Make a synthetic corpus with a known optimum.

    Args:
        corpus: slug, one of `PROFILES`.
        **options: structure, seed, items, reveal and others; see `settings.resolve`.

    Returns:
        What `mer_bench.merh5.write` takes. The same options give the same content hash.

    Raises:
        UserError: an unknown name, or a number outside its range.
    """
    settings = resolve(corpus, **options)
    twin = Twin.of(settings)
    who = twin.who
    return Contents(
        corpus=corpus,
        ids=who.ids,
        modalities={m: modality(twin, m) for m in settings.modalities},
        labels=twin.labels,
        speaker=who.speaker,
        session=who.session,
        dialogue=who.dialogue,
        order=who.order,
        start_s=who.start_s,
        end_s=np.round(who.start_s + who.seconds, 3),
        attrs=who.attrs,
        splits=who.splits,
        synthetic=True,
        corpus_version=f"synthetic {settings.structure}",
        licence="CC0-1.0",
        redistributable=True,
        notes=_NOTE,
        truth=truth(Oracle(twin)),
    )


def modality(twin: Twin, name: str) -> Modality:
    """One modality of a twin."""
    settings = twin.settings
    profile = settings.profile.modalities[name]
    rows = rows_of(settings, twin.who, twin.line, name)
    emission = Emission(settings, twin.who, twin.hidden, name)
    return Modality(
        values=emission.features(rows),
        lengths=rows.lengths * emission.samples,
        kind=profile.kind,
        rate_hz=0.0 if profile.words or profile.kind == "utterance" else profile.rate_hz,
        valid=rows.valid if not rows.valid.all() else None,
        times=word_times(settings.stream("times", name), rows, twin.who.seconds) if profile.words else None,
        names=list(profile.names) or None,
        extractor="synthetic",
        extractor_version=settings.structure,
        unit=profile.unit,
        aligned_to="word" if profile.words else "video-frame" if settings.profile.level == "frame" else "",
        note=_NOTE,
    )
