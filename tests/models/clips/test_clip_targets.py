import pytest
import torch

from mae_lib.models.clips.targets import ChannelNormalised, OneFrameLoss, predicted_frames
from mae_lib.models.clips.tubelets import tubelets
from mae_lib.models.encoder import IMAGENET_MEAN, IMAGENET_STD, take
from mae_lib.models.masks import random_mask
from mae_lib.models.targets import TARGETS, pixels


@pytest.mark.parametrize("frames, slices, expected", [
    (16, 8, [0, 2, 4, 6, 8, 10, 12, 15]), (8, 4, [0, 2, 4, 7]), (16, 4, [0, 5, 10, 15]),
    (4, 4, [0, 1, 2, 3]), (2, 1, [0])])
def test_the_predicted_frames_are_the_published_ones(frames, slices, expected):
    assert predicted_frames(frames, slices) == expected


@pytest.mark.parametrize("time", [1, 2, 3, 5])
def test_every_tubelet_holds_its_predicted_frame(time):
    for slices in range(1, 40):
        found = predicted_frames(slices * time, slices)
        assert [frame // time for frame in found] == list(range(slices))


def test_one_frame_is_chosen_by_its_number_in_the_clip(generator):
    """Pixels say which frame they are of."""
    clips = torch.arange(8.0)[:, None, None].expand(2, 3, 8, 8, 8)
    loss, mask = OneFrameLoss(8, (4, 2, 2), pixels), random_mask(2, (4, 4), 0.5,
                                                                 generator=generator)
    tubes = take(tubelets(clips, 2, 4), mask.hidden)
    chosen = loss.frame_of(tubes, mask.hidden)
    expected = torch.tensor([0.0, 2.0, 4.0, 7.0])[mask.hidden // 4][..., None].expand(2, 8, 48)
    assert torch.equal(chosen, expected)
    assert loss(expected, tubes, mask) == 0
    assert loss(expected + 2, tubes, mask).item() == pytest.approx(4)


@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_of_one_frame_agrees_with_a_loop(target, generator):
    clips, mask = torch.rand(2, 3, 6, 8, 8), random_mask(2, (3, 4), 0.5, generator=generator)
    tubes, prediction = tubelets(clips, 2, 4), torch.rand(2, 6, 48)
    errors = []
    for b in range(2):
        for k, n in enumerate(mask.hidden[b].tolist()):
            frame, row, col = [0, 2, 5][n // 4], n % 4 // 2 * 4, n % 2 * 4
            x = clips[b, :, frame, row:row + 4, col:col + 4].permute(1, 2, 0).flatten().double()
            if target == "normalised":
                x = (x - x.mean()) / (x.var() + 1e-6).sqrt()
            errors.append((prediction[b, k].double() - x).square().mean())
    loss = OneFrameLoss(6, (3, 2, 2), TARGETS[target])
    assert loss(prediction, take(tubes, mask.hidden), mask).item() == pytest.approx(
        torch.stack(errors).mean().item(), rel=1e-5)


def test_channels_are_normalised_one_by_one_in_pixels_from_0_to_1(generator):
    clips = torch.rand(2, 3, 4, 8, 8, generator=generator) ** 3
    mean, std = (torch.tensor(v)[:, None, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    found = ChannelNormalised(IMAGENET_STD)(tubelets((clips - mean) / std, 2, 4))
    cells = clips.double().unfold(2, 2, 2).unfold(3, 4, 4).unfold(4, 4, 4).flatten(5)
    whole = ((cells - cells.mean(-1, keepdim=True)) / (cells.std(-1, keepdim=True) + 1e-6))
    expected = whole.permute(0, 2, 3, 4, 5, 1).reshape(2, 8, -1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_nearly_flat_channels_show_where_the_constant_stands():
    """Deviation 1e-6 in pixels from 0 to 1: halved by a constant of 1e-6 outside the root."""
    wave = torch.tensor([1.0, -1.0]).repeat(16).double()
    wave *= 1e-6 / wave.std()
    std = torch.tensor([0.5, 0.25, 2.0])
    target = ChannelNormalised(std.tolist()).double()
    found = target((wave[:, None] / std.double()).flatten()[None, None]).reshape(32, 3)
    expected = (wave / 2e-6)[:, None].expand(32, 3)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_flat_tubelets_have_target_zero():
    assert not ChannelNormalised((1.0, 1.0, 1.0))(torch.ones(1, 2, 96)).any()
