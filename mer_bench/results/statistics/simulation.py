"""Worlds in which the truth is known, to see how often each rule is wrong.

`CrossValidation` redraws a whole corpus, trains a real learner in every fold and seed, and returns scores by fold and
seed. `OfficialSplit` redraws a test set of videos and the luck of training. In both all methods have exactly the same
skill unless one is given an `advantage`. Constants are *ours*, chosen so that the spread between seeds and between
corpora resembles what real runs show; none of them was tuned on the rule that is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mer_bench.results.statistics.estimates import Array

Index = NDArray[np.int64]

_BLOCK = 8  # features in each block
_SHARED, _PRIVATE = 0.35, 0.45  # class distance of the block that all methods see, and of each method's own
_TILT, _OFFSET = 0.15, 0.3  # sd per feature: class direction and offset of a speaker, and again of a dialogue
_RIDGE = 10.0


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """A corpus of groups, a ridge classifier, leave-some-out folds.

    Attributes:
        folds: number of folds.
        speakers: speakers in each fold.
        groups: training units (dialogues, or the speakers themselves) in each fold.
        items: mean number of items in a unit; real corpora are uneven, so it varies by a factor of three.
        dialogues: a unit is a dialogue between the speakers of its fold and adds its own effects.
        held_out: folds that each training leaves out for inner validation.
        seeds: trainings of each fold; a seed is a set of Exp(1) weights on the training units.
        methods: how many methods.
        advantage: factor on the class distance of the first method's own block; 1 is the null hypothesis.
    """

    folds: int
    speakers: int
    groups: int
    items: int
    dialogues: bool
    held_out: int
    seeds: int
    methods: int = 2
    advantage: float = 1.0

    @property
    def test_to_train(self) -> float:
        """n_test / n_train for folds of equal size."""
        return 1 / (self.folds - 1 - self.held_out)

    def draw(self, rng: np.random.Generator) -> Array:
        """Accuracy (method, fold, seed) of one newly drawn corpus."""
        features, labels, counted = self._corpus(rng)
        gram, moment = _normal_equations(features, labels)
        weights = rng.standard_exponential((self.folds, self.seeds, len(features))) * self._training()[:, None]
        tested = features.reshape(self.folds, -1, features.shape[-1])
        truth, there = labels.reshape(self.folds, -1), counted.reshape(self.folds, -1)
        correct = np.empty((self.methods, self.folds, self.seeds))
        for method in range(self.methods):
            columns = np.r_[0 : _BLOCK + 1, _BLOCK * (method + 1) + 1 : _BLOCK * (method + 2) + 1]
            lhs = np.tensordot(weights, gram[:, columns[:, None], columns], 1) + _RIDGE * np.eye(len(columns))
            rhs = np.tensordot(weights, moment[:, columns], 1)
            learned = np.linalg.solve(lhs, rhs[..., None])[..., 0]
            scores = tested[..., columns] @ learned.transpose(0, 2, 1)
            right = (scores * truth[..., None] > 0) & there[..., None]
            correct[method] = right.sum(axis=1) / there.sum(axis=1, keepdims=True)
        return correct

    def _training(self) -> Array:
        """Which units each fold trains on (fold, unit): not its own, nor those of the next folds, which validate."""
        units = np.arange(self.folds * self.groups) // self.groups
        away = (units - np.arange(self.folds)[:, None]) % self.folds
        return (away > self.held_out).astype(np.float64)

    def _corpus(self, rng: np.random.Generator) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Features (unit, item, 1 + dim), zero where there is no item; labels ±1; which items exist."""
        units, dim = self.folds * self.groups, _BLOCK * (1 + self.methods)
        counts = rng.integers(max(self.items // 2, 1), self.items * 3 // 2, size=units, endpoint=True)
        longest = int(counts.max())
        counted = np.arange(longest) < counts[:, None]
        labels = rng.choice([-1.0, 1.0], size=(units, longest))
        # each item of a unit belongs to one of the speakers of its fold
        turn = rng.integers(self.speakers, size=(units, longest)) if self.dialogues else np.zeros((units, longest), int)
        if self.dialogues:
            speaker = (np.arange(units) // self.groups)[:, None] * self.speakers + turn
            tilt, offset = _effects(rng, self.folds * self.speakers, dim)
            own_tilt, own_offset = _effects(rng, units, dim)
            tilt, offset = tilt[speaker] + own_tilt[:, None], offset[speaker] + own_offset[:, None]
        else:
            tilt, offset = (effect[:, None] for effect in _effects(rng, units, dim))
        direction = np.repeat([_SHARED, *[_PRIVATE] * self.methods], _BLOCK) / np.sqrt(_BLOCK)
        direction[_BLOCK : 2 * _BLOCK] *= self.advantage
        values = labels[..., None] * (direction + tilt) + offset + rng.standard_normal((units, longest, dim))
        features = np.concatenate([np.ones((units, longest, 1)), values], axis=-1)
        return features * counted[..., None], labels, counted


def _effects(rng: np.random.Generator, groups: int, dim: int) -> tuple[Array, Array]:
    return rng.normal(0, _TILT, (groups, dim)), rng.normal(0, _OFFSET, (groups, dim))


def _normal_equations(features: Array, labels: Array) -> tuple[Array, Array]:
    """XᵀX (unit, dim, dim) and Xᵀy (unit, dim) of each unit."""
    across = features.transpose(0, 2, 1)
    return across @ features, (across @ labels[..., None])[..., 0]


class TestSet(NamedTuple):
    """Additive statistics (method, seed, video, *parts) of one simulated test set.

    Attributes:
        confusion: parts (class, class), truth before prediction; what is not right is taken for the next class.
        moments: parts (7,), `metrics.moments.MOMENTS` of the prediction of a latent rating and of the rating.
    """

    confusion: Array
    moments: Array


@dataclass(frozen=True, kw_only=True)
class OfficialSplit:
    """A test set of videos with segments; an item is right when a latent score is positive.

    Attributes:
        videos: clusters of the test set.
        segments: items of the test set.
        uneven: coefficient of variation of the cluster sizes (MOSEI .93, MOSI .40, counted on their lists).
        seeds: trainings of each method.
        methods: how many methods.
        advantage: added to the latent score of the first method; 0 is the null hypothesis.
    """

    videos: int
    segments: int
    uneven: float
    seeds: int
    methods: int = 2
    advantage: float = 0.0

    _mean = 1.75
    _video, _segment = 0.5, 1.0  # sd of what all methods share
    _method_video, _method_segment = 0.3, 0.5
    _seed, _seed_video, _seed_segment = 0.05, 0.15, 0.5
    _classes = (0.4, 0.3, 0.2, 0.1)

    @property
    def truth(self) -> float:
        """Accuracy, and recall of each class, of a method without advantage."""
        from scipy.special import ndtr

        return float(ndtr(self._mean / np.sqrt(self._video**2 + self._segment**2 + self._private_variance)))

    @property
    def true_ccc(self) -> float:
        """Concordance of the latent score with what all methods share of it, without advantage."""
        shared = self._video**2 + self._segment**2
        return 2 * shared / (2 * shared + self._private_variance)

    @property
    def _private_variance(self) -> float:
        """Of the latent score, beyond what all methods share."""
        parts = self._method_video, self._method_segment, self._seed, self._seed_video, self._seed_segment
        return sum(sd**2 for sd in parts)

    @property
    def true_mae(self) -> float:
        """Mean distance between the latent score and what all methods share of it, without advantage."""
        return float(np.sqrt(2 * self._private_variance / np.pi))

    def draw(self, rng: np.random.Generator) -> TestSet:
        """Statistics of one new test set."""
        video = self._videos(rng)
        shared = self._mean + rng.normal(0, self._video, self.videos)[video] + rng.normal(0, self._segment, len(video))
        own = self._noise(rng, (self.methods, 1), (self._method_video, self._method_segment), video)
        luck = self._noise(rng, (self.methods, self.seeds), (self._seed_video, self._seed_segment), video)
        luck += rng.normal(0, self._seed, (self.methods, self.seeds, 1))
        score = shared + own + luck
        score[0] += self.advantage
        kind = rng.choice(len(self._classes), p=self._classes, size=len(video))
        starts = np.searchsorted(video, np.arange(self.videos))
        return TestSet(self._confusion(score > 0, kind, video), _moments(score, shared, starts))

    def _confusion(self, right: NDArray[np.bool_], kind: Index, video: Index) -> Array:
        """(method, seed, video, class, class) counts."""
        classes = len(self._classes)
        said = np.where(right, kind, (kind + 1) % classes)
        cell = (video * classes + kind) * classes + said
        size = self.videos * classes**2
        counts = [np.bincount(one, minlength=size) for one in cell.reshape(-1, len(kind))]
        return np.reshape(counts, (*right.shape[:2], self.videos, classes, classes)).astype(np.float64)

    def _videos(self, rng: np.random.Generator) -> Index:
        """Sorted video of each segment; every video has at least one."""
        share = rng.standard_gamma(self.uneven**-2, self.videos)
        extra = rng.choice(self.videos, p=share / share.sum(), size=self.segments - self.videos)
        return np.sort(np.r_[np.arange(self.videos), extra])

    def _noise(self, rng: np.random.Generator, lead: tuple[int, int], sds: tuple[float, float], video: Index) -> Array:
        per_video = rng.normal(0, sds[0], (*lead, self.videos))
        return per_video[..., video] + rng.normal(0, sds[1], (*lead, len(video)))


def _moments(score: Array, rating: Array, starts: Index) -> Array:
    """(method, seed, video, 7) sums of the segments that begin at `starts`."""
    y = np.broadcast_to(rating, score.shape)
    parts = (np.ones_like(score), score, y, score**2, y**2, score * y, np.abs(score - y))
    return np.stack([np.add.reduceat(part, starts, axis=2) for part in parts], axis=-1)
