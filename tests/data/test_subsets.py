from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image

from mae_lib.data.files.crops import crop_box
from mae_lib.data.images import ImageSet
from mae_lib.data.subsets import CHOICES, crops_of_photograph, few, labelled_share


def numbered(labels) -> ImageSet:
    """Images that say which they are, in their first pixel and its neighbour."""
    labels = np.asarray(labels)
    pixels = np.zeros((len(labels), 3, 2, 2), np.uint8)
    pixels[:, 0, 0] = np.stack(np.divmod(np.arange(len(labels)), 256), 1)
    return ImageSet(pixels, labels, ("ant", "bee", "cat"), "numbered", "numbered")


def numbers(images: ImageSet) -> list[int]:
    return (images.images[:, 0, 0].astype(int) @ [256, 1]).tolist()


@pytest.fixture(scope="module")
def images() -> ImageSet:
    """Three classes of 30, 60 and 210 images, in no order."""
    return numbered(np.random.default_rng(5).permutation(np.repeat([0, 1, 2], [30, 60, 210])))


@pytest.mark.parametrize("how", CHOICES)
def test_few_are_different_images_with_their_labels(images, how):
    found = few(images, 25, how, seed=3)
    assert len(set(numbers(found))) == len(found) == 25 and found.classes == images.classes
    assert np.array_equal(found.labels, images.labels[numbers(found)])
    assert np.array_equal(found.images, images.images[numbers(found)])


@pytest.mark.parametrize("how", CHOICES)
def test_fewer_are_the_first_of_more(images, how):
    more = numbers(few(images, 28, how, seed=3))
    for count in (1, 2, 7, 27):
        assert numbers(few(images, count, how, seed=3)) == more[:count]


@pytest.mark.parametrize("how", CHOICES)
def test_the_seed_decides_and_the_fingerprint_says_so(images, how):
    first, again, other = (few(images, 20, how, seed=seed) for seed in (1, 1, 2))
    assert numbers(first) == numbers(again) != numbers(other)
    assert first.fingerprint == again.fingerprint
    assert len({images.fingerprint, first.fingerprint, other.fingerprint,
                few(images, 19, how, seed=1).fingerprint}) == 4


def test_ways_to_choose_differ_with_the_same_seed(images):
    assert len({few(images, 20, how, seed=1).fingerprint for how in CHOICES}) == len(CHOICES)


def test_at_random_every_image_is_chosen_equally_often():
    twelve, draws = numbered([0, 1, 2] * 4), 600
    counts = np.bincount([n for seed in range(draws) for n in numbers(few(twelve, 3, seed=seed))])
    assert len(counts) == 12 and counts.sum() == 3 * draws
    assert abs(counts - draws / 4).max() < 4 * (draws * 3 / 16) ** 0.5


def test_one_class_is_one_and_any():
    found = [set(few(numbered([0, 1, 2] * 10), 10, "one class", seed=seed).labels.tolist())
             for seed in range(60)]
    assert all(len(classes) == 1 for classes in found)
    assert set.union(*found) == {0, 1, 2}


def test_one_class_may_be_taken_whole():
    small = numbered([0, 1, 2, 1, 0, 2])
    assert sorted(numbers(few(small, 2, "one class", seed=0))) in ([0, 4], [1, 3], [2, 5])


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.data())
def test_each_class_gives_as_many_as_any_other_or_all_it_has(labels, data):
    count = data.draw(st.integers(1, len(labels)))
    found = np.bincount(few(numbered(labels), count, "each class").labels, minlength=3)
    have = np.bincount(labels, minlength=3)
    short = found < found.max() - 1
    assert (found[short] == have[short]).all() and found.sum() == count


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.99, 1.0])
def test_the_share_is_the_same_for_every_class(images, share):
    found = labelled_share(images, share, seed=1)
    wanted = [int(Fraction(str(share)) * count) for count in (30, 60, 210)]
    assert np.bincount(found.labels).tolist() == wanted
    kept = numbers(found)
    assert kept == sorted(set(kept)) and np.array_equal(found.labels, images.labels[kept])


def test_all_labels_are_the_set_as_it_is(images):
    found = labelled_share(images, 1.0)
    assert np.array_equal(found.images, images.images)
    assert np.array_equal(found.labels, images.labels)


def test_the_seed_decides_which_labels_are_known(images):
    first, again, other = (labelled_share(images, 0.1, seed=seed) for seed in (1, 1, 2))
    assert numbers(first) == numbers(again) != numbers(other)
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_a_smaller_share_is_part_of_a_larger_one(images):
    shares = [set(numbers(labelled_share(images, share, seed=1))) for share in (0.1, 0.3, 0.8)]
    assert shares[0] < shares[1] < shares[2]


def test_every_image_of_a_class_may_keep_its_label():
    twelve = numbered([0, 1, 2, 2] * 3)
    drawn = [n for seed in range(400) for n in numbers(labelled_share(twelve, 1 / 3, seed=seed))]
    counts = np.bincount(drawn)
    assert len(counts) == 12 and abs(counts - 400 / 3).max() < 4 * (400 * 2 / 9) ** 0.5


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    return Image.fromarray(load_sample_image("china.jpg"))


def test_crops_are_parts_of_one_photograph_mirrored_every_other_time(photograph):
    """Drawn again from the same seeds and cut out by Pillow alone."""
    found, mirrored = crops_of_photograph(40, 16, seed=7), 0
    assert photograph.size == (640, 427)
    for pixels, seed in zip(found.images, np.random.default_rng(7).integers(2**32, size=40),
                            strict=True):
        draws = np.random.default_rng(int(seed))
        top, left, height, width = crop_box(427, 640, draws.random, (0.02, 0.3))
        assert 0.019 < height * width / (427 * 640) < 0.301
        wanted = photograph.crop((left, top, left + width, top + height)).resize(
            (16, 16), Image.Resampling.BICUBIC)
        if draws.random() < 0.5:
            wanted, mirrored = wanted.transpose(Image.Transpose.FLIP_LEFT_RIGHT), mirrored + 1
        assert np.array_equal(pixels, np.asarray(wanted).transpose(2, 0, 1))
    assert 8 <= mirrored <= 32  # four standard errors


def test_crops_are_a_set_with_a_single_class():
    found = crops_of_photograph(5, 16)
    assert found.images.shape == (5, 3, 16, 16) and found.size == (16, 16)
    assert found.labels.tolist() == [0] * 5 and found.classes == ("photograph",)
    assert "china" in found.name
    assert len({image.tobytes() for image in found.images}) == 5


def test_the_seed_decides_the_crops_and_fewer_are_the_first_of_more():
    first, again, other = (crops_of_photograph(4, 8, seed=seed) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)
    assert np.array_equal(crops_of_photograph(2, 8, seed=1).images, first.images[:2])
    assert crops_of_photograph(4, 8, seed=1, scale=(0.1, 0.2)).fingerprint != first.fingerprint


def test_an_unknown_way_is_refused(images):
    with pytest.raises(ValueError, match="how must be one of random, one class, each class, "
                                         "got 'best'"):
        few(images, 3, "best")


@pytest.mark.parametrize("count", [0, -1, 301])
@pytest.mark.parametrize("how", ["random", "each class"])
def test_more_images_than_there_are_and_none_are_refused(images, how, count):
    with pytest.raises(ValueError, match=r"count must lie in 1\.\.300, as many images as there "
                                         f"are, got {count}"):
        few(images, count, how)


def test_more_images_than_the_class_has_are_refused():
    with pytest.raises(ValueError, match=r"count must lie in 1\.\.2, .*, got 3"):
        few(numbered([0, 1, 2, 1, 0, 2]), 3, "one class")


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01])
def test_a_share_outside_its_range_is_refused(images, share):
    with pytest.raises(ValueError, match=rf"share must lie in \(0, 1\], got {share}"):
        labelled_share(images, share)


def test_a_share_that_leaves_a_class_empty_is_refused():
    few_bees = numbered([0] * 20 + [1] * 9 + [2] * 20)
    with pytest.raises(ValueError, match="share must leave an image of every class, got 0.1, which "
                                         "leaves none of the 9 of class 'bee'"):
        labelled_share(few_bees, 0.1)


@pytest.mark.parametrize("count", [0, -2])
def test_a_photograph_gives_at_least_one_crop(count):
    with pytest.raises(ValueError, match=f"count must be at least 1, got {count}"):
        crops_of_photograph(count, 8)


def test_crops_must_be_parts_of_the_photograph():
    with pytest.raises(ValueError, match="scale must be two shares 0 < least <= most <= 1"):
        crops_of_photograph(2, 8, scale=(0.0, 0.3))
