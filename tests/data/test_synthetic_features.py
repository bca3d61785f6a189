"""What the features show, and that they show nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mer_bench.data.synthetic import PROFILES, STRUCTURES, generate, resolve
from mer_bench.data.synthetic.contents import modality
from mer_bench.data.synthetic.emission import Emission, block_size, templates
from mer_bench.data.synthetic.latents import Continuous, ar1, gains, sign_chain
from mer_bench.data.synthetic.timeline import rows_of
from mer_bench.data.synthetic.twin import Twin
from mer_bench.errors import UserError
from mer_bench.merh5 import check, write
from tests.data.synthetic_draws import pooled, small, subspace

CORPORA = ("iemocap", "mosei", "affwild2", "biovid")


def read_symbols(codes: np.ndarray, size: int) -> np.ndarray:
    """(rows, labels) which one-hot stands there, -1 for none; fails when it is neither a one-hot nor zero."""
    blocks = codes.reshape(len(codes), -1, size)
    hard = np.round(blocks)
    assert np.abs(blocks - hard).max(initial=0) < 5e-3
    assert set(np.unique(hard.sum(axis=2))) <= {0.0, 1.0}
    return np.where(hard.sum(axis=2) == 1, hard.argmax(axis=2), -1)


class Decoder:
    """Reads w out of features that were turned back, by the definition of the structures, for one hidden thing."""

    def __init__(self, twin: Twin, latent: str) -> None:
        self.twin, self.settings = twin, twin.settings
        profile = self.settings.profile.latents[latent]
        self.labels, self.size = profile.labels, profile.size
        self.latent = latent
        self.seen = {m: self._read(m) for m in self.settings.modalities}

    def _read(self, m: str) -> tuple[np.ndarray, np.ndarray]:
        """Code dimensions of the hidden thing in the valid rows, and their units."""
        codes, _, rows = subspace(self.twin, m)
        start = 0
        for name in self.settings.profile.latents:
            stop = start + block_size(self.settings, name, m)
            if name == self.latent:
                return codes[rows.valid, start:stop], rows.unit[rows.valid]
            start = stop
        raise AssertionError(self.latent)

    def decode(self, subset: tuple[str, ...], units: int) -> np.ndarray:
        """(units, labels) w, -1 where it cannot be told."""
        width = self.labels * self.size
        found = np.full((units, self.labels), -1)
        regime = np.full(units, -1)
        symbols = {}
        for m in subset:
            codes, unit = self.seen[m]
            if not codes.shape[1]:
                continue
            lookup = self.settings.lookup and m == self.settings.pair[1]
            if lookup:
                symbols[m] = (
                    read_symbols(codes[:, :width], self.size),
                    read_symbols(codes[:, width:], self.size),
                    unit,
                )
                continue
            symbols[m] = np.full((units, self.labels), -2)  # -2: not there
            symbols[m][unit] = read_symbols(codes[:, :width], self.size)
            assert np.array_equal(symbols[m][unit], read_symbols(codes[:, :width], self.size))  # constant in the unit
            if self.settings.mixed:
                regime[unit] = read_symbols(codes[:, width:], 4)[:, 0]
        a, b = self.settings.pair
        if self.settings.lookup:
            if a in symbols and b in symbols:
                keys, values, unit = symbols[b]
                here = (keys == symbols[a][unit]) & (symbols[a][unit] >= 0)
                row, label = np.nonzero(here)
                found[unit[row], label] = values[row, label]
            return found
        pure = {"redundant": 0, "unique": 1, "synergy": 2}.get(self.settings.structure)
        regime = regime if pure is None else np.full(units, pure)
        for m in symbols:
            direct = np.isin(regime, (0, 1))[:, None] & (symbols[m] >= 0)
            found = np.where(direct, symbols[m], found)
        if a in symbols and b in symbols:
            both = (regime == 2)[:, None] & (symbols[a] >= 0) & (symbols[b] >= 0)
            found = np.where(both, (symbols[a] + symbols[b]) % self.size, found)
        return found


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(("corpus", "latent"), [("iemocap", "emotion6"), ("mosei", "emotions6"), ("affwild2", "expr")])
def test_codes_are_read_off_without_loss_wherever_the_oracle_knows_them(corpus: str, latent: str, structure: str):
    twin = Twin.of(small(corpus, structure, missing=0.2, invalid=0.1))
    code, decoder = twin.hidden[latent], Decoder(twin, latent)
    for subset in twin.settings.subsets():
        known = code.revealed(twin.settings, twin.line.available & np.isin(twin.settings.modalities, subset))
        read = decoder.decode(subset, len(known))
        assert np.array_equal(read[known], code.w[known])
        assert (read[~known] == -1).all()
        assert known.any() or structure.startswith("synergy")


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("corpus", ["mosi", "affwild2"])
def test_scales_are_read_off_without_loss(corpus: str, structure: str):
    """With nothing missing and all variance explained, what the modalities show adds up to the truth."""
    mixture = {"mixture": (0.5, 0.3, 0.2, 0.0)} if structure == "mixed" else {}
    twin = Twin.of(small(corpus, structure, reveal=1.0, missing=0, invalid=0, **mixture))
    latent = {"mosi": "sentiment", "affwild2": "va"}[corpus]
    settings, hidden, share = twin.settings, twin.hidden[latent], gains(twin.settings)
    assert next(iter(settings.profile.latents)) == latent  # its block comes first
    width, blocks = hidden.y.shape[1], {}
    total = np.zeros(hidden.y.shape)
    for k, m in enumerate(settings.modalities):
        codes, _, rows = subspace(twin, m)
        _, first = np.unique(rows.grain, return_index=True)
        start = 0
        if share.redundant:
            total += np.sqrt(share.redundant) * codes[first, :width] / len(settings.modalities)
            start += width
        if share.unique[k]:
            total += np.sqrt(share.unique[k]) * codes[first, start : start + width]
            start += width
        blocks[m] = codes[:, start : block_size(settings, latent, m)], rows.grain, rows.unit
    if share.synergy:
        total += np.sqrt(share.synergy) * sign_of(settings, blocks, hidden.y.shape)
    assert np.allclose(total, hidden.y, atol=5e-3)


def sign_of(settings, blocks, shape) -> np.ndarray:
    """(grains, dims) the product of signs, read from the blocks of a and b."""
    (first, grain, unit), (second, grain_b, unit_b) = (blocks[m] for m in settings.pair)
    a = np.zeros(shape, int)
    a[grain] = read_symbols(first, 2)
    if not settings.lookup:
        b = np.zeros(shape, int)
        b[grain_b] = read_symbols(second, 2)
        return np.where(a == b, 1.0, -1.0)
    half = second.shape[1] // 2
    keys, values = read_symbols(second[:, :half], 2), read_symbols(second[:, half:], 2)
    wanted = np.zeros((unit.max() + 1, shape[1]), int)
    wanted[unit] = a[grain]
    row, dim = np.nonzero(keys == wanted[unit_b])
    found = np.full(wanted.shape, -1)
    found[unit_b[row], dim] = values[row, dim]
    assert (found >= 0).all()
    product = np.zeros(shape)
    product[grain] = np.where(found == 0, 1.0, -1.0)[unit]
    return product


@pytest.mark.parametrize("structure", ["redundant", "mixed", "synergy_lookup"])
@pytest.mark.parametrize("corpus", CORPORA)
def test_noise_and_offsets_stay_in_the_complement(corpus: str, structure: str):
    """Offsets of any size leave the codes as they are, and what is left of a code knows nothing of it."""
    plain, loud = (Twin.of(small(corpus, structure, offset=size)) for size in (0.0, 30.0))
    for m in plain.settings.modalities:
        codes, noise, rows = subspace(plain, m)
        shifted, offsets, _ = subspace(loud, m)
        assert np.allclose(codes[rows.valid], shifted[rows.valid], atol=5e-3)
        assert offsets[rows.valid].std() > 10 * noise[rows.valid].std()
        assert noise[rows.valid].std() == pytest.approx(1.0, abs=0.03)
        correlation = np.corrcoef(codes[rows.valid].T, noise[rows.valid].T) if codes.shape[1] else np.zeros((1, 1))
        cross = np.nan_to_num(correlation[: codes.shape[1], codes.shape[1] :])
        assert np.abs(cross).max(initial=0) < 6 / np.sqrt(rows.valid.sum())


def test_people_share_offsets():
    """Speaker offsets: items of one speaker lie nearer to each other in the complement than to other people's."""
    twin = Twin.of(small("biovid", "redundant", offset=1.0))
    _, noise, rows = subspace(twin, "bio")
    who = np.array(twin.who.speaker)[rows.item]
    means = np.stack([noise[who == name].mean(axis=0) for name in np.unique(who)])
    inside = np.mean([noise[who == name].var(axis=0, ddof=1).mean() for name in np.unique(who)])
    assert means.var(axis=0, ddof=1).mean() > inside / 5 + 0.5  # variance of a mean of five, and of the offset


def probe(contents, table: str, modalities: tuple[str, ...], model) -> float:
    """UA on a random third of the labelled items, from pooled features."""
    labels = contents.labels[table]
    features = np.hstack([pooled(contents.modalities[m]) for m in modalities])[labels.mask]
    y = labels.values[labels.mask]
    cut = 2 * len(y) // 3
    order = np.random.default_rng(0).permutation(len(y))
    model = make_pipeline(StandardScaler(), model).fit(features[order[:cut]], y[order[:cut]])
    return float(balanced_accuracy_score(y[order[cut:]], model.predict(features[order[cut:]])))


def linear() -> LogisticRegression:
    return LogisticRegression(C=0.1, max_iter=200)


@pytest.fixture(scope="module")
def made():
    """One biovid twin per structure: two modalities, five balanced classes, nothing missing."""
    return {s: generate("biovid", structure=s, missing=0, invalid=0, items=3480) for s in STRUCTURES}


CHANCE_ERROR = 4 * np.sqrt(0.2 * 0.8 / 1160)  # four standard errors of UA at chance


@pytest.mark.parametrize("structure", STRUCTURES)
def test_what_a_linear_probe_finds(made, structure: str):
    contents = made[structure]
    best = contents.truth["optimum"]["pain5"]
    found = {m: probe(contents, "pain5", (m,), linear()) for m in ("bio", "vision")}
    found["bio+vision"] = probe(contents, "pain5", ("bio", "vision"), linear())
    for subset, value in found.items():
        assert value <= best[subset]["ua"] + CHANCE_ERROR
    if structure in ("redundant", "unique"):
        assert all(value >= best[subset]["ua"] - 0.06 for subset, value in found.items())
    if structure.startswith("synergy"):
        assert all(abs(value - 0.2) < CHANCE_ERROR for value in found.values())
    if structure == "mixed":
        assert found["bio+vision"] > found["bio"] > 0.4


def test_a_network_finds_synergy_but_a_pooled_one_no_look_up(made):
    network = MLPClassifier((64,), alpha=1.0, max_iter=60, random_state=0, tol=0)
    with pytest.warns(match="Maximum iterations"):
        found = {s: probe(made[s], "pain5", ("bio", "vision"), network) for s in ("synergy", "synergy_lookup")}
    assert found["synergy"] >= 0.9 * made["synergy"].truth["optimum"]["pain5"]["bio+vision"]["ua"]
    assert abs(found["synergy_lookup"] - 0.2) < CHANCE_ERROR


@pytest.mark.parametrize("corpus", CORPORA)
def test_what_is_missing_is_independent_of_the_labels(corpus: str):
    items = {"iemocap": 6000, "mosei": 6000, "affwild2": 300, "biovid": 6960}[corpus]
    twin = Twin.of(resolve(corpus, items=items, missing=0.3, invalid=0.2, seed=3))
    settings = twin.settings
    latent = {"iemocap": "emotion4", "mosei": "emotions6", "affwild2": "expr", "biovid": "pain"}[corpus]
    y = twin.hidden[latent].y[:, 0]
    shares = []
    for m in settings.modalities:
        rows = rows_of(settings, twin.who, twin.line, m)
        units = len(y)
        valid = np.bincount(rows.unit, weights=rows.valid, minlength=units) / np.maximum(
            np.bincount(rows.unit, minlength=units), 1
        )
        shares += [twin.line.available[:, settings.modalities.index(m)], valid, np.bincount(rows.unit, minlength=units)]
        assert twin.line.present.any(axis=1).all()
    for share in shares:
        means = np.array([share[y == k].mean() for k in np.unique(y)])
        errors = np.array([share[y == k].std() / np.sqrt((y == k).sum()) for k in np.unique(y)])
        assert (np.abs(means - share.mean()) <= 4.5 * errors + 1e-12).all()


def test_rates_are_what_was_asked_for():
    twin = Twin.of(resolve("mosei", items=20_000, missing={"audio": 0.2, "text": 0, "vision": 0.1}, invalid=0.15))
    assert 1 - twin.line.present.mean(axis=0) == pytest.approx([0.0, 0.2, 0.1], abs=0.01)
    rows = rows_of(twin.settings, twin.who, twin.line, "audio")
    assert 1 - rows.valid.mean() == pytest.approx(0.15, abs=0.02)
    assert (np.bincount(rows.item, weights=rows.valid)[np.unique(rows.item)] >= 1).all()
    quiet = Twin.of(resolve("mosei", items=500, missing=0, invalid=0))
    assert quiet.line.present.all()
    assert rows_of(quiet.settings, quiet.who, quiet.line, "vision").valid.all()


def test_continuous_components_are_stationary_chains():
    size = np.full(4000, 40)
    chain = ar1(np.random.default_rng(0), size, 1)[:, 0].reshape(4000, 40)
    assert chain.var(axis=0) == pytest.approx(np.ones(40), abs=0.12)
    assert np.mean(chain[:, 1:] * chain[:, :-1]) == pytest.approx(0.95, abs=0.02)
    assert np.mean(chain[1:, 0] * chain[:-1, -1]) == pytest.approx(0.0, abs=0.07)
    signs = sign_chain(np.random.default_rng(1), size, 1, 0.05)[:, 0].reshape(4000, 40)
    assert signs.mean(axis=0) == pytest.approx(np.full(40, 0.5), abs=0.04)
    assert (signs[:, 1:] != signs[:, :-1]).mean() == pytest.approx(0.05, abs=0.005)


def test_frame_level_classes_are_constant_inside_segments_and_invalid_frames_cover_them():
    twin = Twin.of(small("affwild2", "mixed", invalid=0.2))
    rows = rows_of(twin.settings, twin.who, twin.line, "vision")
    for unit in np.unique(rows.unit)[:200]:
        assert len(set(rows.valid[rows.unit == unit])) == 1
    assert (twin.line.unit_size >= 20).all()
    assert isinstance(twin.hidden["va"], Continuous)
    table = twin.labels["expr"]
    assert np.array_equal(table.lengths, twin.line.grains_of_item)
    assert len(table.values) == twin.line.unit_size.sum()


def test_raw_signals_carry_the_codes_in_slow_cosines(tmp_path):
    settings = small("biovid", "redundant", missing=0.1, signals=True, seconds=1.0)
    twin = Twin.of(settings)
    made = modality(twin, "ecg")
    present = twin.line.present[:, settings.modalities.index("ecg")]
    assert np.array_equal(made.lengths, 512 * present)
    assert made.values.shape == (512 * present.sum(), 1)
    emission = Emission(settings, twin.who, twin.hidden, "ecg")
    cosines = templates(len(emission.live), 512)
    assert np.allclose(cosines @ cosines.T / 512, np.eye(len(cosines)), atol=1e-9)
    back = made.values.reshape(-1, 512) @ cosines.T / 512 @ emission.rotation.T
    codes = back[:, : emission.size] / settings.signal
    assert np.array_equal(read_symbols(codes, 5)[:, 0], twin.hidden["pain"].w[present, 0])
    path = tmp_path / "signals.h5"
    write(path, generate("biovid", items=435, signals=True, seconds=0.5))
    assert check(path) == []


@pytest.mark.parametrize("structure", ["synergy_lookup", "mixed"])
@pytest.mark.parametrize("corpus", PROFILES)
def test_files_pass_the_validator(corpus: str, structure: str, tmp_path):
    path = tmp_path / "twin.h5"
    settings = small(corpus, structure)
    contents = generate(corpus, structure=structure, items=settings.items)
    write(path, contents)
    assert check(path) == []
    assert contents.synthetic
    assert len(contents.ids) == settings.items


def test_the_same_settings_give_the_same_file(tmp_path):
    def digest(**changed) -> str:
        return write(
            tmp_path / "x.h5", generate("iemocap", **{"items": 200, "seed": 1, "structure": "mixed", **changed})
        )

    first = digest()
    assert digest() == first
    others = [digest(seed=2), digest(structure="synergy"), digest(items=101), digest(reveal=0.8), digest(signal=3.0)]
    assert len({first, *others}) == 6


def test_look_ups_have_room_for_every_segment():
    twin = Twin.of(small("iemocap", "synergy_lookup", seconds=0.6))
    lengths = rows_of(twin.settings, twin.who, twin.line, "vision").lengths
    assert lengths[lengths > 0].min() >= 6


def test_dead_columns_are_zero_and_named():
    bio = generate("biovid", items=435).modalities["bio"]
    assert not bio.values[:, 21:].any()
    assert bio.values[:, :21].std(axis=0).min() > 0.5
    assert bio.names[21] == "mean_emg_corrugator"


def test_biovid_is_balanced_and_invented():
    contents = generate("biovid", items=870)
    speaker = np.array(contents.speaker)
    assert len(set(speaker)) == 87
    for name in set(speaker):
        assert np.bincount(contents.labels["pain5"].values[speaker == name]).tolist() == [2] * 5
        assert name.startswith("00")  # month 0: nobody was recorded then
    binary = contents.labels["pain_binary"]
    assert binary.mask.mean() == pytest.approx(0.4)
    assert set(np.array(contents.ids)[binary.mask & (binary.values == 1)]) == {i for i in contents.ids if "-PA4-" in i}


BAD = [
    ({"structure": "synergie"}, "did you mean synergy"),
    ({"reveal": 0.5}, r"\(0.5, 1\]"),
    ({"items": 3}, "at least 50"),
    ({"items": "many"}, "whole number"),
    ({"pair": ("audio", "audio")}, "two different"),
    ({"pair": ("audio", "visio")}, "did you mean vision"),
    ({"missing": 0.95}, "missing of audio"),
    ({"invalid": {"vision": 0.7}}, "invalid of vision"),
    ({"dims": {"vision": 20}}, "needs at least"),
    ({"mixture": (0.5, 0.5, 0.5, 0.0)}, "sum to 1"),
    ({"mixture": (0.4, 0.3, 0.2, 0.1), "structure": "unique"}, "belongs to the structure mixed"),
    ({"weights": {"audio": 0.0}}, "above 0"),
    ({"signals": True}, "no raw signals"),
    ({"seed": -1}, "seed"),
    ({"seed": 1.5}, "whole number"),
    ({"dims": {"vision": 60.5}}, "whole number"),
    ({"signal": 0}, "signal"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=[str(k) for k in range(len(BAD))])
def test_bad_settings_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message):
        generate("iemocap", **{"items": 60, **options})


def test_more_bad_settings_are_refused():
    with pytest.raises(UserError, match="must be a sequence"):
        generate("biovid", structure="synergy_lookup", pair=("vision", "bio"))
    with pytest.raises(UserError, match="named columns"):
        generate("biovid", dims={"bio": 40})
    with pytest.raises(UserError, match="did you mean mosi or mosei"):
        generate("mosie")
    with pytest.raises(UserError, match="no frames"):
        generate("biovid", invalid={"bio": 0.1})
