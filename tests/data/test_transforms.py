"""Views of pictures: the official geometry, and random ones that depend on the seed alone."""

import random

import layouts
import numpy as np
import pytest
import torch
import torch.nn.functional as torch_functional
import torchvision.transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms.functional import InterpolationMode

from mae_lib.data.files import transforms
from mae_lib.data.files.crops import crop_box, loop_free_box
from mae_lib.data.files.decoding import BadImage
from mae_lib.data.files.transforms import (
    CentreView,
    RandomView,
    WholeView,
    finetuning_view,
    pretraining_view,
    probing_view,
    without_border,
)
from mae_lib.data.protocols import view_seeds
from mae_lib.evaluation.features import random_crop

PICTURE = layouts.picture(3, 300, 400)
SIDES = st.integers(1, 400)


@pytest.mark.parametrize("height, width", [(300, 400), (400, 300), (224, 224), (100, 90)])
def test_the_centre_view_of_224_is_resize_256_bicubic_then_crop(height, width):
    picture = layouts.picture(1, height, width)
    official = T.Compose([T.Resize(256, InterpolationMode.BICUBIC), T.CenterCrop(224)])
    assert np.array_equal(np.asarray(CentreView()(picture)), np.asarray(official(picture)))


@pytest.mark.parametrize("size, resize", [(224, 256), (32, 36), (96, 109), (448, 512)])
def test_other_sizes_keep_the_proportion(size, resize):
    picture = layouts.picture(2, 600, 800)
    assert np.array_equal(np.asarray(CentreView(size)(picture)),
                          np.asarray(CentreView(size, resize)(picture)))


def test_the_border_is_cut_before_anything_is_resized():
    framed = Image.new("RGB", (404, 304), (255, 0, 0))
    framed.paste(PICTURE, (2, 2))
    assert np.array_equal(np.asarray(CentreView(224, border=2)(framed)),
                          np.asarray(CentreView(224)(PICTURE)))
    assert not np.array_equal(np.asarray(CentreView(64, 64, 1)(framed)),
                              np.asarray(CentreView(64, 64)(PICTURE)))


def test_a_picture_that_is_all_border_is_refused():
    with pytest.raises(BadImage, match="has 4x9 pixels, nothing but its border of 2"):
        without_border(Image.new("RGB", (9, 4)), 2)


def test_a_whole_picture_of_the_right_size_stays_as_it_is():
    square = layouts.picture(4, 224, 224)
    assert np.array_equal(np.asarray(WholeView(224, 224)(square)), np.asarray(square))
    assert np.asarray(WholeView(32)(PICTURE)).shape == (32, 32, 3)
    with pytest.raises(BadImage, match="should be a picture of 224x224 pixels, but is one of 300x"):
        WholeView(224, 224)(PICTURE)


VIEWS = [pretraining_view(32), probing_view(32), finetuning_view(32)]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_a_function_of_picture_and_seed(view):
    first = [np.asarray(view(PICTURE, seed)) for seed in range(12)]
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # whatever happened in between
    again = [np.asarray(view(PICTURE, seed)) for seed in reversed(range(12))][::-1]
    assert np.array_equal(first, again)
    assert all(x.shape == (32, 32, 3) and x.dtype == np.uint8 for x in first)
    assert len({x.tobytes() for x in first}) == 12


def test_views_leave_the_global_generators_alone():
    states = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()
    finetuning_view(32)(PICTURE, 3)
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[2])
    assert np.random.get_state()[1].tobytes() == states[1]


def boxes_of(scale, count, height, width):
    draws = np.random.default_rng(0)
    return np.array([crop_box(height, width, draws.random, scale) for _ in range(count)])


@pytest.mark.parametrize("height, width, scale", [(300, 400, (0.2, 1)), (100, 300, (0.08, 1)),
                                                  (40, 400, (0.5, 1))])
def test_crops_are_distributed_as_torchvisions(height, width, scale):
    ours = boxes_of(scale, 1000, height, width)
    torch.manual_seed(1)
    shape = torch.empty(3, height, width)
    theirs = np.array([T.RandomResizedCrop.get_params(shape, list(scale), [3 / 4, 4 / 3])
                       for _ in range(1000)])
    assert all(ks_2samp(ours[:, k], theirs[:, k]).pvalue > 1e-3 for k in range(4))


def test_a_crop_that_never_fits_is_the_central_one_of_torchvision():
    for height, width in ((40, 400), (400, 40)):
        shape = torch.empty(3, height, width)
        theirs = T.RandomResizedCrop.get_params(shape, [0.999, 1], [3 / 4, 4 / 3])
        ours = crop_box(height, width, np.random.default_rng(0).random, (0.999, 1.0))
        assert ours == tuple(theirs)


@settings(max_examples=50)
@given(SIDES, SIDES, st.integers(0, 2**32), st.sampled_from([(0.2, 1.0), (0.08, 1.0)]))
def test_crops_lie_inside_the_picture(height, width, seed, scale):
    draws = np.random.default_rng(seed)
    for box in (crop_box(height, width, draws.random, scale),
                loop_free_box(height, width, draws.random(4), scale)):
        top, left, h, w = box
        assert 0 <= top <= top + h <= height and 0 <= left <= left + w <= width and h * w > 0


@settings(max_examples=40)
@given(st.integers(8, 40), st.integers(8, 40), st.lists(st.floats(0, 1, exclude_max=True),
                                                        min_size=4, max_size=4))
def test_the_probe_crop_is_the_one_of_the_feature_extraction(height, width, draw):
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    area, aspect = (0.08 + 0.92 * draw[0]) * height * width, (4 / 3) ** (2 * draw[1] - 1)
    w, h = (int(np.clip(round(side), 1, most)) for side, most in
            ((np.sqrt(area * aspect), width), (np.sqrt(area / aspect), height)))
    top, left = int(draw[2] * (height - h + 1)), int(draw[3] * (width - w + 1))
    assert loop_free_box(height, width, np.array(draw)) == (top, left, h, w)
    crop = image[None, :, top:top + h, left:left + w]
    expected = torch_functional.interpolate(crop, (height, width), mode="bicubic", antialias=True)
    found = random_crop(image, [*draw, 0.9])
    assert torch.equal(found, expected.clamp(0, 1)[0])


def test_views_are_mirrored_every_other_time():
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8)[:, None], (64, 1, 3)))
    for view in VIEWS[:2]:
        found = [np.asarray(view(ramp, seed)).astype(int)[:, :, 0] for seed in range(200)]
        rising = np.mean([(x[:, -1] > x[:, 0]).mean() for x in found])
        assert 0.35 < rising < 0.65


def test_randaugment_changes_views_and_is_that_of_timm():
    from timm.data.auto_augment import rand_augment_transform

    plain, view = RandomView(32, (0.08, 1.0)), finetuning_view(32)
    different = [not np.array_equal(np.asarray(plain(PICTURE, s)), np.asarray(view(PICTURE, s)))
                 for s in range(40)]
    assert 20 < sum(different) < 40  # each of two operations is left out half of the time
    theirs = rand_augment_transform("rand-m9-mstd0.5-inc1", {
        "translate_const": 14, "img_mean": (124, 116, 104), "interpolation": Image.BICUBIC})
    draws = np.random.default_rng(7)
    crop_box(300, 400, draws.random, (0.08, 1.0))
    draws.random()
    seed = int(draws.integers(2**32))
    random.seed(seed), np.random.seed(seed)
    assert np.array_equal(np.asarray(theirs(plain(PICTURE, 7))), np.asarray(view(PICTURE, 7)))


def test_the_seeds_of_a_step_differ_in_every_place_and_step():
    seeds = [view_seeds(s, step, 64) for s in range(3) for step in range(10)]
    assert len(np.unique(seeds)) == 30 * 64
    assert np.array_equal(view_seeds(2, 9, 64), seeds[-1])


def test_the_words_of_a_view_tell_it_from_others():
    views = [CentreView(), CentreView(border=2), CentreView(225), WholeView(), WholeView(224, 224),
             *VIEWS, RandomView(32, (0.2, 0.9))]
    assert len({repr(view) for view in views}) == len(views)


@pytest.mark.parametrize("make, message", [
    (lambda: CentreView(0), "size must be at least 1 pixel, got 0"),
    (lambda: CentreView(224, 200), "resize must be at least size 224, got 200"),
    (lambda: RandomView(8, (0.5, 0.2)), r"scale must be two shares .* got \(0.5, 0.2\)"),
    (lambda: RandomView(8, (0.0, 0.2)), "scale must be two shares"),
    (lambda: RandomView(8, augment="rand-q9"), "augment must be RandAugment .* got 'rand-q9'"),
    (lambda: RandomView(8, augment="strong"), "augment must be RandAugment .* got 'strong'")])
def test_views_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_strongest_augmentation_leaves_a_colour_a_bit():
    picture = layouts.picture(3, 40, 40)
    kept = [op for op in transforms._randaugment("rand-m9-mstd0.5-inc1", 32).ops
            if op.name == "PosterizeIncreasing"]
    assert kept
    for op in kept:
        assert [op.level_fn(level, {})[0] for level in (2.5, 5, 9, 10)] == [3, 2, 1, 1]
        assert np.unique(np.asarray(op.aug_fn(picture, *op.level_fn(10, {})))).tolist() == [0, 128]
