import math
from functools import partial

import pytest
import timm.models.vision_transformer as timm_vit
import torch
import torch.nn.functional as F
from torch import nn

from mae_lib.models.encoder import Encoder, PatchEmbed, take
from mae_lib.models.masks import random_mask
from mae_lib.models.transformer import Attention, Block, initialise

TOY = {"size": 32, "patch": 4, "width": 32, "depth": 2, "heads": 4}


def shaken(module):
    """Every trainable parameter moved, so that no zero bias hides a mistake."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@pytest.fixture
def encoder(generator):
    return shaken(Encoder(**TOY))


@pytest.fixture
def images(generator):
    return torch.rand(2, 3, 32, 32, generator=generator)


@pytest.fixture
def mask(generator):
    return random_mask(2, (8, 8), 0.75, generator=generator)


def test_a_block_agrees_with_timm(generator):
    ours = shaken(Block(32, 4))
    theirs = timm_vit.Block(32, 4, qkv_bias=True, norm_layer=partial(nn.LayerNorm, eps=1e-6))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 17, 32)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_the_encoder_agrees_with_timm(encoder, images):
    theirs = timm_vit.VisionTransformer(img_size=32, patch_size=4, embed_dim=32, depth=2,
                                        num_heads=4, num_classes=0).eval()
    theirs.load_state_dict(encoder.state_dict())
    standardised = (images - encoder.mean[:, None, None]) / encoder.std[:, None, None]
    torch.testing.assert_close(encoder(images).tokens, theirs.forward_features(standardised),
                               rtol=1e-5, atol=1e-5)


@torch.no_grad()
def slow_attention(layer, x):
    """One query at a time, exponentials by hand, double precision."""
    tokens, width = x.shape
    size = width // layer.heads
    qkv = x.double() @ layer.qkv.weight.double().T + layer.qkv.bias.double()
    matrix = torch.zeros(layer.heads, tokens, tokens, dtype=torch.float64)
    for head in range(layer.heads):
        query = qkv[:, head * size:(head + 1) * size]
        key = qkv[:, width + head * size:width + (head + 1) * size]
        for i in range(tokens):
            scores = [math.exp(float(query[i] @ key[j]) / math.sqrt(size)) for j in range(tokens)]
            matrix[head, i] = torch.tensor(scores, dtype=torch.float64) / sum(scores)
    return matrix


def test_attention_weights_agree_with_a_loop_and_sum_to_one(generator):
    layer, x = shaken(Attention(16, 2)), torch.randn(3, 7, 16)
    weights = layer.weights(x)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 7))
    slow = torch.stack([slow_attention(layer, item) for item in x])
    torch.testing.assert_close(weights.double(), slow, rtol=1e-5, atol=1e-6)


def test_attention_weights_are_those_of_the_forward_pass(generator):
    layer, x = shaken(Attention(16, 2)), torch.randn(3, 7, 16)
    value = layer.project(x)[2]
    mixed = (layer.weights(x) @ value).transpose(1, 2).reshape(3, 7, 16)
    torch.testing.assert_close(layer(x), layer.proj(mixed), rtol=1e-5, atol=1e-5)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="heads must divide the width 32, got 5"):
        Attention(32, 5)


def test_the_patch_projection_is_the_convolution_of_the_published_weights(encoder, images):
    standardised = (images - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
        [0.229, 0.224, 0.225])[:, None, None]
    proj = encoder.patch_embed.proj
    tokens = F.conv2d(standardised, proj.weight, proj.bias, stride=4).flatten(2).mT
    torch.testing.assert_close(encoder.embed(encoder.patches(images)),
                               tokens + encoder.pos_embed[:, 1:], rtol=1e-5, atol=1e-5)


def test_positions_belong_to_patches_and_not_to_places_in_the_sequence(encoder, images, mask):
    patches = encoder.patches(images)
    every = encoder.embed(patches)
    kept = torch.stack([every[b, mask.visible[b]] for b in range(2)])
    torch.testing.assert_close(encoder.embed(patches, mask.visible), kept, rtol=1e-6, atol=1e-6)


def test_hidden_pixels_do_not_reach_the_latent(encoder, images, mask):
    hidden = mask.binary().reshape(2, 1, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    other = torch.where(hidden.bool(), torch.rand_like(images), images)
    assert not torch.equal(images, other)
    assert torch.equal(encoder(images, mask.visible).tokens, encoder(other, mask.visible).tokens)


def test_hidden_pixels_get_exactly_no_gradient_and_visible_ones_do(encoder, images, mask):
    images.requires_grad_()
    encoder(images, mask.visible).tokens.square().sum().backward()
    gradient = images.grad.unfold(2, 4, 4).unfold(3, 4, 4).abs().amax((1, 4, 5)).flatten(1)
    assert torch.equal(take(gradient[..., None], mask.hidden), torch.zeros(2, 48, 1))
    assert take(gradient[..., None], mask.visible).min() > 0


def test_all_patches_in_order_are_the_default(encoder, images):
    every = torch.arange(64).expand(2, 64)
    torch.testing.assert_close(encoder(images, every).tokens, encoder(images).tokens,
                               rtol=1e-5, atol=1e-5)


def test_the_order_of_visible_patches_only_orders_the_output(encoder, images, mask):
    order = torch.randperm(16)
    straight, shuffled = encoder(images, mask.visible), encoder(images, mask.visible[:, order])
    torch.testing.assert_close(shuffled.patches, straight.patches[:, order], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(shuffled.cls, straight.cls, rtol=1e-5, atol=1e-5)


def test_intermediates_come_by_name_and_only_on_request(encoder, images, mask):
    plain = encoder(images, mask.visible)
    assert plain.blocks == {} and plain.attention == {}
    asked = encoder(images, mask.visible, blocks=[0, 1], attention=[1])
    assert torch.equal(asked.tokens, plain.tokens)
    assert sorted(asked.blocks) == [0, 1] and sorted(asked.attention) == [1]
    assert asked.attention[1].shape == (2, 4, 17, 17)
    assert torch.equal(encoder.norm(asked.blocks[1]), asked.tokens)  # the stream before the norm
    assert torch.equal(encoder.blocks[1](asked.blocks[0]), asked.blocks[1])
    block = encoder.blocks[1]
    slow = slow_attention(block.attn, block.norm1(asked.blocks[0])[0])
    torch.testing.assert_close(asked.attention[1][0].double(), slow, rtol=1e-4, atol=1e-5)


def test_shapes_with_and_without_a_class_token(images, mask):
    latent = Encoder(**TOY)(images, mask.visible)
    assert latent.cls.shape == (2, 32) and latent.patches.shape == (2, 16, 32)
    assert latent.tokens.shape == (2, 17, 32)
    without = Encoder(**TOY, class_token=False)(images, mask.visible)
    assert without.cls is None and without.tokens.shape == (2, 16, 32)


def test_images_need_not_be_square():
    encoder = Encoder((8, 16), 4, 16, 1, 2)
    assert encoder.grid == (2, 4)
    assert encoder(torch.rand(1, 3, 8, 16)).patches.shape == (1, 8, 16)


def test_standardisation_travels_with_the_encoder(images):
    encoder = Encoder(**TOY, mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0))
    patches = encoder.patches(torch.ones(1, 3, 32, 32)).reshape(-1, 3)
    assert torch.equal(patches, torch.tensor([1.0, 0.75, 0.5]).expand(64 * 16, 3))


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 3, 32, 28), (3, 32, 32)])
def test_images_of_another_shape_are_refused(encoder, shape):
    with pytest.raises(ValueError, match=r"images must have shape \[B,3,32,32\], got \["):
        encoder(torch.rand(shape))


def test_integer_images_are_refused(encoder):
    with pytest.raises(TypeError, match="images must be floating point .* got torch.uint8"):
        encoder(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize("options", [{"mean": (0.5,)}, {"std": (0.5, 0.5)}, {"std": (1, 1, 0)}])
def test_a_standardisation_that_makes_no_sense_is_refused(options):
    with pytest.raises(ValueError, match="mean and std must hold three numbers each"):
        Encoder(**TOY, **options)


def test_weights_start_uniform_in_the_bounds_of_the_release(generator):
    """Xavier bounds of ViT-B: the fused attention matrix counts as one layer."""
    block, embed = Block(768, 12), PatchEmbed(16, 768)
    block.apply(initialise)
    embed.apply(initialise)
    bounds = [(0.044194, block.attn.qkv.weight), (0.0625, block.attn.proj.weight),
              (math.sqrt(6 / (768 + 3072)), block.mlp.fc1.weight),
              (0.0625, embed.proj.weight), (1 / math.sqrt(768), embed.proj.bias)]
    for bound, tensor in bounds:
        assert 0.98 * bound < tensor.abs().max() < 1.0001 * bound
        assert tensor.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.08)
    for name, tensor in block.named_parameters():
        if name.endswith("bias"):
            assert not tensor.any(), name
    assert torch.equal(block.norm1.weight, torch.ones(768))


def test_class_tokens_start_normal_with_deviation_two_percent(generator):
    token = Encoder(4, 4, 4096, 0, 16).cls_token
    assert token.std().item() == pytest.approx(0.02, rel=0.05)
    assert abs(token.mean().item()) < 4 * 0.02 / 64


def test_a_map_without_bias_is_initialised():
    layer = torch.nn.Linear(8, 8, bias=False)
    layer.apply(initialise)
    assert layer.weight.abs().max() <= (6 / 16) ** 0.5
