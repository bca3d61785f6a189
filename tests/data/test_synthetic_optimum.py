"""The stated optimum: against closed forms, brute force, and draws."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from mer_bench.data.synthetic import PROFILES, STRUCTURES, Oracle, resolve
from mer_bench.data.synthetic.decisions import decide, value_of
from mer_bench.data.synthetic.explained import Explained, bin_accuracy, mean_absolute_error, sign_accuracy
from mer_bench.data.synthetic.optimum import metrics_of, optima, optimum, reveal_rate
from mer_bench.data.synthetic.twin import Twin
from mer_bench.metrics import score


def channel(prior: np.ndarray, q: float, rate: float) -> np.ndarray:
    """Joint distribution of the symbol (K codes, none) and the class."""
    size = len(prior)
    code = [[rate * prior[k] * (q if c == k else (1 - q) / (size - 1)) for k in range(size)] for c in range(size)]
    return np.array([*code, (1 - rate) * prior])


def priors(seed: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(size, 3.0))


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("rate", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("q", [0.55, 0.9, 1.0])
def test_classes_against_the_closed_forms(size: int, rate: float, q: float):
    prior = priors(size, size)
    mass = channel(prior, q, rate)
    said = {c: [prior[k] * (q if c == k else (1 - q) / (size - 1)) for k in range(size)] for c in range(size)}
    wa = rate * sum(max(row) for row in said.values()) + (1 - rate) * prior.max()
    assert value_of("wa", mass, decide("wa", mass)) == pytest.approx(wa, abs=1e-12)
    ua = rate * q + (1 - rate) / size
    assert value_of("ua", mass, decide("ua", mass)) == pytest.approx(ua, abs=1e-12)


@pytest.mark.parametrize("p", [0.05, 0.3, 0.62])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.7, 1.0])
def test_binary_f1_against_the_three_thresholds(p: float, rate: float):
    q = 0.85
    mass = channel(np.array([1 - p, p]), q, rate)
    hit, given = rate * p * q, rate * (p * q + (1 - p) * (1 - q))
    candidates = [(hit, given), (hit + (1 - rate) * p, given + 1 - rate), (p, 1.0)]
    best = max(2 * tp / (n + p) for tp, n in candidates)
    assert value_of("f1_positive", mass, decide("f1_positive", mass)) == pytest.approx(best, abs=1e-12)
    balanced = rate * q + (1 - rate) / 2
    assert value_of("balanced_accuracy", mass, decide("balanced_accuracy", mass)) == pytest.approx(balanced, abs=1e-12)


@pytest.mark.parametrize("metric", ["f1_macro", "wf1"])
@pytest.mark.parametrize(
    ("size", "q", "rate", "seed"), [(2, 0.9, 0.3, 0), (2, 0.55, 0.6, 1), (3, 0.6, 0.4, 2), (3, 0.9, 0.2, 3)]
)
def test_no_decision_rule_has_a_higher_f1(metric: str, size: int, q: float, rate: float, seed: int):
    mass = channel(priors(seed, size), q, rate)
    best = value_of(metric, mass, decide(metric, mass))
    steps = 30
    mixtures = [np.array(m) / steps for m in product(range(steps + 1), repeat=size) if sum(m) == steps]
    highest = 0.0
    for codes in product(range(size), repeat=size):  # any class for each code, any mixture where nothing is known
        fixed = np.eye(size)[list(codes)]
        highest = max(highest, *(value_of(metric, mass, np.vstack([fixed, m])) for m in mixtures))
    assert best >= highest - 1e-9
    assert best <= highest + 2e-3  # the grid is that fine


def test_random_rules_never_beat_the_f1_of_eight_classes():
    mass = channel(np.array(PROFILES["affwild2"].latents["expr"].prior[0]), 0.8, 0.5)
    rng = np.random.default_rng(0)
    for metric in ("f1_macro", "wf1"):
        best = value_of(metric, mass, decide(metric, mass))
        rule = decide(metric, mass)
        assert np.allclose(rule.sum(axis=1), 1)
        for spread in (0.02, 0.2, 1.0):
            for _ in range(300):
                other = (1 - spread) * rule + spread * rng.dirichlet(np.full(8, 0.3), len(mass))
                assert value_of(metric, mass, other) <= best + 1e-12


def test_area_under_the_curve_against_sklearn():
    rng = np.random.default_rng(1)
    mass = channel(np.array([0.7, 0.3]), 0.8, 0.6)
    cell = rng.choice(mass.size, 200_000, p=mass.ravel())
    symbol, y = np.divmod(cell, 2)
    odds = mass[:, 1] / mass.sum(axis=1)
    assert value_of("auc", mass, decide("wa", mass)) == pytest.approx(roc_auc_score(y, odds[symbol]), abs=4e-3)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_gaussian_scales_against_the_closed_forms(share: float):
    known = Explained(gauss=share, sign=0.0, both=False, rest=1 - share)
    assert mean_absolute_error(known) == pytest.approx(np.sqrt(2 * (1 - share) / np.pi), abs=1e-9)
    assert sign_accuracy(known) == pytest.approx(0.5 + np.arcsin(np.sqrt(share)) / np.pi, abs=1e-4)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize(("gauss", "sign2", "rest"), [(0.3, 0.5, 0.2), (0.0, 0.8, 0.2), (0.4, 0.2, 0.4)])
def test_scales_with_a_product_of_signs_against_draws(both: bool, gauss: float, sign2: float, rest: float):
    n = 400_000
    rng = np.random.default_rng(5)
    seen, product_ = np.sqrt(gauss) * rng.standard_normal(n), np.sqrt(sign2) * rng.choice([-1.0, 1.0], n)
    y = seen + product_ + np.sqrt(rest) * rng.standard_normal(n)
    known = Explained(gauss, np.sqrt(sign2), both, rest)
    mean = seen + both * product_
    errors = [np.abs(y - a * mean - b).mean() for a in (0.8, 1.0, 1.2) for b in (-0.2, 0.0, 0.2)]
    assert mean_absolute_error(known) == pytest.approx(np.abs(y - mean).mean(), abs=4e-3)
    assert min(errors) >= mean_absolute_error(known) - 4e-3
    if known.share:
        assert sign_accuracy(known) == pytest.approx(((mean > 0) == (y > 0)).mean(), abs=4e-3)
    edges = np.array([-2.0, -0.7, 0.7, 2.0])  # the likeliest bin, learned from one half and tried on the other
    grid = np.digitize(mean, np.linspace(-3, 3, 60))
    table = np.zeros((61, 5))
    np.add.at(table, (grid[: n // 2], np.digitize(y[: n // 2], edges)), 1)
    learned = (table.argmax(axis=1)[grid[n // 2 :]] == np.digitize(y[n // 2 :], edges)).mean()
    assert bin_accuracy(known, tuple(edges)) == pytest.approx(learned, abs=6e-3)


HARD = {"reveal": 0.75, "missing": 0.2}
#: items of the large draws where 20,000 are not it
BIG = {"affwild2": 150, "biovid": 17_400}


def blockwise(twin: Twin, spec, said, values, mask, metric: str, blocks: int = 20) -> tuple[float, float]:
    """The score of all items, and its standard error from blocks of items."""
    of_grain = twin.line.grain_item * blocks // len(twin.who.ids)
    task, asked = {"t": spec}, f"t/{metric}"
    scores = [
        score(task, [asked], {"t": said[k]}, {"t": (values[k], mask[k])}, absent_classes=True)[asked]
        for k in (of_grain == b for b in range(blocks))
        if mask[k].any()
    ]
    whole = score(task, [asked], {"t": said}, {"t": (values, mask)}, absent_classes=True)[asked]
    return whole, float(np.std(scores, ddof=1) / np.sqrt(len(scores)))


def compare(corpus: str, structure: str, items: int, **options) -> list[str]:
    """Subsets and metrics whose realised score lies more than 4.5 standard errors from the optimum."""
    settings = resolve(corpus, structure=structure, items=items, **options)
    twin = Twin.of(settings)
    oracle, stated = Oracle(twin), optima(settings)
    off = []
    for name, table in settings.profile.tables.items():
        spec, values, mask = oracle.task(name)
        for subset in settings.subsets():
            for metric in metrics_of(table):
                said = oracle.predict(name, metric, modalities=subset)
                whole, error = blockwise(twin, spec, said, values, mask, metric)
                best = stated[name]["+".join(sorted(subset))][metric]
                if abs(whole - best) > 4.5 * error + 2e-3:
                    off.append(f"{name} {subset} {metric}: {whole:.4f} is not {best:.4f} ± {error:.4f}")
    return off


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_oracle_reaches_the_optimum_on_draws(structure: str):
    assert compare("biovid", structure, 8700, **HARD) == []


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, HARD], ids=["default", "hard"])
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("corpus", PROFILES)
def test_the_oracle_reaches_the_optimum_on_large_draws(corpus: str, structure: str, options: dict):
    assert compare(corpus, structure, BIG.get(corpus, 20_000), **options) == []


def test_reveal_rates_of_the_table():
    """ι(S) as the definition of each structure says, without missing data."""
    weights = {"audio": 0.5, "text": 0.3, "vision": 0.2}
    for structure in STRUCTURES:
        options = {"mixture": (0.4, 0.3, 0.2, 0.1)} if structure == "mixed" else {}
        settings = resolve("iemocap", structure=structure, weights=weights, missing=0, **options)
        for subset in settings.subsets():
            both = float({"audio", "vision"} <= set(subset))
            owned = sum(weights[m] for m in subset)
            expected = {
                "redundant": 1.0,
                "unique": owned,
                "synergy": both,
                "synergy_lookup": both,
                "mixed": 0.4 + 0.3 * owned + 0.2 * both,
            }[structure]
            assert reveal_rate(settings, subset) == pytest.approx(expected)


def test_missing_modalities_lower_the_rate_as_counted_by_hand():
    """Two modalities, each missing in 30 %, never both: 0.49, 0.21, 0.21 of 0.91."""
    settings = resolve("affwild2", structure="synergy", missing=0.3, invalid=0.1)
    assert reveal_rate(settings, ("audio", "vision")) == pytest.approx(0.49 / 0.91 * 0.81)
    settings = resolve("affwild2", structure="redundant", missing=0.3, invalid=0.1)
    assert reveal_rate(settings, ("audio",)) == pytest.approx(0.7 / 0.91 * 0.9)
    assert reveal_rate(settings, ("audio", "vision")) == pytest.approx((0.49 * 0.99 + 2 * 0.21 * 0.9) / 0.91)


def test_a_table_with_some_classes_of_a_hidden_thing():
    """BL1 against PA4: the three codes in between say nothing, so half of their items are right."""
    settings = resolve("biovid", structure="redundant", missing=0, reveal=0.8)
    table = settings.profile.tables["pain_binary"]
    assert optimum(settings, table, "wa", ("bio",)) == pytest.approx(0.8 + 3 * 0.05 / 2)


def test_macro_f1_of_nothing_known_is_a_mixture():
    """Without information macro F1 is highest when classes are given as often as they occur."""
    prior = np.array([0.6, 0.3, 0.1])
    mass = channel(prior, 0.9, 0.0)
    best = value_of("f1_macro", mass, decide("f1_macro", mass))
    rng = np.random.default_rng(2)
    y, said = rng.choice(3, 300_000, p=prior), rng.choice(3, 300_000, p=decide("f1_macro", mass)[-1])
    assert best == pytest.approx(f1_score(y, said, average="macro"), abs=3e-3)
    assert best >= f1_score(y, rng.choice(3, 300_000, p=prior), average="macro") - 3e-3
