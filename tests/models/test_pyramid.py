"""The backbone of a detector against timm, slow loops and the sizes that the papers state."""

import pytest
import timm.models.vision_transformer as timm_vit
import torch
from timm.layers import resample_abs_pos_embed
from torch import nn

from mae_lib.models.encoder import Encoder
from mae_lib.models.pyramid import (
    ViTPyramid,
    at_size,
    interpolate_positions,
    resizer,
    taps_of,
)

TOY = {"width": 16, "depth": 4, "heads": 2}


def toy(size=32, patch=4, **changes):
    return Encoder(size, patch, **TOY | changes).eval()


@pytest.mark.parametrize("patch", [8, 16, 32])
def test_strides_are_4_to_32_whatever_the_patch(patch):
    maps = ViTPyramid(toy(64, patch), 128, out_channels=8)(torch.rand(2, 3, 128, 128))
    assert [(name, *x.shape) for name, x in maps.items()] == [
        (name, 2, 8, side, side)
        for name, side in [("0", 32), ("1", 16), ("2", 8), ("3", 4), ("pool", 2)]]


def test_a_small_patch_is_not_enlarged():
    pyramid = ViTPyramid(toy(), 64, out_channels=8)
    assert [x.shape[-1] for x in pyramid(torch.rand(1, 3, 64, 64)).values()] == [16, 8, 4, 2, 1]
    assert isinstance(pyramid.resize[0], nn.Identity)


def test_taps_of_vit_base_follow_its_blocks_3_6_9_and_12():
    assert taps_of(12) == (2, 5, 8, 11) and taps_of(4) == (0, 1, 2, 3)


def test_a_shallow_encoder_has_taps_twice():
    assert taps_of(2) == (0, 0, 1, 1) and taps_of(6) == (1, 2, 4, 5)
    maps = ViTPyramid(toy(depth=2), 64, out_channels=8)(torch.rand(1, 3, 64, 64))
    assert maps["0"].shape == (1, 8, 16, 16)


@torch.no_grad()
def test_the_taps_are_those_of_timm_at_a_new_image_size(generator):
    encoder, images = toy(), torch.rand(2, 3, 64, 64, generator=generator)
    for parameter in encoder.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    theirs = timm_vit.VisionTransformer(32, 4, embed_dim=16, depth=4, num_heads=2, num_classes=0,
                                        dynamic_img_size=True).eval()
    theirs.load_state_dict(encoder.state_dict())
    standardised = (images - encoder.mean[:, None, None]) / encoder.std[:, None, None]
    expected = theirs.forward_intermediates(standardised, indices=[0, 1, 2, 3],
                                            output_fmt="NCHW", intermediates_only=True)
    pyramid = ViTPyramid(encoder, 64, out_channels=8)
    blocks = pyramid.encoder(images, blocks=pyramid.taps).blocks
    for i, tap in enumerate(expected):
        torch.testing.assert_close(pyramid._map(blocks[i]), tap, rtol=1e-4, atol=1e-4)


def test_positions_are_interpolated_as_timm_does(generator):
    table = torch.randn(1, 1 + 6 * 4, 8, generator=generator)
    found = interpolate_positions(table, (6, 4), (9, 16))
    expected = resample_abs_pos_embed(table, (9, 16), (6, 4), num_prefix_tokens=1)
    torch.testing.assert_close(found, expected)
    assert torch.equal(found[:, 0], table[:, 0])
    bare = interpolate_positions(table[:, 1:], (6, 4), (9, 16))
    torch.testing.assert_close(bare, expected[:, 1:])


def test_at_its_own_size_an_encoder_stays_what_it_was():
    encoder, images = toy(), torch.rand(2, 3, 32, 32)
    assert torch.equal(at_size(encoder, 32)(images).tokens, encoder(images).tokens)
    assert at_size(encoder, 64).grid == (16, 16) and encoder.grid == (8, 8)


def test_an_encoder_without_a_class_token_will_do():
    pyramid = ViTPyramid(toy(class_token=False), 64, out_channels=8)
    assert pyramid(torch.rand(1, 3, 64, 64))["0"].shape == (1, 8, 16, 16)


def test_coarser_maps_hold_the_largest_value_of_their_cells(generator):
    x = torch.randn(1, 3, 8, 8, generator=generator)
    found = resizer(3, 4, 16)(x)
    for i in range(2):
        for j in range(2):
            cell = x[0, :, 4 * i:4 * i + 4, 4 * j:4 * j + 4]
            assert torch.equal(found[0, :, i, j], cell.amax((1, 2)))


def test_finer_maps_are_learned_two_by_two_with_a_norm_in_between():
    names = [type(layer).__name__ for layer in resizer(8, 32, 4)]
    up, between = "ConvTranspose2d", ["LayerNorm2d", "GELU"]
    assert names == [up, *between, up, *between, up]
    x = torch.randn(1, 8, 3, 3)
    layer = resizer(8, 8, 4)[0]
    for i, j in ((0, 0), (2, 1)):  # every cell becomes four, by one linear map each
        cell = torch.einsum("c,cdhw->dhw", x[0, :, i, j], layer.weight) + layer.bias[:, None, None]
        torch.testing.assert_close(layer(x)[0, :, 2 * i:2 * i + 2, 2 * j:2 * j + 2], cell)


def test_gradients_reach_every_weight_and_the_given_encoder_stays_as_it_is():
    encoder = toy()
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    pyramid = ViTPyramid(encoder, 64, out_channels=8)
    sum(x.square().mean() for x in pyramid(torch.rand(2, 3, 64, 64)).values()).backward()
    assert [name for name, p in pyramid.named_parameters() if not p.grad.abs().sum() > 0] == []
    torch.optim.SGD(pyramid.parameters(), 1.0).step()
    assert all(torch.equal(w, before[name]) for name, w in encoder.state_dict().items())
    assert all(p.grad is None for p in encoder.parameters())
    assert not encoder.pos_embed.requires_grad


@pytest.mark.parametrize(("arguments", "message"), [
    ({"strides": (4, 8, 16, 24)}, "strides must be the patch 4 times a power of two, got 24"),
    ({"strides": (0, 8, 16, 32)}, "strides must be the patch 4 times a power of two, got 0"),
    ({"size": 48}, "size must be a multiple of 32, got 48"),
])
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ViTPyramid(toy(), **{"size": 96, "out_channels": 8} | arguments)
