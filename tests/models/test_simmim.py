"""SimMIM's network against timm's BEiT, which has the same blocks, and against slow loops."""

import pytest
import torch
import torch.nn.functional as F
from timm.models.beit import Attention as BeitAttention

from mae_lib.models.encoder import Encoder
from mae_lib.models.masks import Mask, nothing_hidden
from mae_lib.models.patches import unpatchify
from mae_lib.models.relative import (
    RelativeAttention,
    relative_index,
    share_table,
    with_relative_positions,
)
from mae_lib.models.simmim import head_from_shuffle, masked_l1, simmim


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (4, 4)])
def test_the_index_is_that_of_a_slow_loop(grid):
    rows, cols = grid
    index = relative_index(grid)
    offsets = (2 * rows - 1) * (2 * cols - 1)
    for q in range(rows * cols):
        for k in range(rows * cols):
            down, right = q // cols - k // cols, q % cols - k % cols
            place = (down + rows - 1) * (2 * cols - 1) + right + cols - 1
            assert index[1 + q, 1 + k] == place < offsets
    assert (index[0, 1:] == offsets).all() and (index[1:, 0] == offsets + 1).all()
    assert index[0, 0] == offsets + 2


@pytest.fixture
def attention(generator):
    ours, theirs = RelativeAttention(12, 3, (2, 3)), BeitAttention(12, 3, True, window_size=(2, 3))
    torch.nn.init.normal_(ours.relative_position_bias_table)
    with torch.no_grad():
        ours.qkv.bias.normal_()[12:24] = 0
    theirs.load_state_dict(ours.state_dict() | {"q_bias": ours.qkv.bias[:12],
                                                "v_bias": ours.qkv.bias[24:]}, strict=False)
    return ours, theirs


def test_attention_agrees_with_that_of_timm(attention, generator):
    ours, theirs = attention
    x = torch.randn(2, 7, 12, generator=generator)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


def test_the_attention_matrix_is_what_mixes_the_values(attention, generator):
    ours, x = attention[0], torch.randn(2, 7, 12, generator=generator)
    A, (_, _, value) = ours.weights(x), ours.project(x)
    torch.testing.assert_close(A.sum(-1), torch.ones(2, 3, 7))
    torch.testing.assert_close(ours.proj((A @ value).transpose(1, 2).flatten(2)), ours(x))
    torch.testing.assert_close(ours(x, last=3), ours(x)[:, -3:])


def test_some_of_the_patches_are_refused(attention):
    with pytest.raises(ValueError, match="the class token and all 6 patches.*got 5 tokens"):
        attention[0](torch.zeros(1, 5, 12))


def encoder(size=32, patch=4):
    made = with_relative_positions(Encoder(size, patch, 32, 2, 4))
    for block in made.blocks:
        torch.nn.init.normal_(block.attn.relative_position_bias_table)
    return made


def test_vit_base_has_the_published_number_of_parameters():
    with torch.device("meta"):
        method = simmim(with_relative_positions(Encoder(224, 16, 768, 12, 12)))
    share_table(method.encoder)
    trained = [p for n, p in method.named_parameters() if p.requires_grad]
    key_biases, layer_scales = 12 * 768, 2 * 12 * 768  # the one only here, the other only there
    found = sum(p.numel() for p in trained) - key_biases + layer_scales
    assert found == 86_256_720


def test_counts_of_masks_are_those_of_the_paper():
    sampler = simmim(Encoder(224, 16, 32, 1, 4)).sampler
    assert sampler(2).hidden.shape == (2, 30 * 4)  # 30 of 49 units
    assert simmim(Encoder(192, 16, 32, 1, 4)).sampler(1).hidden.shape == (1, 22 * 4)


def test_a_unit_must_hold_whole_patches():
    with pytest.raises(ValueError, match=r"unit must be a multiple of the patch .*, got 6"):
        simmim(Encoder(32, 4, 32, 1, 4), unit=6)


def test_the_encoder_always_sees_all_tokens_and_none_of_the_hidden_pixels(generator):
    method = simmim(encoder(), unit=8)
    images, mask = torch.rand(2, 3, 32, 32, generator=generator), method.sample_mask(2, generator)
    shown = method.show(method.encoder, method.encoder.patches(images), mask)
    assert shown.shape == (2, 64, 32)
    every = Mask(mask.visible[:, :0], torch.arange(64).repeat(2, 1))
    one = method.predict(images, every)
    assert torch.equal(one, method.predict(torch.rand(2, 3, 32, 32, generator=generator), every))
    assert not torch.equal(one, method.predict(images, mask))
    assert torch.equal(method.predict(images, mask).gather(
        1, mask.hidden[..., None].expand(-1, -1, 48)), method.decoder(method._encode(
            method.encoder.patches(images), mask), mask))


def test_the_loss_counts_hidden_pixels_only(generator):
    prediction = torch.rand(2, 5, 48, generator=generator)
    mask = Mask(torch.zeros(2, 3).long(), torch.zeros(2, 5).long())
    count = 2 * 5 * 16
    torch.testing.assert_close(masked_l1(prediction + 0.5, prediction, mask).item(),
                               0.5 / (1 + 1e-5 / count))
    none = prediction[:, :0]
    assert masked_l1(none, none, mask) == 0


def test_the_head_in_our_order_is_the_convolution_and_the_shuffle(generator):
    weight, bias = torch.randn(48, 6, generator=generator), torch.randn(48, generator=generator)
    features = torch.randn(2, 6, 3, 5, generator=generator)
    image = F.pixel_shuffle(F.conv2d(features, weight[:, :, None, None], bias), 4)
    patches = F.linear(features.flatten(2).transpose(1, 2), head_from_shuffle(weight),
                       head_from_shuffle(bias))
    torch.testing.assert_close(unpatchify(patches, 4, (3, 5)), image, rtol=1e-5, atol=1e-5)


def test_the_read_out_without_masking_works_and_attention_comes_with_it(generator):
    method, images = simmim(encoder(), unit=8), torch.rand(2, 3, 32, 32, generator=generator)
    assert method.predict(images, nothing_hidden(2, (8, 8))).shape == (2, 64, 48)
    assert method.encoder(images, attention=[1]).attention[1].shape == (2, 4, 65, 65)
    method(images, method.sample_mask(2, generator)).backward()
    assert method.show.token.grad.abs().sum() > 0
