"""Who is in a twin: ids, speakers, sessions, dialogues, durations, official splits. Nobody in it exists.

Ids say that they are invented: they start with ``syn``, and the subjects of the BioVid twin were recorded in month 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mer_bench.data.synthetic.settings import Settings
from mer_bench.errors import UserError
from mer_bench.merh5 import SplitTable

_TURNS = (1819, 1811, 2136, 2103, 2170)  # turns of the five sessions of IEMOCAP
_SCENES = (
    *(f"impro{k:02d}" for k in range(1, 8)),
    *("script01_1", "script01_2", "script01_3", "script02_1", "script02_2", "script03_1", "script03_2"),
)
_PARTS = {  # items and videos of the official train, validation and test part
    "mosei": ((16326, 1871, 4659), (2249, 300, 678)),
    "mosi": ((1284, 229, 686), (52, 10, 31)),
}
_TWO_PARTS = {"mosi": ("bclstm",)}  # splits of a paper without a validation part: the official train and validation
_SUBJECTS = 87
_HOLDOUT = 26
_NOT_REACTIVE = 20  # subjects without a visible reaction
_TWO_PEOPLE = 0.08  # ours: share of videos with a left and a right track
_OFFICIAL_TEST = 0.2  # ours: share of videos in the official validation part, which is the test part here


@dataclass(frozen=True)
class People:
    """The items of a twin, without any feature.

    Attributes:
        ids: unique names.
        seconds: (items,) duration.
        speaker: by item, or None; likewise session and dialogue.
        order: (items,) position inside the dialogue.
        start_s: (items,) start inside the recording.
        attrs: further columns.
        splits: by scheme.
        design: classes that are fixed by design, (items, 1), by name of the hidden thing.
    """

    ids: list[str]
    seconds: NDArray[np.float64]
    order: NDArray[np.int64]
    start_s: NDArray[np.float64]
    speaker: list[str] | None = None
    session: list[str] | None = None
    dialogue: list[str] | None = None
    attrs: dict[str, list[str] | NDArray[np.float64]] = field(default_factory=dict)
    splits: dict[str, SplitTable] = field(default_factory=dict)
    design: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def groups(self, key: str) -> NDArray[np.str_] | None:
        """The group of each item, or None where the corpus has no such groups."""
        return {k: np.array(v) for k, v in self._named().items()}.get(key)

    def _named(self) -> dict[str, list[str]]:
        named = {"speaker": self.speaker, "session": self.session, "dialogue": self.dialogue}
        return {key: names for key, names in named.items() if names is not None}


def people(settings: Settings) -> People:
    """The people, recordings and splits of a twin.

    Raises:
        UserError: too few items for the groups of the corpus.
    """
    return _BUILDERS[settings.corpus](settings)


def apportion(total: int, shares: Sequence[float]) -> NDArray[np.int64]:
    """Whole numbers that sum to the total, as near to the shares as can be (largest remainders)."""
    exact = total * np.asarray(shares, dtype=np.float64) / np.sum(shares)
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts


def _durations(settings: Settings, n: int) -> NDArray[np.float64]:
    """Skewed durations with about the wanted mean (log-normal, σ = 0.5, ours), cut at the profile's ends."""
    mean, low, high = settings.profile.seconds
    drawn = np.exp(0.5 * settings.stream("seconds").standard_normal(n) - 0.125)
    return np.clip(drawn * mean, low, high) * (settings.seconds / mean)


def _starts(seconds: NDArray[np.float64], recording: Sequence[str], pause: float = 0.5) -> NDArray[np.float64]:
    """Start of each item inside its recording, one after the other with a pause."""
    _, group = np.unique(recording, return_inverse=True)
    start = np.zeros(len(seconds))
    for k in range(group.max() + 1):
        rows = np.flatnonzero(group == k)
        start[rows[1:]] = np.cumsum(seconds[rows[:-1]] + pause)
    return np.round(start, 3)


def _at_least(settings: Settings, least: int, why: str) -> None:
    if settings.items < least:
        raise UserError(f"items: the twin of {settings.corpus} needs at least {least} ({why}), got {settings.items}")


def _iemocap(settings: Settings) -> People:
    """Five sessions of two actors; each scene twice, with the markers on either of them."""
    _at_least(settings, 50, "ten in each session")
    names = [f"{marked}_{scene}" for marked in "FM" for scene in _SCENES]
    rng = settings.stream("speakers")
    rows = []
    for session, turns in enumerate(apportion(settings.items, _TURNS), start=1):
        scenes = [names[k * len(names) // min(len(names), turns // 5)] for k in range(min(len(names), turns // 5))]
        for scene, count in zip(scenes, apportion(int(turns), [1] * len(scenes)), strict=True):
            marked, _, title = scene.partition("_")
            dialogue = f"syn-Ses{session:02d}{marked}_{title}"
            counter = {"F": 0, "M": 0}
            for position in range(count):
                letter = "FM"[int(rng.random() < 0.5)]
                rows.append((f"{dialogue}_{letter}{counter[letter]:03d}", session, letter, dialogue, position, title))
                counter[letter] += 1
    recording = [r[3] for r in rows]
    session_of = np.array([r[1] for r in rows])
    speaker = [f"Ses{r[1]:02d}{r[2]}" for r in rows]
    seconds = _durations(settings, len(rows))
    return People(
        ids=[r[0] for r in rows],
        seconds=seconds,
        order=np.array([r[4] for r in rows]),
        start_s=_starts(seconds, recording),
        speaker=speaker,
        session=[f"Ses{r[1]:02d}" for r in rows],
        dialogue=recording,
        attrs={
            "gender": ["female" if r[2] == "F" else "male" for r in rows],
            "style": ["impro" if r[5].startswith("impro") else "script" for r in rows],
        },
        splits={
            "erc": SplitTable(np.where(session_of == 5, 3, 1).astype(np.uint8)[None], ("session",), "sessions 1-4, 5"),
            "speaker10": SplitTable(_speaker10(session_of, speaker), ("speaker",), "one of ten speakers tests"),
        },
    )


def _speaker10(session: NDArray[np.int64], speaker: list[str]) -> NDArray[np.uint8]:
    """Ten folds: four sessions train; in the other one a speaker validates and the other tests."""
    folds = []
    for s in range(1, 6):
        for test, val in (("F", "M"), ("M", "F")):
            part = np.ones(len(session), dtype=np.uint8)
            part[[k for k, name in enumerate(speaker) if name == f"Ses{s:02d}{val}"]] = 2
            part[[k for k, name in enumerate(speaker) if name == f"Ses{s:02d}{test}"]] = 3
            folds.append(part)
    return np.stack(folds)


def _clips(settings: Settings) -> People:
    """Clips of videos, each video in one official part."""
    items, videos = _PARTS[settings.corpus]
    scale = settings.items / sum(items)
    _at_least(settings, 30, "ten for each part")
    rng = settings.stream("videos")
    video: list[str] = []
    part: list[int] = []
    for p, (clips, films) in enumerate(zip(apportion(settings.items, items), videos, strict=True), start=1):
        films = int(np.clip(round(films * scale), 2, clips // 2))
        counts = 1 + rng.multinomial(clips - films, np.full(films, 1 / films))
        first = len(set(video))
        for k, count in enumerate(counts):
            video += [f"syn{first + k:05d}"] * int(count)
            part += [p] * int(count)
    order = _positions(video)
    seconds = _durations(settings, len(video))
    parts = np.array(part, dtype=np.uint8)[None]
    splits = {"sdk": SplitTable(parts, ("dialogue",), "sizes of the official folds")}
    for scheme in _TWO_PARTS.get(settings.corpus, ()):
        splits[scheme] = SplitTable(np.where(parts == 3, 3, 1).astype(np.uint8), ("dialogue",), "62 videos against 31")
    return People(
        ids=[f"{v}_{k}" for v, k in zip(video, order, strict=True)],
        seconds=seconds,
        order=order,
        start_s=_starts(seconds, video, pause=0.0),
        dialogue=video,
        splits=splits,
    )


def _positions(recording: Sequence[str]) -> NDArray[np.int64]:
    """0, 1, 2, ... inside each run of equal names."""
    seen: dict[str, int] = {}
    order = []
    for name in recording:
        order.append(seen.get(name, 0))
        seen[name] = order[-1] + 1
    return np.array(order, dtype=np.int64)


def _tracks(settings: Settings) -> People:
    """Tracks of one person each; some videos have a left and a right one."""
    _at_least(settings, 12, "a few videos for each part")
    rng = settings.stream("videos")
    ids: list[str] = []
    video: list[str] = []
    while len(ids) < settings.items:
        name = f"syn{len(set(video)) + 1:04d}"
        two = rng.random() < _TWO_PEOPLE and len(ids) + 2 <= settings.items
        ids += [f"{name}_left", f"{name}_right"] if two else [name]
        video += [name] * (2 if two else 1)
    films = sorted(set(video))
    test = set(rng.permutation(films)[: max(3, round(_OFFICIAL_TEST * len(films)))].tolist())
    part = np.array([3 if v in test else 1 for v in video], dtype=np.uint8)
    note = "the official validation part is the test part, as test labels are private"
    return People(
        ids=ids,
        seconds=_durations(settings, len(ids)),
        order=_positions(video),
        start_s=np.zeros(len(ids)),
        speaker=list(ids),
        dialogue=video,
        splits={
            name: SplitTable(part[None], ("dialogue",), "train and validation by video", note)
            for name in ("abaw", "abaw_va", "abaw_expr", "abaw_au")
        },
    )


def _subjects(settings: Settings) -> People:
    """Subjects with equally many samples of each class, in random order."""
    names = settings.profile.tables["pain5"].names
    least = _SUBJECTS * len(names)
    _at_least(settings, least, f"one of each class for {_SUBJECTS} subjects")
    each = settings.items // least
    rng = settings.stream("subjects")
    ids, speaker, sex, age, label = [], [], [], [], []
    for k in range(_SUBJECTS):
        is_woman, years = k % 2, int(rng.integers(20, 66))
        name = f"00{k % 29 + 1:02d}{k // 29 + 1:02d}_{'mw'[is_woman]}_{years}"
        classes = rng.permutation(np.repeat(np.arange(len(names)), each))
        ids += [f"{name}-{names[c]}-{trial:03d}" for trial, c in enumerate(classes, start=1)]
        speaker += [name] * len(classes)
        sex += ["mw"[is_woman]] * len(classes)
        age += [float(years)] * len(classes)
        label.append(classes)
    held = set(rng.permutation(sorted(set(speaker)))[:_HOLDOUT].tolist())
    still = set(rng.permutation(sorted(set(speaker)))[:_NOT_REACTIVE].tolist())
    holdout = np.array([3 if s in held else 1 for s in speaker], dtype=np.uint8)
    n = len(ids)
    return People(
        ids=ids,
        seconds=np.full(n, settings.seconds),
        order=_positions(speaker),
        start_s=np.full(n, np.nan),
        speaker=speaker,
        attrs={
            "sex": sex,
            "age": np.array(age),
            "reactive": ["no" if name in still else "yes" for name in speaker],
        },
        splits={"holdout": SplitTable(holdout[None], ("speaker",), "61 train, 26 test, as many as proposed")},
        design={"pain": np.concatenate(label)[:, None]},
    )


_BUILDERS: dict[str, Callable[[Settings], People]] = {
    "iemocap": _iemocap,
    "mosei": _clips,
    "mosi": _clips,
    "affwild2": _tracks,
    "biovid": _subjects,
}
