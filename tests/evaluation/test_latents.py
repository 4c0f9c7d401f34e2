"""Read-outs against scikit-learn and planted latents; image factors against loops."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from mae_lib.data.images import ImageSet
from mae_lib.data.menagerie import LATENTS, draw
from mae_lib.evaluation import readout
from mae_lib.evaluation.features import FeatureBank
from mae_lib.evaluation.latents import (
    COMPOSITES,
    LEVELS,
    Factor,
    image_factors,
    known_latents,
    latent_items,
    latent_records,
)
from mae_lib.evaluation.readout import read_class, read_number, ridge

TRAIN, TEST, WIDTH = 600, 200, 12


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def bank(X, start=0):
    X = np.asarray(X, np.float64)[:, None]
    return FeatureBank(X, np.zeros(len(X), np.int64), np.arange(start, start + len(X)))


def halves(X):
    return bank(X[:TRAIN]), bank(X[TRAIN:], TRAIN)


def table(values, level=3, kind="", rows=slice(None)):
    return {"it": Factor(level, kind, tuple(q[rows] for q in values))}


def items_of(X, *quantities, level=3, kind=""):
    """Items of one factor from features ``[TRAIN + TEST, D]``."""
    known, asked = (table(quantities, level, kind, rows)
                    for rows in (slice(0, TRAIN), slice(TRAIN, None)))
    return latent_items(*halves(X), known, asked)


FEATURES = noise(TRAIN + TEST, WIDTH)
WEIGHTS = noise(WIDTH, 3, seed=1)


# Read-outs


def test_ridge_weights_are_those_of_scikit_learn():
    X, Y = FEATURES - FEATURES.mean(0), FEATURES @ WEIGHTS + noise(TRAIN + TEST, 3, seed=2)
    for penalty, found in zip((1e-3, 0.1, 10.0), ridge(X, Y, (1e-3, 0.1, 10.0)), strict=True):
        expected = Ridge(alpha=penalty * len(X), fit_intercept=False, solver="svd").fit(X, Y)
        np.testing.assert_allclose(found, expected.coef_.T, rtol=1e-8)


def test_the_penalty_is_the_best_on_the_tenth_held_out():
    X = noise(200, 60, seed=3)
    Y = X @ noise(60, 2, seed=4) + 8 * noise(200, 2, seed=5)
    Z, order = noise(50, 60, seed=6), np.random.default_rng(0).permutation(200)
    X = (X - X.mean(0)) / X.std(0)
    rest, tenth, errors = order[20:], order[:20], {}
    for penalty in readout.PENALTIES:
        # Everything is centred by the mean of all, as the read-out does it.
        model = Ridge(alpha=penalty * 180, fit_intercept=False).fit(X[rest], Y[rest] - Y.mean(0))
        errors[penalty] = ((model.predict(X[tenth]) - (Y[tenth] - Y.mean(0))) ** 2).sum()
    best = min(errors, key=errors.get)
    assert min(readout.PENALTIES) < best < max(readout.PENALTIES)
    expected = Ridge(alpha=best * 200, solver="svd").fit(X, Y).predict(Z)
    np.testing.assert_allclose(read_number(X, Y, Z), expected, rtol=1e-6)


def test_scaling_and_shifting_single_features_changes_no_prediction():
    Y = FEATURES @ WEIGHTS + noise(TRAIN + TEST, 3, seed=2)
    scales, shifts = np.geomspace(1e-3, 1e3, WIDTH), 5 * noise(WIDTH, seed=3)
    X, Z = FEATURES[:TRAIN], FEATURES[TRAIN:]
    moved = X * scales + shifts, Z * scales + shifts
    np.testing.assert_allclose(read_number(moved[0], Y[:TRAIN], moved[1]),
                               read_number(X, Y[:TRAIN], Z), rtol=1e-8, atol=1e-9)
    y = (Y[:, 0] > 0).astype(int)[:TRAIN]
    agree = read_class(moved[0], y, moved[1]) == read_class(X, y, Z)
    assert agree.mean() > 0.99


def test_linear_classes_are_read_and_the_names_of_choices_do_not_matter():
    y = (FEATURES @ WEIGHTS).argmax(1)
    found = read_class(FEATURES[:TRAIN], y[:TRAIN], FEATURES[TRAIN:])
    assert (found == y[TRAIN:]).mean() > 0.93
    renamed = read_class(FEATURES[:TRAIN], 10 - 3 * y[:TRAIN], FEATURES[TRAIN:])
    assert (renamed == 10 - 3 * found).mean() > 0.98


def test_features_that_never_change_are_passed_over():
    X = np.hstack([FEATURES, np.full((TRAIN + TEST, 1), 3.0)])
    Y = FEATURES[:, :1]
    found = read_number(X[:TRAIN], Y[:TRAIN], X[TRAIN:])
    np.testing.assert_allclose(found, Y[TRAIN:], atol=1e-4)


# Scores


def test_planted_linear_latents_are_found():
    Y = FEATURES @ WEIGHTS
    found = items_of(FEATURES, Y[:, :1], Y[:, 1:])["it"]
    assert found.shape == (TEST,) and found.mean() == pytest.approx(1, abs=1e-6)


def test_an_affine_map_of_the_features_keeps_what_they_hold():
    Y = FEATURES @ WEIGHTS + noise(TRAIN + TEST, 3, seed=8)
    mixed = FEATURES @ noise(WIDTH, WIDTH, seed=4) + 3 * noise(WIDTH, seed=5)
    found, expected = items_of(mixed, Y)["it"], items_of(FEATURES, Y)["it"]
    assert 0.5 < expected.mean() < 0.99  # a test at the ceiling would see nothing
    assert found.mean() == pytest.approx(expected.mean(), abs=0.005)


def test_independent_latents_score_nothing():
    Y, y = noise(TRAIN + TEST, 2, seed=5), np.random.default_rng(6).integers(3, size=TRAIN + TEST)
    assert items_of(FEATURES, Y)["it"].mean() == pytest.approx(0, abs=0.05)
    assert -0.15 < items_of(FEATURES, y)["it"].mean() < 0.08


def test_a_permuted_latent_scores_nothing_where_the_true_one_does():
    Y = FEATURES @ WEIGHTS[:, :1]
    y, order = (Y[:, 0] > 0).astype(int), np.random.default_rng(7).permutation(TRAIN + TEST)
    assert items_of(FEATURES, Y)["it"].mean() > 0.99 and items_of(FEATURES, y)["it"].mean() > 0.8
    for permuted in (Y[order], y[order]):
        items = items_of(FEATURES, permuted)["it"]
        assert items.mean() < 3 * items.std() / np.sqrt(TEST)


def test_the_mean_of_the_items_is_the_r2_of_scikit_learn():
    Y = FEATURES @ WEIGHTS + 2 * noise(TRAIN + TEST, 3, seed=8)
    Z = Y[TRAIN:]
    predicted = read_number(FEATURES[:TRAIN], Y[:TRAIN], FEATURES[TRAIN:])
    found = items_of(FEATURES, Y)["it"]
    expected = r2_score(Z, predicted, multioutput="variance_weighted")
    assert 0.2 < expected < 0.95 and found.mean() == pytest.approx(expected, abs=1e-10)
    spread = ((Z - Z.mean(0)) ** 2).sum(1).mean()
    np.testing.assert_allclose(1 - found, ((predicted - Z) ** 2).sum(1) / spread)


def test_units_of_a_latent_do_not_matter():
    Y = FEATURES @ WEIGHTS[:, :1] + noise(TRAIN + TEST, 1, seed=8)
    np.testing.assert_allclose(items_of(FEATURES, 1e3 * Y - 7)["it"], items_of(FEATURES, Y)["it"],
                               rtol=1e-6, atol=1e-9)


def test_quantities_of_a_latent_count_alike():
    Y = FEATURES @ WEIGHTS + noise(TRAIN + TEST, 3, seed=8) * np.array([0.3, 1, 4])
    parts = [items_of(FEATURES, Y[:, i:i + 1])["it"] for i in range(3)]
    together = items_of(FEATURES, *(Y[:, i:i + 1] for i in range(3)))["it"]
    np.testing.assert_allclose(together, np.mean(parts, axis=0))


def test_choices_score_above_the_largest_share():
    y = (FEATURES @ WEIGHTS[:, 0] > 2).astype(int)  # the smaller class
    Z, z = FEATURES[TRAIN:], y[TRAIN:]
    share, right = max(z.mean(), 1 - z.mean()), read_class(FEATURES[:TRAIN], y[:TRAIN], Z) == z
    found = items_of(FEATURES, y)["it"]
    assert share > 0.6 and found.mean() == pytest.approx((right.mean() - share) / (1 - share))
    assert len(np.unique(found)) == 2 and found.max() == pytest.approx(1)


def test_rows_where_a_latent_is_not_defined_do_not_count():
    Y = FEATURES @ WEIGHTS[:, :1] + noise(TRAIN + TEST, 1, seed=8)
    there = np.random.default_rng(9).random(TRAIN + TEST) < 0.4
    found = items_of(FEATURES, np.where(there[:, None], Y, np.nan))["it"]
    fit, test = np.flatnonzero(there[:TRAIN]), TRAIN + np.flatnonzero(there[TRAIN:])
    predicted = read_number(FEATURES[fit], Y[fit], FEATURES[test])
    assert found.mean() == pytest.approx(r2_score(Y[test], predicted), abs=1e-10)
    assert not found[~there[TRAIN:]].any()


def test_what_does_not_vary_is_left_out():
    Y = FEATURES @ WEIGHTS[:, :1]
    flat, all_same = np.ones((TRAIN + TEST, 1)), np.ones(TRAIN + TEST, int)
    assert items_of(FEATURES, flat) == {} and items_of(FEATURES, all_same) == {}
    np.testing.assert_array_equal(items_of(FEATURES, Y, flat, all_same)["it"],
                                  items_of(FEATURES, Y)["it"])


def test_levels_and_kinds_are_means_over_their_factors():
    Y = FEATURES @ WEIGHTS + noise(TRAIN + TEST, 3, seed=8)
    factors = {"x": (3, "position"), "y": (3, "position"), "tint": (1, "colour")}
    known, asked = ({name: Factor(level, kind, (Y[rows, i:i + 1],))
                     for i, (name, (level, kind)) in enumerate(factors.items())}
                    for rows in (slice(0, TRAIN), slice(TRAIN, None)))
    found = latent_items(*halves(FEATURES), known, asked)
    assert set(found) == {*factors, "position", "colour", "level 3", "level 1"}
    np.testing.assert_allclose(found["position"], (found["x"] + found["y"]) / 2)
    np.testing.assert_allclose(found["level 3"], found["position"])
    np.testing.assert_allclose(found["level 1"], found["tint"])


def test_nothing_of_the_test_set_is_fitted():
    """Items of an image do not depend on which others are tested, but for the scale."""
    Y = FEATURES @ WEIGHTS[:, :1] + noise(TRAIN + TEST, 1, seed=8)
    train, test = halves(FEATURES)
    known, asked = table((Y,), rows=slice(0, TRAIN)), table((Y,), rows=slice(TRAIN, None))
    few = FeatureBank(test.X[:50], test.y[:50], test.ids[:50])
    whole = 1 - latent_items(train, test, known, asked)["it"][:50]
    part = 1 - latent_items(train, few, known, table((Y,), rows=slice(TRAIN, TRAIN + 50)))["it"]
    np.testing.assert_allclose(part / part.mean(), whole / whole.mean(), rtol=1e-9)


def test_records_hold_the_scores_and_the_items_of_composites():
    items = {"x": noise(40, seed=1), "position": noise(40, seed=1), "level 3": noise(40, seed=2)}
    found = latent_records(items, setting={"ratio": 0.5}, seed=1, dataset="d", split="test",
                           protocol="latents, mean token")
    assert [r.metric for r in found] == list(items) and {r.n for r in found} == {40}
    for record in found:
        assert record.value == pytest.approx(items[record.metric].mean(), abs=1e-12)
    assert found[0].items is None and found[1].items.dtype == np.float16
    np.testing.assert_allclose(found[1].items, items["position"], rtol=1e-3, atol=1e-3)
    brief = latent_records(items, brief=True, setting={}, seed=1, dataset="d", split="test",
                           protocol="latents, class token")
    assert [(r.metric, r.value, r.items) for r in brief] == [
        (r.metric, r.value, None) for r in found[1:]]


def test_items_beyond_half_precision_are_cut_and_the_score_is_not():
    found, = latent_records({"scale": np.array([-1e6, 0.5])}, setting={}, seed=0, dataset="d",
                            split="test", protocol="latents, pixels")
    assert found.items.tolist() == [-65504, 0.5] and found.value == (-1e6 + 0.5) / 2


# The Menagerie's latents


@pytest.fixture(scope="module")
def drawn():
    return draw("train", 400, keep=False)


def test_every_latent_has_its_level(drawn):
    found = known_latents(drawn.latents)
    assert set(found) == set(LATENTS) - {"rendition"}
    assert all(found[name].level == LATENTS[name].level for name in found)
    assert {name: [n for n in found if found[n].kind == name] for name in COMPOSITES} == {
        "position": ["x", "y"], "scale": ["scale"], "colour": ["hue", "saturation", "value"]}


def test_angles_are_points_on_the_circle_and_come_back(drawn):
    found = known_latents(drawn.latents)
    for name, column, turn in (("rotation", None, 360), ("light", None, 360), ("hue", None, 1),
                               ("texture_phase", 1, 1), ("ground_texture", 2, 1), ("hills", 2, 1)):
        point = found[name].quantities[column or 0]
        angle = drawn.latents[name] if column is None else drawn.latents[name][:, column]
        back = np.arctan2(*point.T) / (2 * np.pi) * turn
        apart = (back - angle + turn / 2) % turn - turn / 2
        assert point.shape == (400, 2) and abs(apart).max() < 1e-9 * turn, name


def test_other_numbers_and_choices_are_kept_as_they_are(drawn):
    found, latents = known_latents(drawn.latents), drawn.latents
    for name in ("x", "scale", "horizon", "noise"):
        assert np.array_equal(found[name].quantities[0][:, 0], latents[name])
    for name in ("class", "biome", "texture", "mirror"):
        assert np.array_equal(found[name].quantities[0], latents[name])
    assert np.array_equal(np.stack(found["parts"].quantities, 1), latents["parts"])
    assert np.array_equal(np.hstack(found["value"].quantities), latents["value"])
    sky = found["sky"].quantities  # hue, saturation, value, of top and bottom
    assert [q.shape[1] for q in sky] == [2, 1, 1, 2, 1, 1]
    assert np.array_equal(sky[4][:, 0], latents["sky"][:, 1, 1])


def test_parts_are_described_where_they_are_there(drawn):
    found, there = known_latents(drawn.latents), drawn.latents["parts"]
    centre = found["part_centre"].quantities
    assert len(centre) == 16 and len(found["part_angle"].quantities) == 8
    for part in range(8):
        for axis in range(2):
            values = centre[2 * part + axis][:, 0]
            assert np.array_equal(np.isfinite(values), there[:, part])
            assert np.array_equal(values[there[:, part]],
                                  drawn.latents["part_centre"][there[:, part], part, axis])


def test_the_latents_themselves_give_a_perfect_score_at_every_level(drawn):
    """Features that hold all latents, coded linearly, hold every level."""
    factors = known_latents(drawn.latents)
    numbers = [np.where(np.isfinite(q), q, 0) for name, f in factors.items()
               for q in f.quantities if q.ndim == 2 and not name.startswith("part_")]
    X, cut = np.hstack(numbers), slice(0, 300)
    known, asked = ({n: Factor(f.level, f.kind, tuple(q[rows] for q in f.quantities))
                     for n, f in factors.items() if f.quantities[0].ndim == 2
                     and not n.startswith("part_")} for rows in (cut, slice(300, None)))
    found = latent_items(bank(X[cut]), bank(X[300:], 300), known, asked)
    assert set(found) >= {"position", "scale", "colour", "level 3", "level 2", "level 1"}
    assert min(items.mean() for items in found.values()) > 0.999


# Facts of the pixels


def pictures(images):
    images = np.asarray(images, np.uint8)
    return ImageSet(images, np.zeros(len(images), np.int64), ("thing",), "made", "made")


def test_image_factors_agree_with_a_loop(drawn):
    images = drawn.images[:3]
    found = image_factors(pictures(images))
    for n, image in enumerate(images):
        grey = (image * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(0) / 255
        at = [(2 * i + 1) / 32 - 1 for i in range(32)]
        down = sum(grey[i, j] * at[i] for i in range(32) for j in range(32)) / grey.sum()
        right = sum(grey[i, j] * at[j] for i in range(32) for j in range(32)) / grey.sum()
        square = sum(grey[i, j] * ((at[i] - down) ** 2 + (at[j] - right) ** 2)
                     for i in range(32) for j in range(32)) / grey.sum()
        values = {name: np.hstack(factor.quantities)[n] for name, factor in found.items()}
        np.testing.assert_allclose(values["centre of mass"], [down, right], atol=1e-12)
        np.testing.assert_allclose(values["extent"], square**0.5)
        np.testing.assert_allclose(values["mean colour"], image.mean((1, 2)) / 255)
        np.testing.assert_allclose(values["contrast"], grey.std())
    assert {factor.level for factor in found.values()} == {0}


def test_a_square_is_where_it_was_put():
    images = np.zeros((2, 3, 32, 32), np.uint8)
    images[0, :, 4:12, 20:28] = 200
    images[1, :, 8:24, 8:24] = 100
    found = {name: np.hstack(f.quantities) for name, f in image_factors(pictures(images)).items()}
    np.testing.assert_allclose(found["centre of mass"], [[-0.5, 0.5], [0, 0]], atol=1e-12)
    assert found["extent"][1] == pytest.approx(2 * found["extent"][0], rel=0.01)


def test_a_black_image_is_nowhere():
    images = np.zeros((2, 3, 32, 32), np.uint8)
    images[1, :, 3, 4] = 255
    found = image_factors(pictures(images))
    for name in ("centre of mass", "extent"):
        values = np.hstack(found[name].quantities)
        assert np.isnan(values[0]).all() and np.isfinite(values[1]).all()
    assert found["mean colour"].quantities[0][0] == 0


def test_the_names_of_the_ledger_are_kept():
    assert COMPOSITES == ("position", "scale", "colour")
    assert LEVELS == ("level 4", "level 3", "level 2", "level 1", "level 0")


Y = FEATURES @ WEIGHTS
KNOWN, ASKED = table((Y,), rows=slice(0, TRAIN)), table((Y,), rows=slice(TRAIN, None))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: latent_items(bank(FEATURES[:TRAIN]), bank(FEATURES[TRAIN:]), KNOWN, ASKED),
     "train and test must not share images, got 200 ids in both"),
    (lambda: latent_items(bank(FEATURES[:TRAIN]), bank(FEATURES[TRAIN:, :5], TRAIN), KNOWN, ASKED),
     "features of one length, got 12 and 5"),
    (lambda: latent_items(*halves(FEATURES), KNOWN, {"other": ASKED["it"]}),
     "must be the same factors, got it and other"),
    (lambda: latent_items(*halves(FEATURES), {}, {}), "got none and none"),
    (lambda: latent_items(*halves(FEATURES), KNOWN, KNOWN),
     r"asked must describe 200 images, got \[600\]"),
    (lambda: read_number(FEATURES[:10], Y[:10], FEATURES), "20 items at least, got 10"),
    (lambda: read_number(FEATURES, Y[:10], FEATURES), "X, y and Z must have shapes"),
    (lambda: read_number(FEATURES, Y, FEATURES * np.inf), "must be finite")])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
