"""Synthetic twins of the corpora: the same shapes, label sets and groups, with a known optimum. No torch here.

    contents = generate("iemocap", structure="synergy", seed=1)
    write("features/iemocap.h5", contents)
    oracle_predictions("features/iemocap.h5", "emo4", "ua", modalities=["audio"], rows=test_rows)

Each corpus has one or more hidden things (four classes, six classes, a scale), independent of each other; each has its
own block of code dimensions in every modality. A label table shows one of them, as a whole or some of its classes. How
they are shown: `latents`; how features are made of them: `emission`; what can be reached: `decisions`, `explained`.
`docs/synthetic.md` tells the whole of it.
"""

from mer_bench.data.synthetic.contents import generate
from mer_bench.data.synthetic.oracle import Oracle, oracle_predictions
from mer_bench.data.synthetic.profiles import PROFILES
from mer_bench.data.synthetic.settings import STRUCTURES, Settings, resolve

__all__ = ["PROFILES", "STRUCTURES", "Oracle", "Settings", "generate", "oracle_predictions", "resolve"]
