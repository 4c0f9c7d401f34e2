"""Shape bias of classifiers whose preference is known, and the 16 categories."""

import itertools
from collections import Counter

import numpy as np
import pytest

from mae_lib.data.official.human_categories import CATEGORIES, parse_cue_conflict
from mae_lib.evaluation.shape_bias import _indices, category_matrix, shape_bias, to_categories

# As the set of Geirhos et al.: 16 shapes in 16 textures, five of each; 80 without conflict.
SHAPES, TEXTURES = np.array(list(itertools.product(range(16), range(16), range(5)))).T[:2]
MEMBERS = {"airplane": 1, "bear": 4, "bicycle": 2, "bird": 49, "boat": 5, "bottle": 7, "car": 3,
           "cat": 6, "chair": 4, "clock": 3, "dog": 109, "elephant": 2, "keyboard": 2, "knife": 1,
           "oven": 1, "truck": 8}


def test_who_goes_by_shape_has_bias_1():
    found = shape_bias(SHAPES, SHAPES, TEXTURES)
    assert (found.bias, found.shape_accuracy, found.shape_hits, found.texture_hits) == (1, 1, 1, 0)
    assert (found.n_conflict, found.n_decisive, found.coverage) == (1200, 1200, 1)
    assert set(found.per_class.values()) == {1.0}


def test_who_goes_by_texture_has_bias_0_and_is_right_without_conflict():
    found = shape_bias(TEXTURES, SHAPES, TEXTURES)
    assert (found.bias, found.texture_hits, found.shape_accuracy) == (0, 1, 0.0625)
    assert set(found.per_class.values()) == {0.0}


def test_who_always_says_the_same_has_bias_one_half():
    found = shape_bias(np.full(1280, 7), SHAPES, TEXTURES)
    assert (found.bias, found.coverage, found.n_decisive) == (0.5, 0.125, 150)
    assert found.per_class[7] == 1 and found.per_class[3] == 0


def test_guessing_has_bias_one_half_in_expectation():
    rng = np.random.default_rng(0)
    found = [shape_bias(rng.integers(0, 16, 1280), SHAPES, TEXTURES) for _ in range(60)]
    assert np.mean([f.bias for f in found]) == pytest.approx(0.5, abs=3 * 0.041 / np.sqrt(60))
    assert np.mean([f.coverage for f in found]) == pytest.approx(0.125, abs=0.004)
    assert 0.025 < np.std([f.bias for f in found]) < 0.06


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_mixture_has_its_share_as_bias(share):
    said = np.where(np.random.default_rng(1).random(1280) < share, SHAPES, TEXTURES)
    found = shape_bias(said, SHAPES, TEXTURES)
    assert abs(found.bias - share) < 2 * np.sqrt(share * (1 - share) / 1200)
    assert found.interval[0] < share < found.interval[1]


def test_exchanging_the_labels_turns_the_bias_round():
    said = np.random.default_rng(2).integers(0, 16, 1280)
    there, back = shape_bias(said, SHAPES, TEXTURES), shape_bias(said, TEXTURES, SHAPES)
    assert there.bias == pytest.approx(1 - back.bias)
    assert (there.coverage, there.n_decisive) == (back.coverage, back.n_decisive)


def test_everything_equals_counting_one_by_one():
    rng = np.random.default_rng(3)
    said, shapes, textures = rng.integers(0, 4, (3, 150))
    counts, hits = Counter(), Counter()
    for p, s, t in zip(said, shapes, textures, strict=True):
        counts["conflict"] += s != t
        counts["right"] += p == s
        if s != t and p in (s, t):
            hits["shape" if p == s else "texture"] += 1
            hits[s, p == s] += 1
    found = shape_bias(said, shapes, textures)
    decisive = hits["shape"] + hits["texture"]
    assert (found.n_conflict, found.n_decisive) == (counts["conflict"], decisive)
    assert found.bias == pytest.approx(hits["shape"] / decisive)
    assert found.shape_accuracy == pytest.approx(counts["right"] / 150)
    assert found.texture_hits == pytest.approx(hits["texture"] / counts["conflict"])
    assert found.coverage == pytest.approx(decisive / counts["conflict"])
    for k in range(4):
        expected = hits[k, True] / (hits[k, True] + hits[k, False])
        assert found.per_class[k] == pytest.approx(expected)


def test_the_interval_is_wilsons():
    shapes, textures = np.arange(1280) % 16, (np.arange(1280) + 1) % 16
    said = np.full(1280, -1)  # decides nothing
    said[:950], said[950:1000] = shapes[:950], textures[950:1000]
    assert shape_bias(said, shapes, textures).interval == pytest.approx((0.9347, 0.9619), abs=5e-5)


def test_without_a_decision_there_is_no_bias():
    found = shape_bias(np.full(3, 9), [0, 1, 2], [1, 2, 0])
    assert (found.bias, found.interval, found.coverage) == (None, None, 0)
    assert found.per_class == {0: None, 1: None, 2: None}


def test_names_serve_as_labels():
    found = shape_bias(["cat", "dog", "cat"], ["cat", "cat", "dog"], ["dog", "dog", "bear"])
    assert (found.bias, found.n_decisive, found.per_class["cat"]) == (0.5, 2, 0.5)


@pytest.mark.parametrize(("arguments", "message"), [
    (([1], [1, 2], [2, 1]), r"one shape \[N\], got \[1\], \[2\] and \[2\]"),
    (([1, 2], [1, 2], [1, 2]), "must differ somewhere, got 2 equal pairs"),
])
def test_labels_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        shape_bias(*arguments)


# categories of ImageNet

def test_the_matrix_has_the_known_column_sums_and_no_class_twice():
    matrix = category_matrix()
    assert matrix.shape == (1000, 16) and tuple(MEMBERS) == CATEGORIES == tuple(_indices())
    assert matrix.sum(0).tolist() == list(MEMBERS.values())
    assert matrix.sum() == 207 and matrix.sum(1).max() == 1


def test_the_lists_are_those_of_the_wordnet_names():
    from timm.data import ImageNetInfo
    info = ImageNetInfo("imagenet-1k")
    words = {"airplane": ["airliner"], "bear": ["bear"], "bicycle": ["bicycle", "bike"],
             "boat": ["boat", "canoe", "yawl"], "bottle": ["bottle", "jug"],
             "car": ["car", "convertible"], "cat": ["cat"], "chair": ["chair", "throne"],
             "clock": ["clock"], "elephant": ["elephant"], "keyboard": ["keyboard"],
             "knife": ["cleaver"], "oven": ["rotisserie"], "truck": ["truck", "van", "minivan"]}
    for category, known in words.items():
        for name in map(info.index_to_description, _indices()[category]):
            assert any(word in name for word in known), (category, name)
    for category, first, last in (("dog", "n02085", "n02113"), ("bird", "n015", "n0205")):
        synsets = [info.index_to_label_name(i) for i in _indices()[category]]
        assert synsets == sorted(synsets)
        assert synsets[0].startswith(first) and synsets[-1].startswith(last)


@pytest.mark.parametrize("how", ["mean", "sum", "max", "restricted"])
def test_certainty_about_an_airliner_is_an_airplane(how):
    one = np.zeros((1, 1000))
    one[0, 404] = 1
    assert CATEGORIES[to_categories(one, how).argmax()] == "airplane"


def test_the_ways_to_aggregate_equal_a_slow_loop():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(1000, 0.1), 7)
    found = {how: to_categories(probabilities, how) for how in ("mean", "sum", "max", "restricted")}
    for n, (k, name) in itertools.product(range(7), enumerate(CATEGORIES)):
        values = [probabilities[n, i] for i in _indices()[name]]
        assert found["mean"][n, k] == pytest.approx(sum(values) / len(values))
        assert found["sum"][n, k] == pytest.approx(sum(values))
        assert found["max"][n, k] == max(values)
    assert np.allclose(found["restricted"].sum(1), 1)
    assert np.array_equal(found["restricted"].argmax(1), found["sum"].argmax(1))


def test_the_mean_does_not_favour_what_has_many_classes():
    flat = np.full((1, 1000), 1e-3)
    flat[0, 404] += 0.01
    flat /= flat.sum()
    assert CATEGORIES[to_categories(flat).argmax()] == "airplane"
    assert CATEGORIES[to_categories(flat, "sum").argmax()] == "dog"


@pytest.mark.parametrize(("probabilities", "how", "message"), [
    (np.ones((2, 999)) / 999, "mean", r"shape \[N,1000\], got \[2, 999\]"),
    (np.ones((2, 1000)) / 999, "mean", "sum to 1 in each row"),
    (np.eye(1000)[:2] * np.nan, "mean", "sum to 1 in each row"),
    (np.eye(1000)[:1] * 2 - np.eye(1000)[1:2], "mean", "at least 0 .* got values from -1"),
    (np.eye(1000)[:2], "median", "how must be one of mean, sum, max, restricted, got 'median'"),
    (np.eye(1000)[:1], "restricted", "must not all be 0 in the 207 classes"),
])
def test_bad_probabilities_are_refused(probabilities, how, message):
    with pytest.raises(ValueError, match=message):
        to_categories(probabilities, how)


def test_file_names_tell_shape_and_texture():
    assert parse_cue_conflict("cue-conflict/cat/cat7-elephant2.png") == ("cat", "elephant")
    names = {f"{a}{i}-{b}{i}.png": (a, b) for i, (a, b) in
             enumerate(itertools.product(CATEGORIES, CATEGORIES))}
    assert all(parse_cue_conflict(name) == pair for name, pair in names.items())


@pytest.mark.parametrize("name", ["cat7-lion2.png", "cat7.png", "cat7-dog2", "cat7-dog2-car1.png"])
def test_other_file_names_are_refused(name):
    with pytest.raises(ValueError, match="path must end like 'cat7-elephant2.png'"):
        parse_cue_conflict(name)
