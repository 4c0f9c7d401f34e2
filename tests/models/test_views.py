"""Views against torchvision's functions, one image at a time, and how their numbers are spread."""

import colorsys
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from mae_lib.data.files.crops import ASPECTS, loop_free_box
from mae_lib.models.views import (
    CHANCE_OF_COLOUR,
    CHANCE_OF_GREY,
    STRENGTH,
    Augmentation,
    Drawn,
    cropped,
    pasted,
    recoloured,
)

MANY = 10_000
EVERYTHING = Augmentation(crop=True, cutmix=True, colour=True)
CLOSE = {"rtol": 0, "atol": 1e-10}
SINGLE = {"rtol": 0, "atol": 5e-6}  # torchvision turns hues in float32, whatever it is given
UNCHANGED = [1.0, 1.0, 1.0, 0.0, 0.0]  # of colours


@pytest.fixture
def images(generator):
    """Sides are powers of two: the middles of their pixels have no rounding in float32."""
    return torch.rand(8, 3, 16, 32, generator=generator, dtype=torch.float64)


def numbers(augment, batch=MANY, views=1, seed=0):
    """What an augmentation draws, in double precision."""
    drawn = augment.draw(batch, views, torch.Generator().manual_seed(seed))
    return Drawn(*(part.double() for part in drawn))


def by_grid_sample(images, box):
    """The same crops by PyTorch's sampler, which counts from -1 to 1 between the outer edges."""
    top, left, height, width, mirrored = box.unbind(1)
    affine = torch.zeros(len(box), 2, 3, dtype=images.dtype)
    affine[:, 0, 0], affine[:, 0, 2] = width * (1 - 2 * mirrored), 2 * left + width - 1
    affine[:, 1, 1], affine[:, 1, 2] = height, 2 * top + height - 1
    grid = F.affine_grid(affine, images.shape, align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def test_crops_are_those_of_pytorchs_sampler(images):
    box = numbers(Augmentation(crop=True, scale=(0.01, 1.0)), len(images)).crop[:, 0]
    assert 0 < box[:, 4].sum() < len(box)  # some are mirrored
    torch.testing.assert_close(cropped(images, box), by_grid_sample(images, box), **CLOSE)


@pytest.mark.parametrize("top, left, height, width", [(0, 0, 6, 9), (3, 2, 9, 17), (6, 4, 8, 28)])
def test_crops_of_whole_pixels_are_torchvisions_but_for_their_border(images, top, left, height,
                                                                     width):
    """torchvision repeats the outermost pixel of a crop, we look beyond it."""
    box = torch.tensor([[top / 16, left / 32, height / 16, width / 32, 0.0]]).double()
    found = cropped(images, box.expand(len(images), -1))
    wanted = TF.resized_crop(images, top, left, height, width, [16, 32],
                             InterpolationMode.BILINEAR, antialias=False)
    inner = []
    for side, length in ((16, height), (32, width)):
        place = (torch.arange(side) + 0.5) * length / side
        inner.append((place >= 0.5) & (place <= length - 0.5))
    rows, columns = inner
    assert rows.sum() > 12 and columns.sum() > 24
    torch.testing.assert_close(found[:, :, rows][..., columns], wanted[:, :, rows][..., columns],
                               **CLOSE)


def test_the_whole_image_is_a_crop_and_so_is_its_mirror_image(images):
    whole = torch.tensor([[0.0, 0, 1, 1, 0]]).double().expand(len(images), -1)
    torch.testing.assert_close(cropped(images, whole), images, **CLOSE)
    torch.testing.assert_close(cropped(images, whole + torch.tensor([0, 0, 0, 0, 1])),
                               images.flip(3), **CLOSE)


def by_torchvision(image, colour):
    bright, contrast, saturation, hue, grey = colour.tolist()
    image = TF.adjust_brightness(image, bright)
    image = TF.adjust_contrast(image, contrast)
    image = TF.adjust_saturation(image, saturation)
    image = TF.adjust_hue(image, hue) if hue else image
    return TF.rgb_to_grayscale(image, 3) if grey else image


def alike(images, colour, **tolerance):
    wanted = torch.stack([by_torchvision(x, c) for x, c in zip(images, colour, strict=True)])
    torch.testing.assert_close(recoloured(images, colour), wanted, **tolerance)
    return not torch.allclose(wanted, images, atol=0.01)


ALONE = {"brightness": [1.3, 1, 1, 0, 0], "contrast": [1, 0.6, 1, 0, 0],
         "saturation": [1, 1, 1.4, 0, 0], "grey": [1, 1, 1, 0, 1], "black": [0, 1, 1, 0, 0],
         "all but hue": [0.7, 1.3, 0.8, 0, 0], "too bright": [3, 2, 2, 0, 0]}


@pytest.mark.parametrize("colour", ALONE.values(), ids=ALONE)
def test_brightness_contrast_saturation_and_grey_are_torchvisions(images, colour):
    assert alike(images, torch.tensor(colour).double().expand(len(images), -1), **CLOSE)


@pytest.mark.parametrize("hue", [-0.1, 0.07, 0.5])
def test_the_hue_is_torchvisions(images, hue):
    colour = torch.tensor([1, 1, 1, hue, 0]).double().expand(len(images), -1)
    assert alike(images, colour, **SINGLE)


def test_all_changes_of_colour_together_are_torchvisions(generator):
    images = torch.rand(100, 3, 4, 4, generator=generator, dtype=torch.float64)
    colour = numbers(Augmentation(colour=True), 100).colour[:, 0]
    assert alike(images, colour, **SINGLE)


@pytest.mark.parametrize("hue", [-0.1, 0.07, 0.5])
def test_the_hue_is_pythons_also_where_channels_are_equal(generator, hue):
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 0.5, 1.0]).double()] * 3)
    pixels = torch.cat([corners, torch.rand(100, 3, generator=generator, dtype=torch.float64)])
    colour = torch.tensor([[1, 1, 1, hue, 0]], dtype=torch.float64)
    found = recoloured(pixels.T[None, :, None], colour)
    for pixel, turned in zip(pixels.tolist(), found[0, :, 0].T.tolist(), strict=True):
        own, saturation, value = colorsys.rgb_to_hsv(*pixel)
        wanted = colorsys.hsv_to_rgb((own + hue) % 1, saturation, value)
        assert turned == pytest.approx(wanted, rel=0, abs=1e-10)


def test_unchanged_colours_are_the_image(images):
    same = torch.tensor([UNCHANGED]).double().expand(len(images), -1)
    torch.testing.assert_close(recoloured(images, same), images, **CLOSE)


def test_a_rectangle_comes_from_the_image_at_the_mirror_place(images):
    rectangle = numbers(Augmentation(cutmix=True), len(images)).rectangle[:, 0]
    found = pasted(images, rectangle)
    for i, (top, left, height, width) in enumerate(rectangle.tolist()):
        for row in range(16):
            for column in range(32):
                inside = (top <= (row + 0.5) / 16 < top + height
                          and left <= (column + 0.5) / 32 < left + width)
                source = images[len(images) - 1 - i] if inside else images[i]
                assert torch.equal(found[i, :, row, column], source[:, row, column])
    assert not torch.equal(found, images)


def uniform(values, low, high):
    """Whether values are spread evenly between two limits, by Kolmogorov and Smirnov."""
    assert values.min() >= low - 1e-6 and values.max() <= high + 1e-6
    return stats.kstest(values.numpy(), stats.uniform(low, high - low).cdf).pvalue > 1e-3


def near(share, chance, count=MANY):
    """Within four standard errors."""
    return abs(float(share) - chance) < 4 * (chance * (1 - chance) / count) ** 0.5


def test_area_aspect_and_place_of_crops_are_spread_evenly():
    top, left, height, width, mirrored = numbers(
        Augmentation(crop=True, scale=(0.2, 0.5))).crop[:, 0].unbind(1)  # none is cut to size
    assert uniform(height * width, 0.2, 0.5)
    assert uniform((width / height).log(), *torch.tensor(ASPECTS).log().tolist())
    assert uniform(top / (1 - height), 0, 1) and uniform(left / (1 - width), 0, 1)
    assert near(mirrored.mean(), 0.5) and set(mirrored.tolist()) == {0.0, 1.0}


def test_crops_are_those_of_the_linear_probe_without_rounding():
    side, scale = 10**6, (0.2, 1.0)
    draws = torch.rand(500, 1, 5, generator=torch.Generator().manual_seed(3)).double()
    found = numbers(Augmentation(crop=True), 500, seed=3).crop[:, 0]
    assert (found[:, 2:4] == 1).any()  # some are cut to size
    for draw, box in zip(draws[:, 0].numpy(), found, strict=True):
        wanted = loop_free_box(side, side, draw[:4], scale)
        assert box[:4].tolist() == pytest.approx([x / side for x in wanted], abs=3e-6)
        assert box[4] == (draw[4] < 0.5)


def test_crops_lie_inside_the_image():
    top, left, height, width, _ = numbers(Augmentation(crop=True)).crop[:, 0].unbind(1)
    assert min(top.min(), left.min()) >= 0 and min(height.min(), width.min()) > 0
    assert max((top + height).max(), (left + width).max()) <= 1 + 1e-6


def test_colours_change_as_often_and_as_much_as_in_simsiam():
    colour = numbers(Augmentation(colour=True)).colour[:, 0]
    changed = (colour[:, :4] != torch.tensor(UNCHANGED[:4])).any(1)
    assert CHANCE_OF_COLOUR == 0.8 and near(changed.double().mean(), 0.8)
    assert CHANCE_OF_GREY == 0.2 and near(colour[:, 4].mean(), 0.2)
    assert near((changed & (colour[:, 4] > 0)).double().mean(), 0.16)  # one says nothing of other
    for k, (middle, strength) in enumerate(zip((1, 1, 1, 0), (0.4, 0.4, 0.4, 0.1), strict=True)):
        assert STRENGTH[k] == strength
        assert uniform(colour[changed, k], middle - strength, middle + strength)


def test_the_four_changes_of_colour_are_drawn_apart():
    colour = numbers(Augmentation(colour=True)).colour[:, 0]
    changed = colour[(colour[:, :4] != torch.tensor(UNCHANGED[:4])).any(1), :4]
    off = torch.corrcoef(changed.T) - torch.eye(4)
    assert off.abs().max() < 4 / len(changed) ** 0.5


def test_the_share_of_a_pasted_rectangle_is_spread_evenly_and_lies_inside():
    top, left, height, width = numbers(Augmentation(cutmix=True)).rectangle[:, 0].unbind(1)
    assert torch.equal(height, width) and uniform(height * width, 0, 1)
    assert uniform(top / (1 - height), 0, 1) and uniform(left / (1 - width), 0, 1)
    assert (top + height).max() <= 1 + 1e-6 and (left + width).max() <= 1 + 1e-6


def test_views_of_an_image_and_images_of_a_batch_are_drawn_apart():
    for part in numbers(EVERYTHING, batch=2000, views=2):
        first, second = part[:, 0], part[:, 1]
        for a, b in ((first, second), (first[1:], first[:-1])):
            for k in range(part.shape[2]):
                assert abs(torch.corrcoef(torch.stack([a[:, k], b[:, k]]))[0, 1]) < 4 / 2000**0.5


def test_only_what_is_asked_for_has_numbers():
    for names, widths in (((), (0, 0, 0)), (("crop",), (5, 0, 0)), (("colour",), (0, 5, 0)),
                          (("cutmix",), (0, 0, 4)), (("crop", "colour", "cutmix"), (5, 5, 4))):
        drawn = Augmentation(**dict.fromkeys(names, True)).draw(3, 2)
        assert tuple(part.shape for part in drawn) == tuple((3, 2, width) for width in widths)
        assert all(part.dtype == torch.float32 for part in drawn)


def test_the_generator_decides_and_the_global_one_is_left_alone():
    before = torch.get_rng_state()
    first, again, other = (numbers(EVERYTHING, 5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    for a, b, c in zip(first, again, other, strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)


def test_nothing_asked_for_is_the_image_itself(images):
    assert Augmentation()(images, Augmentation().draw(8, 1), 0) is images


def test_a_view_is_a_crop_with_a_rectangle_pasted_in_other_colours(images):
    drawn = numbers(EVERYTHING, len(images), views=2)
    for view in range(2):
        placed = cropped(images, drawn.crop[:, view])
        wanted = recoloured(pasted(placed, drawn.rectangle[:, view]), drawn.colour[:, view])
        assert torch.equal(EVERYTHING.placed(images, drawn, view), placed)
        assert torch.equal(EVERYTHING(images, drawn, view), wanted)
    assert not torch.equal(EVERYTHING(images, drawn, 0), EVERYTHING(images, drawn, 1))


def test_views_of_some_rows_are_some_rows_of_the_views(images):
    augment, rows = Augmentation(crop=True, colour=True), slice(2, 5)
    drawn = numbers(augment, len(images))
    part = drawn._make(numbers[rows] for numbers in drawn)
    torch.testing.assert_close(augment(images[rows], part, 0), augment(images, drawn, 0)[rows],
                               **CLOSE)


def test_views_keep_to_the_range_and_precision_of_images(generator):
    images = torch.rand(64, 3, 16, 16, generator=generator)
    images[:32] = images[:32].round()  # black, white and pure colours
    view = EVERYTHING(images, EVERYTHING.draw(64, 1, generator), 0)
    assert view.dtype == torch.float32 and view.isfinite().all()
    assert view.min() >= 0 and view.max() <= 1


@pytest.mark.parametrize("scale", [(0.0, 1.0), (0.5, 0.2), (0.2, 1.1)])
def test_a_crop_is_a_part_of_the_image(scale):
    with pytest.raises(ValueError, match="scale must be two shares 0 < least <= most <= 1"):
        Augmentation(crop=True, scale=scale)


def test_pixels_of_a_crop_keep_their_precision_in_a_step_of_bfloat16(images, generator):
    augment = Augmentation(crop=True)
    drawn = augment.draw(len(images), 1, generator)
    with torch.autocast("cpu", torch.bfloat16):
        found = augment(images.float(), drawn, 0)
    assert torch.equal(found, augment(images.float(), drawn, 0))


def test_one_compiled_graph_serves_all_draws(images):
    view = partial(EVERYTHING, view=0)
    compiled = torch.compile(view, fullgraph=True, dynamic=False, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for seed in range(3):
            drawn = numbers(EVERYTHING, len(images), seed=seed)
            torch.testing.assert_close(compiled(images, drawn), view(images, drawn))
