import numpy as np
import pytest
import torch

from mae_lib.training.augment import Augment, erased, flipped, mixed, shifted


@pytest.fixture
def images(generator):
    return torch.rand(6, 3, 8, 10, generator=generator)


@pytest.fixture
def targets():
    return torch.eye(6)


def test_only_the_chosen_images_are_mirrored(images):
    which = torch.tensor([True, False, True, False, False, True])
    found = flipped(images, which)
    assert torch.equal(found[which], images[which].flip(-1))
    assert torch.equal(found[~which], images[~which])


def test_shifts_agree_with_numpy_on_each_image(images):
    offsets = torch.tensor([[0, 0], [3, -2], [-4, 5], [1, 1], [-1, 0], [0, 7]])
    found = shifted(images, offsets)
    for image, (dy, dx), moved in zip(images.numpy(), offsets.tolist(), found.numpy(), strict=True):
        wide = np.pad(image, ((0, 0), (7, 7), (7, 7)), mode="reflect")
        assert np.array_equal(moved, wide[:, 7 + dy:15 + dy, 7 + dx:17 + dx])


def test_erasing_touches_one_rectangle_of_a_chosen_image_and_no_other(images, generator):
    found = erased(images.repeat(40, 1, 1, 1), 0.5, generator)
    changed = (found != images.repeat(40, 1, 1, 1)).any(1)
    touched = changed.flatten(1).any(1)
    assert 0.4 < touched.float().mean() < 0.6
    for area in changed[touched]:
        rows, columns = area.any(1).nonzero(), area.any(0).nonzero()
        box = area[rows.min():rows.max() + 1, columns.min():columns.max() + 1]
        assert box.all() and area.float().mean() <= 0.4


def test_mixup_mixes_pixels_and_probabilities_by_one_share(images, targets, generator):
    mixture, probabilities = mixed(images, targets, 0.8, 0.0, generator)
    share = probabilities[0, 0]
    assert 0 < share < 1
    torch.testing.assert_close(mixture, share * images + (1 - share) * images.flip(0))
    torch.testing.assert_close(probabilities, share * targets + (1 - share) * targets.flip(0))


def test_cutmix_gives_each_label_its_share_of_the_pixels(images, targets, generator):
    for _ in range(10):
        mixture, probabilities = mixed(images, targets, 0.0, 1.0, generator)
        own = (mixture == images).all(1)
        assert torch.equal((mixture == images.flip(0)).all(1), ~own)
        torch.testing.assert_close(probabilities.diagonal(), own.float().mean((1, 2)))
        torch.testing.assert_close(probabilities.sum(1), torch.ones(6))


def test_nothing_asked_for_changes_nothing(images, targets, generator):
    found = Augment()(images, targets, generator)
    assert torch.equal(found[0], images) and torch.equal(found[1], targets)


def test_the_generator_decides_everything(images, targets):
    every = Augment(flip=True, shift=2, erase=0.5, mixup=0.8, cutmix=1.0)
    first, again, other = (every(images, targets, torch.Generator().manual_seed(s))
                           for s in (5, 5, 6))
    assert all(map(torch.equal, first, again)) and not torch.equal(first[0], other[0])


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"erase must lie in \[0, 1\], got 1.5"):
        Augment(erase=1.5)
    with pytest.raises(ValueError, match="shift, mixup and cutmix must not be negative, got -1"):
        Augment(shift=-1)
