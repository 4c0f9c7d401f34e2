"""The stem against convolutions done by hand, its receptive field, and what hides a pixel."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F

from mae_lib.models.encoder import take
from mae_lib.models.masks import random_mask
from mae_lib.models.methods import drop_hidden
from mae_lib.models.patches import patchify
from mae_lib.models.worlds.presets import WORLDS
from mae_lib.models.worlds.stem import (
    PADDINGS,
    Stem,
    hidden_probability,
    mask_features,
    seen_rows,
    sight,
    world_encoder,
)

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
TOY = WORLDS["toy"] | {"size": 64}


def open_stem(padding="zeros", width=16, grid=(8, 8)):
    """A stem whose weights are all positive, so that on positive input no ReLU closes."""
    stem = Stem(width, grid, padding).double()
    for p in stem.parameters():
        p.data.abs_().add_(0.01)
    return stem


def encoder(stem):
    torch.manual_seed(0)
    return world_encoder(TOY, MEAN, STD, stem=stem)


@pytest.mark.parametrize("padding, mode", [("zeros", "constant"), ("reflect", "reflect"),
                                           ("replicate", "replicate")])
def test_tokens_are_those_of_padded_convolutions(padding, mode, generator):
    stem = Stem(16, (3, 4), padding).double()
    images = x = torch.randn(2, 3, 24, 32, generator=generator, dtype=torch.float64)
    for layer in stem.layers:
        windows = F.pad(x, (1, 1, 1, 1), mode).unfold(2, 4, 2).unfold(3, 4, 2)
        x = torch.einsum("bchwij,ocij->bohw", windows, layer.weight)
        x = (x + layer.bias[:, None, None]).clamp(min=0)
    expected = torch.einsum("bchw,oc->bhwo", x, stem.proj.weight[..., 0, 0]) + stem.proj.bias
    found = stem(patchify(images, 8))
    assert found.shape == (2, 12, 16) and [layer.out_channels for layer in stem.layers] == [2, 4, 8]
    torch.testing.assert_close(found, expected.flatten(1, 2), rtol=1e-10, atol=1e-10)


def test_weights_begin_as_keras_draws_them():
    """Glorot: the bound counts all weights of a kernel into and out of a channel; biases zero."""
    stem = Stem(256, (8, 8))
    for layer, (below, above) in zip((*stem.layers, stem.proj),
                                     itertools.pairwise((3, 32, 64, 128, 256)), strict=True):
        bound = math.sqrt(6 / (layer.kernel_size[0] ** 2 * (below + above)))
        assert 0.98 * bound < layer.weight.abs().max() <= bound and not layer.bias.any()


@pytest.mark.parametrize("padding", PADDINGS)
def test_a_token_sees_rows_8i_minus_7_to_8i_plus_14(padding):
    """O6.1, by gradient; the grid is 8x8."""
    stem = open_stem(padding)
    images = torch.rand(1, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    tokens = stem(patchify(images, 8))
    assert tokens.shape == (1, 64, 16)
    for row, col in [(0, 0), (0, 7), (3, 4), (6, 1), (7, 7)]:
        gradient, = torch.autograd.grad(tokens[0, 8 * row + col].sum(), images, retain_graph=True)
        expected = torch.zeros(64, 64, dtype=torch.bool)
        expected[max(0, 8 * row - 7):8 * row + 15, max(0, 8 * col - 7):8 * col + 15] = True
        assert torch.equal((gradient[0] != 0).all(0), expected)
        assert torch.equal((gradient[0] != 0).any(0), expected)
        assert seen_rows(row) == (8 * row - 7, 8 * row + 14)
        assert torch.equal(sight(8)[row, :, None] & sight(8)[col], expected)


def test_the_field_is_that_of_layers_on_layers():
    for token in range(5):
        rows = {token}
        for _ in range(3):
            rows = {r for i in rows for r in range(2 * i - 1, 2 * i + 3)}
        assert seen_rows(token) == (min(rows), max(rows)) and len(rows) == 22


def test_two_or_three_tokens_of_an_axis_see_a_pixel():
    counts = sight(8).sum(0)
    inner = counts[8:56].unflatten(0, (-1, 8))
    assert (inner == torch.tensor([2, 3, 3, 3, 3, 3, 3, 2])).all()
    assert counts[:8].tolist() == [1] + 7 * [2] and counts[56:].tolist() == 7 * [2] + [1]
    assert torch.equal(sight(3, 4, stem=False), torch.eye(3).repeat_interleave(4, 1).bool())


@pytest.mark.parametrize("stem, touched", [(True, 9), (False, 1)])
def test_a_changed_cell_alters_up_to_nine_tokens(stem, touched):
    """O6.7; one with a patch projection."""
    network = encoder(stem)
    if stem:
        network.patch_embed = open_stem(width=32).float()
    images = torch.rand(1, 3, 64, 64)
    other = images.clone()
    other[:, :, 24:32, 40:48] = 1 - images[:, :, 24:32, 40:48]
    before, after = (network.embed(network.patches(x) + 3) for x in (images, other))
    changed = (before - after).abs().amax(2).unflatten(1, (8, 8))[0] > 1e-6
    expected = torch.zeros(8, 8, dtype=torch.bool)
    reach = 1 if stem else 0
    expected[3 - reach:4 + reach, 5 - reach:6 + reach] = True
    assert torch.equal(changed, expected) and changed.sum() == touched


@pytest.mark.parametrize("stem", [True, False])
def test_kept_tokens_know_of_dropped_cells_only_with_a_stem(stem, generator):
    """S-30: the gradient of what the encoder is shown with respect to pixels of dropped cells."""
    network = encoder(stem)
    images = torch.rand(2, 3, 64, 64, generator=generator, requires_grad=True)
    mask = random_mask(2, (8, 8), 0.75, generator=generator)
    shown = mask_features(network, network.patches(images), mask)
    assert shown.shape == (2, 16, 32)
    (shown * torch.randn(shown.shape, generator=generator)).sum().backward()
    cells = patchify(images.grad, 8).abs().amax(2)
    assert (cells.gather(1, mask.visible) > 0).all()
    assert (cells.gather(1, mask.hidden) > 0).any() == stem
    if stem:  # of those that lie next to a kept cell, every one
        near = F.max_pool2d(1 - mask.binary().unflatten(1, (8, 8)), 3, 1, 1).flatten(1)
        assert torch.equal(cells > 0, near > 0)


def test_positions_are_added_before_tokens_are_dropped(generator):
    network = encoder(True)
    images = torch.rand(2, 3, 64, 64, generator=generator)
    patches, mask = network.patches(images), random_mask(2, (8, 8), 0.5, generator=generator)
    tokens = network.patch_embed(patches) + network.pos_embed[:, 1:]
    rows = [tokens[b, mask.visible[b]] for b in range(2)]
    assert torch.equal(mask_features(network, patches, mask), torch.stack(rows))


def test_with_a_patch_projection_it_is_maes_masking(generator):
    network = encoder(False)
    images = torch.rand(2, 3, 64, 64, generator=generator)
    patches, mask = network.patches(images), random_mask(2, (8, 8), 0.75, generator=generator)
    torch.testing.assert_close(mask_features(network, patches, mask),
                               drop_hidden(network, patches, mask))


def test_frozen_features_are_those_of_the_whole_image(generator):
    network = encoder(True)
    images = torch.rand(2, 3, 64, 64, generator=generator)
    every = torch.arange(64).expand(2, -1)
    shown = take(network.embed(network.patches(images)), every)
    assert torch.equal(network(images).tokens, network.encode(shown).tokens)
    with pytest.raises(ValueError, match="patches must be all 64 of an image, .* got 16; mask its"):
        network(images, every[:, :16])


def test_the_border_shows_with_zeros_only():
    """Of a picture of one colour all tokens are alike with the other paddings."""
    flat = torch.full((1, 64, 192), 0.7, dtype=torch.float64)
    for padding in PADDINGS:
        tokens = open_stem(padding)(flat)[0].unflatten(0, (8, 8))
        torch.testing.assert_close(tokens[1:-1, 1:-1], tokens[1:2, 1:2].expand(6, 6, -1))
        alike = torch.isclose(tokens, tokens[3, 3]).all(2)
        assert alike.all() == (padding != "zeros") and alike[1:-1, 1:-1].all()


@pytest.mark.parametrize("tokens, hidden, seeing", [(6, 4, 3), (6, 4, 0), (6, 0, 1), (6, 2, 3),
                                                    (8, 6, 4), (5, 5, 5)])
def test_hidden_probabilities_by_listing_all_masks(tokens, hidden, seeing):
    masks = list(itertools.combinations(range(tokens), hidden))
    good = sum(set(range(seeing)) <= set(mask) for mask in masks)
    assert hidden_probability(tokens, hidden, seeing) == Fraction(good, len(masks))


def test_hidden_probabilities_of_the_specification():
    """O6.2: 64 tokens of which 48 are hidden."""
    for seeing, printed in {1: "0.7500", 4: "0.3062", 9: "0.0609"}.items():
        expected = Fraction(math.comb(64 - seeing, 48 - seeing), math.comb(64, 48))
        assert hidden_probability(64, 48, seeing) == expected
        assert f"{float(expected):.4f}" == printed


def test_hidden_probabilities_by_drawing_masks(generator):
    """Of every pixel of one axis, with all of the other's tokens in its column."""
    hidden = random_mask(20_000, (8, 8), 0.75, generator=generator).binary().unflatten(1, (8, 8))
    rows = sight(8)
    for y, x in [(0, 0), (0, 20), (7, 8), (16, 24), (20, 20), (63, 40)]:
        seers = rows[:, y, None] & rows[:, x]
        share = hidden[:, seers].all(1).float().mean().item()
        p = float(hidden_probability(64, 48, int(seers.sum())))
        assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 20_000)


@pytest.mark.parametrize("arguments, message", [
    ((4, 5, 1), r"hidden must lie in 0\.\.4, the number of tokens, got 5"),
    ((4, -1, 1), r"hidden must lie in 0\.\.4, the number of tokens, got -1"),
    ((4, 2, 5), r"seeing must lie in 0\.\.4, the number of tokens, got 5")])
def test_counts_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        hidden_probability(*arguments)


@pytest.mark.parametrize("changes, options, message", [
    ({"width": 36}, {}, "width must be a multiple of 8 for the stem, got 36"),
    ({"patch": 4}, {}, "patch must be 8, the stride of the stem, got 4"),
    ({}, {"padding": "circular"}, "padding must be one of zeros, .* got 'circular'"),
    ({}, {"padding": "same", "stem": False}, "padding must be one of zeros, .* got 'same'")])
def test_what_has_no_stem_is_refused(changes, options, message):
    with pytest.raises(ValueError, match=message):
        world_encoder(TOY | changes, MEAN, STD, **options)


def test_the_stem_itself_refuses_a_padding_that_is_none():
    with pytest.raises(ValueError, match="padding must be one of zeros, reflect, replicate, got 7"):
        Stem(16, (8, 8), 7)
