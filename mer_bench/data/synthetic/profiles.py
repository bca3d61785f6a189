"""What the twin of each corpus looks like: modalities, labels, sizes. Names are those that the converters write.

Counts and class frequencies of IEMOCAP, BioVid, MOSI and MOSEI follow the corpora; dimensions and frame rates are small
on purpose (ours), so that a file is quick to make and to train on.
"""

from __future__ import annotations

from mer_bench.data.synthetic.blueprint import Classes, ModalityProfile, Profile, Scales, Table


def _shares(*counts: float) -> tuple[tuple[float, ...]]:
    return (tuple(c / sum(counts) for c in counts),)


def _binary(*prevalence: float) -> tuple[tuple[float, ...], ...]:
    return tuple((1 - p, p) for p in prevalence)


_EMOTION6 = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
_STATISTICS = ("mean", "median", "max", "min", "std", "sum", "var")
_CHANNELS = ("gsr", "ecg", "emg_trapezius", "emg_corrugator", "emg_zygomaticus")

IEMOCAP = Profile(
    modalities={
        "audio": ModalityProfile(48, rate_hz=6.0, missing=0.01),
        "text": ModalityProfile(64, rate_hz=2.7, missing=0.01, words=True),
        "vision": ModalityProfile(48, rate_hz=4.0, missing=0.04, invalid=0.05),
    },
    latents={
        "emotion4": Classes(_shares(1103, 1636, 1708, 1084)),
        "emotion6": Classes(_shares(595, 1084, 1708, 1103, 1041, 1849)),
        "vad": Scales(3),
    },
    tables={
        "emo4": Table(
            "emotion4",
            "multiclass",
            ("angry", "happy", "neutral", "sad"),
            annotated=(0.0, 5531 / 10039),
            native_missing="xxx",
            definition="four classes, independent of the six",
        ),
        "emo6": Table(
            "emotion6",
            "multiclass",
            _EMOTION6,
            annotated=(0.0, 7380 / 10039),
            native_missing="xxx",
            definition="six classes, independent of the four",
        ),
        "emo6_erc": Table(
            "emotion6",
            "multiclass",
            _EMOTION6,
            annotated=(0.0, 7433 / 10039),
            native_missing="xxx",
            definition="the six classes of emo6 on a few more turns",
        ),
        "vad": Table(
            "vad",
            "regression",
            ("valence", "arousal", "dominance"),
            range=(-1.0, 1.0),
            definition="three independent scales in [-1, 1]",
        ),
    },
    pair=("audio", "vision"),
    items=(4000, 10039),
    seconds=(4.5, 0.6, 20.0),
    parts=("session", "speaker"),
)

_CLIPS = {
    "text": ModalityProfile(48, rate_hz=2.6, words=True),
    "audio": ModalityProfile(40, rate_hz=5.0, missing=0.01),
    "vision": ModalityProfile(32, rate_hz=3.0, missing=0.02, invalid=0.06),
}
_SENTIMENT = Table("sentiment", "regression", ("sentiment",), range=(-3.0, 3.0), definition="continuous in [-3, 3]")

MOSEI = Profile(
    modalities=_CLIPS,
    latents={"sentiment": Scales(1), "emotions6": Classes(_binary(0.54, 0.26, 0.22, 0.1, 0.18, 0.08))},
    tables={
        "sentiment": _SENTIMENT,
        "emotions6": Table(
            "emotions6",
            "multilabel",
            ("happy", "sad", "anger", "surprise", "disgust", "fear"),
            definition="six independent labels, present or not",
        ),
    },
    pair=("text", "audio"),
    items=(4000, 22856),
    seconds=(7.3, 0.8, 30.0),
)

MOSI = Profile(
    modalities=_CLIPS,
    latents={"sentiment": Scales(1), "polarity": Classes(_shares(1, 1))},
    tables={
        "sentiment": _SENTIMENT,
        "polarity": Table(
            "polarity", "multiclass", ("negative", "nonnegative"), definition="two classes, independent of sentiment"
        ),
    },
    pair=("text", "audio"),
    items=(2199, 2199),
    seconds=(4.2, 0.8, 30.0),
)

AFFWILD2 = Profile(
    modalities={
        "audio": ModalityProfile(64, rate_hz=30.0, missing=0.02, invalid=0.02),
        "vision": ModalityProfile(88, rate_hz=30.0, invalid=0.05),
    },
    latents={
        "va": Scales(2),
        "expr": Classes(_shares(0.30, 0.05, 0.05, 0.05, 0.20, 0.12, 0.08, 0.15)),
        "au": Classes(_binary(0.12, 0.06, 0.15, 0.26, 0.35, 0.33, 0.24, 0.04, 0.04, 0.04, 0.62, 0.09)),
    },
    tables={
        "va": Table(
            "va",
            "regression",
            ("valence", "arousal"),
            annotated=(0.0, 0.6),
            unusable=0.02,
            range=(-1.0, 1.0),
            native_missing="-5",
            definition="two independent scales per frame",
        ),
        "expr": Table(
            "expr",
            "multiclass",
            ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other"),
            annotated=(0.55, 1.0),
            unusable=0.08,
            native_missing="-1",
            definition="eight classes, constant inside independent segments",
        ),
        "au": Table(
            "au",
            "multilabel",
            tuple(f"AU{n}" for n in (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)),
            annotated=(0.4, 0.9),
            unusable=0.03,
            native_missing="-1",
            definition="twelve independent labels, constant inside independent segments",
        ),
    },
    pair=("audio", "vision"),
    items=(120, 594),
    seconds=(15.0, 7.0, 23.0),
    level="frame",
    clock_hz=30.0,
)

BIOVID = Profile(
    modalities={
        "bio": ModalityProfile(
            35,
            kind="utterance",
            missing=0.01,
            names=tuple(f"{s}_{c}" for c in _CHANNELS for s in _STATISTICS),
            dead=tuple(range(21, 35)),
        ),
        "vision": ModalityProfile(32, rate_hz=4.0, missing=0.02, invalid=0.05),
        "eda": ModalityProfile(1, rate_hz=512.0, kind="signal", optional=True, unit="uS"),
        "ecg": ModalityProfile(1, rate_hz=512.0, kind="signal", optional=True, unit="uV"),
        "emg": ModalityProfile(1, rate_hz=512.0, kind="signal", optional=True, unit="uV"),
    },
    latents={"pain": Classes(_shares(1, 1, 1, 1, 1), by_design=True)},
    tables={
        "pain5": Table(
            "pain", "multiclass", ("BL1", "PA1", "PA2", "PA3", "PA4"), definition="no pain and four levels of heat"
        ),
        "pain_binary": Table(
            "pain", "multiclass", ("BL1", "PA4"), keep=(0, 4), definition="pain5, all but BL1 and PA4 masked"
        ),
    },
    pair=("bio", "vision"),
    items=(3480, 8700),
    seconds=(5.5, 5.5, 5.5),
    parts=("speaker",),
)

PROFILES: dict[str, Profile] = {
    "iemocap": IEMOCAP,
    "mosei": MOSEI,
    "mosi": MOSI,
    "affwild2": AFFWILD2,
    "biovid": BIOVID,
}
