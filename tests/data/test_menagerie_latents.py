"""What the latents say about the class, and what they must not say."""

import numpy as np
import pytest

from mae_lib.data.menagerie import CLASSES, LATENTS, SUPERCLASSES, draw, latent_graph
from mae_lib.data.menagerie.latents import Stream, draw_backdrop, draw_object
from mae_lib.data.menagerie.tables import setting

N = 6000


def latents(split, **changes):
    """Latents alone, nothing painted."""
    chosen = setting(split, "default", **changes)
    stream = Stream(chosen["seed"], np.arange(N, dtype=np.uint64))
    found = draw_object(stream, chosen)
    return found | draw_backdrop(stream, chosen, found["superclass"])


@pytest.fixture(scope="module")
def train():
    return latents("train")


def information(codes: np.ndarray, labels: np.ndarray) -> float:
    """Mutual information (nats) of two small integer variables, plug-in estimate."""
    joint = np.zeros((codes.max() + 1, labels.max() + 1))
    np.add.at(joint, (codes, labels), 1 / len(codes))
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / product[there])).sum())


def p_value(values: np.ndarray, labels: np.ndarray, times: int = 200) -> float:
    """Permutation test of the largest information of any component with the labels."""
    flat = values.reshape(len(values), -1)[:, :16]
    ranks = flat.argsort(0, kind="stable").argsort(0, kind="stable") * 8 // len(flat)
    discrete = [np.unique(column, return_inverse=True)[1] for column in flat.T]
    codes = [d if d.max() < 16 else r for d, r in zip(discrete, ranks.T, strict=True)]
    rng = np.random.default_rng(0)
    seen = max(information(code, labels) for code in codes)
    chance = [max(information(code, shuffled) for code in codes)
              for shuffled in (rng.permutation(labels) for _ in range(times))]
    return (1 + sum(value >= seen for value in chance)) / (1 + times)


LOW = [name for name, latent in LATENTS.items() if latent.level == 1]
FREE = [name for name, latent in LATENTS.items() if latent.level == 3 and not latent.parents]


@pytest.mark.parametrize("name", LOW + FREE)
def test_undeclared_latents_say_nothing_about_the_class(train, name):
    assert p_value(train[name], train["class"]) > 0.01


@pytest.mark.parametrize("name", ["texture", "biome"])
def test_the_permutation_test_sees_a_leak(train, name):
    assert p_value(train[name], train["class"], times=99) == 0.01


def best_guess(cue, labels):
    counts = np.zeros((cue.max() + 1, len(CLASSES)))
    np.add.at(counts, (cue, labels), 1 / len(cue))
    return counts.max(1).sum()


def test_texture_and_biome_give_the_class_away_as_far_as_declared(train):
    # In closed form: rho_t + (1 - rho_t) / 16 and the four preferred biomes' surplus.
    assert best_guess(train["texture"], train["class"]) == pytest.approx(0.4375, abs=0.03)
    assert best_guess(train["biome"], train["class"]) == pytest.approx(0.119, abs=0.02)


@pytest.mark.parametrize("split", ["objectnet", "R", "hard"])
def test_texture_is_no_cue_in_the_shifted_sets(split):
    found = latents(split)
    assert p_value(found["texture"], found["class"]) > 0.01


def test_odd_landscapes_are_no_cue():
    found = latents("objectnet")
    for name in ("biome", "sky", "ground"):
        assert p_value(found[name], found["class"]) > 0.01


def test_classes_are_balanced_and_below_their_superclass(train):
    counts = np.bincount(train["class"], minlength=16)
    assert np.all(np.abs(counts - N / 16) < 4 * np.sqrt(N / 16))
    assert np.array_equal(train["superclass"], train["class"] // 4) and len(SUPERCLASSES) == 4


def test_draws_are_uniform_and_unrelated():
    stream = Stream(5, np.arange(20_000, dtype=np.uint64))
    first, second = stream.unit("a", 2), stream.unit("b")
    columns = np.stack([first[:, 0], first[:, 1], second])
    assert np.abs(columns.mean(1) - 0.5).max() < 0.01
    assert np.abs(np.corrcoef(columns) - np.eye(3)).max() < 0.03
    assert np.abs(np.corrcoef(first[1:, 0], first[:-1, 0])[0, 1]) < 0.03
    assert first.min() >= 0 and first.max() < 1


def test_latents_stay_in_their_ranges(train):
    assert np.abs(train["rotation"]).max() <= 20 and np.abs(train["x"]).max() <= 0.22
    assert train["scale"].min() >= 0.58 and train["scale"].max() <= 0.9
    assert set(np.unique(train["mirror"])) == {0, 1}


def test_every_latent_is_handed_out_with_level_and_parents():
    drawn, graph = draw("train", 3, 16), latent_graph()
    assert set(drawn.latents) == set(LATENTS) == set(graph) - {"pixels"}
    for parent, child in graph.edges:
        assert graph.nodes[parent]["level"] >= graph.nodes[child]["level"]


def test_part_centres_are_where_the_parts_are():
    fixed = {"parts": np.eye(8, dtype=bool)[3], "class": 5}  # the beetle's head, a round part
    drawn = draw("train", 40, 96, fixed=fixed, jit=0.0)
    for i in np.flatnonzero(drawn.masks.any(axis=(1, 2))):
        rows, columns = np.nonzero(drawn.masks[i])
        seen = (2 * np.array([columns.mean(), rows.mean()]) + 1) / 96 - 1
        assert np.abs(seen - drawn.latents["part_centre"][i, 3]).max() < 0.02


def test_colours_say_less_than_shapes():
    drawn, fresh = draw("train", 3000, 32, "default"), draw("val", 800, 32, "default")
    colour = ridge_accuracy(histogram(drawn.images), drawn.labels, histogram(fresh.images),
                            fresh.labels)
    shape = ridge_accuracy(silhouette(drawn.masks), drawn.labels, silhouette(fresh.masks),
                           fresh.labels)
    assert 1 / 16 < colour < 0.22 and shape > 3 * colour


def histogram(images):
    """Share of pixels in each of 4 x 4 x 4 colour bins."""
    codes = (images[:, 0] >> 6) * 16 + (images[:, 1] >> 6) * 4 + (images[:, 2] >> 6)
    return np.stack([np.bincount(c.ravel(), minlength=64) for c in codes]) / codes[0].size


def silhouette(masks):
    """The mask in its box, on an 8 x 8 grid."""
    grids = []
    for mask in masks:
        rows, columns = np.nonzero(mask)
        grid = np.zeros((8, 8))
        y = (rows - rows.min()) * 8 // (np.ptp(rows) + 1)
        np.add.at(grid, (y, (columns - columns.min()) * 8 // (np.ptp(columns) + 1)), 1)
        grids.append(np.concatenate([grid.ravel(), grid[:, ::-1].ravel()]) / grid.max())
    return np.stack(grids)


def ridge_accuracy(train, labels, test, truth):
    centre = train.mean(0)
    left, target = train - centre, np.eye(16)[labels] - 1 / 16
    weights = np.linalg.solve(left.T @ left + np.eye(left.shape[1]), left.T @ target)
    return (((test - centre) @ weights).argmax(1) == truth).mean()
