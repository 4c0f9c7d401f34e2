import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mae_lib.models.clips.positions import SeparablePositions, SinusoidPositions
from mae_lib.models.clips.tubelets import TubeletEmbed, clip_grid, tubelets, untubelets
from mae_lib.models.encoder import PatchEmbed
from mae_lib.models.patches import patchify, sincos_2d


def slow_tubelets(clips, time, patch):
    """One tubelet after another, in the order (time, row, column)."""
    batch, _, frames, height, width = clips.shape
    vectors = []
    for t, y, x in itertools.product(range(0, frames, time), range(0, height, patch),
                                     range(0, width, patch)):
        piece = clips[:, :, t:t + time, y:y + patch, x:x + patch]
        vectors.append(torch.stack([piece[:, c] for c in range(3)], dim=-1).reshape(batch, -1))
    return torch.stack(vectors, dim=1)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3),
       st.integers(1, 4))
def test_tubelets_agree_with_a_loop_and_are_put_back_exactly(slices, rows, cols, time, patch):
    clips = torch.rand(2, 3, slices * time, rows * patch, cols * patch,
                       generator=torch.Generator().manual_seed(0))
    cut = tubelets(clips, time, patch)
    assert torch.equal(cut, slow_tubelets(clips, time, patch))
    assert torch.equal(untubelets(cut, time, patch, (slices, rows, cols)), clips)


def test_a_clip_of_one_frame_is_cut_as_an_image_is():
    image = torch.rand(2, 3, 8, 12)
    assert torch.equal(tubelets(image[:, :, None], 1, 4), patchify(image, 4))


def test_the_papers_clip_has_1568_tubelets():
    assert clip_grid(16, 224, 2, 16) == (8, 14, 14)
    assert clip_grid(8, (32, 16), 2, 4) == (4, 8, 4)


BAD = [((1, 32, 2, 4), "frames must be at least the 2 of a tubelet, got 1"),
       ((7, 32, 2, 4), "time must divide the frames of a clip, got tubelets of 2 for 7 frames"),
       ((8, 32, 0, 4), "time must divide the frames of a clip, got tubelets of 0 for 8 frames"),
       ((8, 30, 2, 4), "patch must divide the image side, got patch 4 for 30x30 pixels")]


@pytest.mark.parametrize("sizes, message", BAD)
def test_clips_that_do_not_divide_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        clip_grid(*sizes)


@pytest.mark.parametrize("shape", [(1, 7, 24), (1, 8, 25)])
def test_vectors_that_do_not_fit_the_grid_are_refused(shape):
    with pytest.raises(ValueError, match=r"vectors must have shape \[B,8,8\*C\], got"):
        untubelets(torch.zeros(shape), 2, 2, (2, 2, 2))


def test_the_embedding_is_the_convolution_of_the_published_weights(generator):
    embed, clips = TubeletEmbed(2, 4, 16), torch.rand(2, 3, 6, 8, 12, generator=generator)
    expected = F.conv3d(clips, embed.proj.weight, embed.proj.bias, stride=(2, 4, 4))
    torch.testing.assert_close(embed(tubelets(clips, 2, 4)), expected.flatten(2).mT,
                               rtol=1e-5, atol=1e-5)


def test_an_inflated_kernel_embeds_a_still_clip_as_the_image(generator):
    flat, deep = PatchEmbed(4, 16), TubeletEmbed(2, 4, 16)
    deep.proj.weight.data = flat.proj.weight.data[:, :, None].repeat(1, 1, 2, 1, 1) / 2
    deep.proj.bias.data = flat.proj.bias.data
    image = torch.rand(2, 3, 8, 8, generator=generator)
    still = deep(tubelets(image[:, :, None].repeat(1, 1, 6, 1, 1), 2, 4))
    torch.testing.assert_close(still, flat(patchify(image, 4)).repeat(1, 3, 1), rtol=1e-5,
                               atol=1e-5)


def test_separable_positions_are_sums_of_place_and_time(generator):
    positions = SeparablePositions(8, (3, 2, 2))
    table = positions()
    assert table.shape == (1, 13, 8) and torch.equal(table[:, :1], positions.cls)
    for t, s in itertools.product(range(3), range(4)):
        assert torch.equal(table[0, 1 + 4 * t + s], positions.time[0, t] + positions.space[0, s])
    apart = table[0, 1:].reshape(3, 4, 8)
    torch.testing.assert_close((apart[:, :1] - apart)[0], (apart[:, :1] - apart)[2])


@pytest.mark.parametrize("name, row, changed", [("space", 2, [2, 6, 10]),
                                                ("time", 1, [4, 5, 6, 7])])
def test_one_entry_of_place_or_time_moves_its_row_or_slice_alone(name, row, changed):
    positions = SeparablePositions(8, (3, 2, 2), class_token=False)
    before = positions().detach().clone()
    getattr(positions, name).data[0, row, 5] += 1
    moved = (positions() - before).detach()[0]
    assert moved.abs().amax(1).nonzero().flatten().tolist() == changed
    torch.testing.assert_close(moved[changed], torch.eye(8)[5].expand(len(changed), 8))


def test_separable_positions_start_normal_with_deviation_two_percent(generator):
    positions = SeparablePositions(512, (4, 8, 8))
    for table in (positions.space, positions.time, positions.cls):
        assert table.std().item() == pytest.approx(0.02, rel=0.1)


def test_a_sinusoid_counts_tubelets_and_interleaves():
    table = SinusoidPositions(8, (3, 2, 2))()
    n, k = torch.arange(12.0, dtype=torch.float64)[:, None], torch.arange(4)
    angle = n / 10000 ** (2 * k / 8)
    expected = torch.stack([angle.sin(), angle.cos()], dim=2).reshape(12, 8)
    torch.testing.assert_close(table[0].double(), expected, rtol=0, atol=1e-7)
    assert not torch.equal(table[0, 1], table[0, 5])  # the next slice's place is another number


def test_a_sinusoid_is_no_weight_and_an_odd_width_is_refused():
    positions = SinusoidPositions(8, (1, 2, 2))
    assert list(positions.parameters()) == [] and positions.state_dict() == {}
    with pytest.raises(ValueError, match="width must be even for sinusoids, got 7"):
        SinusoidPositions(7, (1, 2, 2))


def test_separable_positions_can_be_those_of_images():
    positions = SeparablePositions(8, (1, 2, 3))
    positions.space.data = sincos_2d(8, (2, 3), class_token=False)
    positions.time.data.zero_()
    positions.cls.data.zero_()
    assert torch.equal(positions(), sincos_2d(8, (2, 3)))
