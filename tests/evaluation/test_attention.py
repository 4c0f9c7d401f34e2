"""Attention maps against timm, the blocks themselves, closed forms and loops."""

import itertools
import math

import pytest
import timm.models.vision_transformer as timm_vit
import torch
from torch import nn

from mae_lib.evaluation.attention import (
    attention_distance,
    attention_maps,
    cls_map,
    mass_threshold,
    mean_map,
    token_map,
    token_maps,
)
from mae_lib.models.encoder import Encoder

TOY = {"size": 32, "patch": 4, "width": 32, "depth": 2, "heads": 4}
GRID = (8, 8)


@pytest.fixture
def encoder(generator):
    """With parameters far enough from their start that attention is not even."""
    made = Encoder(**TOY).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


@pytest.fixture
def images(generator):
    return torch.rand(3, 3, 32, 32, generator=generator)


def random_attention(generator, batch=2, heads=3, grid=GRID, prefix=1):
    tokens = grid[0] * grid[1] + prefix
    logits = torch.randn(batch, heads, tokens, tokens, generator=generator, dtype=torch.float64)
    return (2 * logits).softmax(-1)


def even(grid, prefix=1):
    tokens = grid[0] * grid[1] + prefix
    return torch.full((1, 1, tokens, tokens), 1 / tokens, dtype=torch.float64)


# The matrices


def test_rows_sum_to_one_and_blocks_count_from_either_end(encoder, images):
    A = attention_maps(encoder, images, (-1, 0, 1))
    assert list(A) == [-1, 0, 1] and A[0].shape == (3, 4, 65, 65)
    assert torch.equal(A[-1], A[1]) and not torch.equal(A[0], A[1])
    torch.testing.assert_close(A[0].sum(-1), torch.ones(3, 4, 65))
    assert A[0].std() > 1e-3  # else even attention would pass all that follows


@torch.no_grad()
def test_attention_times_values_gives_what_the_block_adds(encoder, images):
    A = attention_maps(encoder, images, (0, 1))
    x = encoder._prepend_class(encoder.embed(encoder.patches(images)))
    for i, block in enumerate(encoder.blocks):
        value = block.attn.project(block.norm1(x))[2]
        mixed = (A[i] @ value).transpose(1, 2).flatten(2)
        added = block.attn.proj(mixed)
        torch.testing.assert_close(added, block.attn(block.norm1(x)), rtol=1e-5, atol=1e-5)
        x = x + added
        x = x + block.mlp(block.norm2(x))
    torch.testing.assert_close(encoder.norm(x), encoder(images).tokens, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_attention_is_that_of_timm_with_the_same_weights(encoder, images):
    theirs = timm_vit.VisionTransformer(img_size=32, patch_size=4, embed_dim=32, depth=2,
                                        num_heads=4, num_classes=0).eval()
    theirs.load_state_dict(encoder.state_dict())
    found = []
    for block in theirs.blocks:
        block.attn.fused_attn = False  # only then do its weights pass through a layer
        block.attn.attn_drop = nn.Identity()
        block.attn.attn_drop.register_forward_hook(lambda *call: found.append(call[2]))
    theirs((images - encoder.mean[:, None, None]) / encoder.std[:, None, None])
    ours = attention_maps(encoder, images, (0, 1))
    for i, matrix in enumerate(found):
        torch.testing.assert_close(ours[i], matrix, rtol=1e-5, atol=1e-6)


def test_looking_does_not_change_the_model_or_keep_gradients(encoder, images):
    before = encoder(images).tokens
    A = attention_maps(encoder, images)[-1]
    assert torch.equal(encoder(images).tokens, before) and not A.requires_grad


def test_renaming_the_tokens_renames_the_maps(encoder, images, generator):
    x = torch.randn(2, 65, 32, generator=generator)
    order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(64)])
    attention = encoder.blocks[0].attn
    A, B = attention.weights(x), attention.weights(x[:, order])
    torch.testing.assert_close(B, A[:, :, order][..., order])
    torch.testing.assert_close(cls_map(B, GRID).flatten(1),
                               cls_map(A, GRID).flatten(1)[:, order[1:] - 1])


# The maps


def test_maps_are_the_rows_and_columns_they_claim_to_be(generator):
    A, token = random_attention(generator), torch.tensor([5, 60])
    for b, h, (i, j) in itertools.product(range(2), range(3), [(0, 0), (3, 7), (7, 2)]):
        cell = 1 + 8 * i + j
        assert cls_map(A, GRID, h)[b, i, j] == A[b, h, 0, cell]
        assert cls_map(A, GRID, "all")[b, h, i, j] == A[b, h, 0, cell]
        assert token_map(A, token, GRID)[b, i, j] == A[b, 0, 1 + token[b], cell]
        assert token_map(A, token, GRID, "all")[b, h, i, j] == A[b, h, 1 + token[b], cell]
        assert token_maps(A, GRID)[b, h, 9, i, j] == A[b, h, 10, cell]
        mean = A[b, :, 0, cell].mean()
        assert cls_map(A, GRID)[b, i, j] == pytest.approx(mean)
        assert token_map(A, token, GRID, "mean")[b, i, j] == pytest.approx(
            A[b, :, 1 + token[b], cell].mean())
        assert mean_map(A, GRID)[b, i, j] == pytest.approx(A[b, :, 1:, cell].mean())


def test_maps_of_an_encoder_without_a_class_token_are_of_patches_only(generator):
    A = random_attention(generator, prefix=0)
    assert torch.equal(token_maps(A, GRID).flatten(-2), A)
    with pytest.raises(ValueError, match="A must have a class token"):
        cls_map(A, GRID)


# The threshold


def test_the_threshold_keeps_the_smallest_top_set_with_that_mass(generator):
    maps = torch.rand(50, 7, 5, generator=generator, dtype=torch.float64) ** 3
    for keep in (0.1, 0.6, 0.95):
        for a, kept in zip(maps, mass_threshold(maps, keep), strict=True):
            mass = a[kept].sum() / a.sum()
            assert mass >= keep > mass - a[kept].min() / a.sum()
            assert a[kept].min() >= a[~kept].max()


def test_an_even_map_keeps_its_share_of_cells_and_a_single_peak_one():
    assert abs(mass_threshold(torch.ones(14, 14)).sum() - 118) <= 1
    one_hot = torch.zeros(2, 4, 4)
    one_hot[:, 1, 2] = 0.3
    kept = mass_threshold(one_hot)
    assert torch.equal(kept, one_hot > 0) and mass_threshold(torch.ones(4, 4), keep=1).all()


# The distance


@pytest.mark.parametrize(("cells", "expected"), [
    (4, 0.5020), (7, 0.5157), (8, 0.5171), (14, 0.5201), (28, 0.5211)])
def test_even_attention_reaches_half_the_side(cells, expected):
    for prefix in (0, 1):
        found = attention_distance(even((cells, cells), prefix), (cells, cells), patch=4)
        assert found.item() / (4 * cells) == pytest.approx(expected, abs=1e-4)


def test_attention_to_oneself_reaches_nowhere_and_to_the_right_one_patch():
    eye = torch.eye(16, dtype=torch.float64)
    assert attention_distance(eye[None, None], (4, 4), 8).item() == 0
    right = eye.view(4, 4, 4, 4).roll(1, dims=3).view(16, 16)  # the last column wraps to the first
    assert attention_distance(right[None, None], (4, 4), 8).item() == pytest.approx(
        (3 * 8 + 3 * 8) / 4)


def test_distance_agrees_with_a_loop_over_pairs(generator):
    A, expected = random_attention(generator, grid=(3, 4)), torch.zeros(2, 3, dtype=torch.float64)
    for b, h, i in itertools.product(range(2), range(3), range(12)):
        row = A[b, h, 1 + i, 1:] / A[b, h, 1 + i, 1:].sum()
        away = [math.hypot(i // 4 - j // 4, i % 4 - j % 4) * 2 for j in range(12)]
        expected[b, h] += sum(float(row[j]) * away[j] for j in range(12)) / 12
    torch.testing.assert_close(attention_distance(A, (3, 4), 2), expected)


A = even(GRID)
BIASED = A + torch.eye(65) * 1e-3
ONE = torch.ones(1, 8, 8)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: cls_map(BIASED, GRID), "rows that sum to 1, got one off by 0.001"),
    (lambda: cls_map(A * float("nan"), GRID), "rows that sum to 1, got one off by nan"),
    (lambda: cls_map(A, (7, 8)), "A must have shape .* the 7x8 patches"),
    (lambda: attention_distance(A[0], GRID, 4), "A must have shape"),
    (lambda: cls_map(A, GRID, 1), r"head must be 'mean', 'all' or lie in 0..0, got 1"),
    (lambda: cls_map(A, GRID, "first"), "head must be 'mean', 'all' or lie in 0..0, got 'first'"),
    (lambda: token_map(A, torch.tensor([64]), GRID), r"1 numbers in 0..63, got \[64\]"),
    (lambda: token_map(A, torch.tensor([-1]), GRID), r"1 numbers in 0..63, got \[-1\]"),
    (lambda: token_map(A, torch.tensor([1, 2]), GRID), "token must hold 1 numbers"),
    (lambda: mass_threshold(ONE, 0), r"keep must lie in \(0, 1\], got 0"),
    (lambda: mass_threshold(ONE, 1.1), r"keep must lie in \(0, 1\], got 1.1"),
    (lambda: mass_threshold(-ONE), "a must hold finite attention"),
    (lambda: mass_threshold(ONE * 0), "a must hold finite attention"),
    (lambda: mass_threshold(ONE / 0), "a must hold finite attention"),
    (lambda: attention_maps(Encoder(**TOY), torch.zeros(1, 3, 32, 32), (2,)),
     r"blocks must lie in -2..1, got 2"),
    (lambda: attention_maps(Encoder(**TOY), torch.zeros(1, 3, 32, 28)), "images must have shape"),
    (lambda: attention_maps(Encoder(**TOY), torch.full((1, 3, 32, 32), 2.0)), "must lie in")])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_integer_images_are_refused():
    with pytest.raises(TypeError, match="images must be floats"):
        attention_maps(Encoder(**TOY), torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
