import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from mae_lib.data.dependence import dependence, grey, mutual_information


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)


def test_grey_is_the_weighted_mean_of_the_channels(noise):
    r, g, b = noise[3, :, 5, 7].astype(float)
    assert abs(int(grey(noise)[3, 5, 7]) - (0.299 * r + 0.587 * g + 0.114 * b)) <= 0.51
    assert grey(np.full((1, 3, 2, 2), 255, np.uint8)).max() == 255


def test_mutual_information_agrees_with_scikit_learn():
    rng = np.random.default_rng(1)
    a = rng.integers(0, 256, 5000)
    b = np.clip(a + rng.integers(-60, 60, 5000), 0, 255)
    expected = mutual_info_score(a // 32, b // 32) / np.log(2)
    assert mutual_information(a, b) == pytest.approx(expected)
    assert mutual_information(a, a) == pytest.approx(mutual_info_score(a // 32, a // 32)
                                                     / np.log(2))


def test_noise_does_not_depend_and_flat_images_do(noise):
    found = dependence(noise, [1, 8], 20_000, groups=2)
    assert (found.correlation < 0.05).all() and (found.information < 0.02).all()
    flat = np.broadcast_to(noise[:, :, :1, :1], noise.shape)
    assert (dependence(flat, [1, 8], 5000, groups=2).correlation > 0.999).all()


def test_pairs_lie_as_far_apart_as_asked():
    """Columns that repeat after four pixels: correlated at 4 along rows, constant along columns."""
    stripes = np.random.default_rng(2).integers(0, 256, (30, 3, 16, 4), dtype=np.uint8)
    tiled = np.tile(np.repeat(stripes[:, :, :1], 16, 2), (1, 1, 1, 4))
    found = dependence(tiled, [4, 8, 2], 20_000, groups=1).set_index("distance").correlation
    assert found[4] > 0.999 and found[8] > 0.999 and found[2] < 0.9


def test_within_and_between_are_told_apart_as_in_a_loop(noise):
    """Each object has one shade: pairs within it agree, pairs across do not."""
    rng = np.random.default_rng(3)
    objects = np.zeros((40, 16, 16), int)
    objects[:, :, 8:] = 1
    images = noise.copy()
    images[:, :, :, 8:] = rng.integers(0, 256, (40, 1, 1, 1))
    found = dependence(images, [1, 4], 4000, objects=objects, groups=1).set_index(
        ["pair", "distance"])
    assert (found.loc["within"].correlation > 0.999).all()
    assert (found.loc["between"].correlation < 0.2).all()
    share = found.n["within"][4] / 4000
    pairs = [(0, 4), (4, 0)]
    inside = [objects[0, r, c] and objects[0, r + dr, c + dc] for dr, dc in pairs
              for r in range(16 - dr) for c in range(16 - dc)]
    assert share == pytest.approx(np.mean(inside), abs=0.03)


def test_drawn_pairs_agree_with_a_loop_over_all_pairs():
    """Slopes with noise; every pixel with the one three to the right and three below."""
    rng = np.random.default_rng(4)
    slopes = np.linspace(0, 200, 8) * rng.random((12, 3, 8, 1)) + rng.integers(0, 50, (12, 3, 8, 8))
    images = slopes.astype(np.uint8)
    one, other = [], []
    for shade in grey(images):
        for row in range(8):
            for column in range(8):
                for down, right in ((0, 3), (3, 0)):
                    if row + down < 8 and column + right < 8:
                        one.append(shade[row, column])
                        other.append(shade[row + down, column + right])
    found = dependence(images, [3], 200_000, groups=1).iloc[0]
    assert found.correlation == pytest.approx(np.corrcoef(one, other)[0, 1], abs=0.01)
    expected = mutual_info_score(np.array(one) // 32, np.array(other) // 32) / np.log(2)
    assert found.information == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("changes", "message"), [
    ({"distances": [16]}, r"distances must lie in 1\.\.15, got \[16\]"),
    ({"groups": 50}, "one image a group at least, got 40 for 50 groups"),
])
def test_bad_input_gets_a_sentence(noise, changes, message):
    with pytest.raises(ValueError, match=message):
        dependence(noise, **({"distances": [1], "pairs": 10} | changes))


def test_a_constant_image_has_no_correlation():
    found = dependence(np.zeros((3, 3, 8, 8), np.uint8), [1], 50, groups=1)
    assert np.isnan(found.correlation).all()
