"""MWM's autoencoder: sizes, tokens, loss and reward."""

import math

import pytest
import torch

from mae_lib.models.decoder import Decoder
from mae_lib.models.losses import masked_mse
from mae_lib.models.masks import nothing_hidden
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.models.patches import sincos_2d
from mae_lib.models.targets import TARGETS
from mae_lib.models.worlds.autoencoder import (
    Rewarded,
    cropped_positions,
    mwm,
    symexp,
    symlog,
)
from mae_lib.models.worlds.stem import PADDINGS, mask_features

POINTS = torch.tensor([0.0, -3.0, 400.0])


def trained(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def shaken(**options):
    """The toy with every trainable parameter moved: 16 tokens, 4 of them visible."""
    method = mwm("toy", **{"seed": 0} | options)
    torch.manual_seed(0)
    for p in method.parameters():
        if p.requires_grad:
            p.data.add_(0.05 * torch.randn_like(p))
    return method


@pytest.fixture
def images(generator):
    return torch.rand(3, 3, 32, 32, generator=generator)


def test_parameters_are_those_of_the_official_code():
    method = mwm(seed=0)
    assert trained(method.encoder.patch_embed) == 198_624
    assert trained(method.encoder) == 3_358_432
    assert trained(method.decoder) == 2_485_441
    assert trained(method) == 5_843_873


def test_shapes_are_those_of_the_official_code(generator):
    """O6.1: 16 of 64 tokens stay, and the decoder sees 66."""
    method = mwm(seed=0)
    images = torch.rand(2, 3, 64, 64, generator=generator)
    mask, lengths = method.sample_mask(2, generator), []
    assert mask.visible.shape == (2, 16) and mask.hidden.shape == (2, 48)
    for block in (method.encoder.blocks[0], method.decoder.blocks[0]):
        block.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape))
    assert method.predict(images, mask).shape == (2, 64, 192)
    assert method.predict_reward(images, mask).shape == (2,)
    assert lengths[:2] == [(2, 17, 256), (2, 66, 256)]
    assert method.encoder(images).tokens.shape == (2, 65, 256)


def test_without_a_reward_the_decoder_is_shorter_by_a_token_and_a_head(images, generator):
    """O6.4: 257 fewer parameters, length 65 instead of 66."""
    with_reward, without = mwm(seed=0), mwm(reward=False, seed=0)
    assert trained(with_reward.decoder) - trained(without.decoder) == 257
    assert with_reward.decoder.pos_embed.shape[1] == 66 and without.decoder.pos_embed.shape[1] == 65
    toy = mwm("toy", reward=False, seed=0)
    assert toy(images, toy.sample_mask(3, generator)).isfinite()
    with pytest.raises(ValueError, match="reward must be True for a model that predicts points"):
        toy.predict_reward(images, toy.sample_mask(3, generator))


@pytest.mark.parametrize("grid", [(8, 8), (3, 5)])
def test_positions_of_a_larger_grid_are_cropped(grid):
    """O6.6; the reward's token stands where the larger grid has its last cell."""
    cells, last = cropped_positions(32, grid)
    torch.testing.assert_close(cells, sincos_2d(32, grid, class_token=False)[0], rtol=0, atol=0)
    for k, omega in enumerate(10000 ** (-i / 8) for i in range(8)):
        expected = [f(place * omega) for place in grid[::-1] for f in (math.sin, math.cos)]
        assert last[0, k::8].tolist() == pytest.approx(expected, abs=1e-6)


def test_encoder_and_decoder_hold_these_positions():
    method = mwm("toy", seed=0)
    cells, last = cropped_positions(16, (4, 4))
    expected = torch.cat([torch.zeros(1, 16), cells, last])
    assert torch.equal(method.decoder.pos_embed[0], expected)
    assert torch.equal(method.encoder.pos_embed, sincos_2d(32, (4, 4)))


def test_symlog_and_back():
    """O6.5: inverse of each other, odd, slope 1 at zero."""
    x = torch.cat([torch.logspace(-6, 5, 40, dtype=torch.float64), torch.zeros(1)])
    for sign in (1, -1):
        expected = [sign * math.log1p(v) for v in x.tolist()]
        assert symlog(sign * x).tolist() == pytest.approx(expected, rel=1e-12)
        torch.testing.assert_close(symexp(symlog(sign * x)), sign * x, rtol=1e-10, atol=0)
        torch.testing.assert_close(symlog(symexp(sign * x[:30])), sign * x[:30], rtol=1e-10, atol=0)
    step = torch.tensor(1e-7, dtype=torch.float64)
    assert ((symlog(step) - symlog(-step)) / (2 * step)).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("scored", ["all", "hidden"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_agrees_with_a_loop(scored, target, images, generator):
    method = shaken(scored=scored, target=target)
    drawn = method.sample_mask(3, generator, POINTS)
    predicted, mean, std = method.predict(images, drawn), method.encoder.mean, method.encoder.std
    errors = []
    for b in range(3):
        for n in range(16) if scored == "all" else drawn.hidden[b].tolist():
            row, col = n // 4 * 8, n % 4 * 8
            x = images[b, :, row:row + 8, col:col + 8].permute(1, 2, 0)
            x = ((x - mean) / std).flatten().double()
            if target == "normalised":
                x = (x - x.mean()) / (x.var() + 1e-6).sqrt()
            errors.append((predicted[b, n].double() - x).square().mean().item())
    points = method.predict_reward(images, drawn).tolist()
    reward = [(math.copysign(math.log1p(abs(p)), p) - math.copysign(math.log1p(abs(r)), r)) ** 2
              for p, r in zip(points, POINTS.tolist(), strict=True)]
    expected = sum(errors) / len(errors) + sum(reward) / 3
    assert method(images, drawn).item() == pytest.approx(expected, rel=1e-4)


def test_scoring_hidden_patches_without_reward_it_is_a_masked_autoencoder(images, generator):
    """The same composition of parts that are older."""
    method = shaken(scored="hidden", reward=False)
    decoder = Decoder(32, (4, 4), 192, 16, 1, 2)
    decoder.load_state_dict({name.replace("heads.frame.", "pred."): weight
                             for name, weight in method.decoder.state_dict().items()})
    older = MaskedAutoencoder(method.encoder, decoder, method.sampler, show=mask_features,
                              target=method.target, loss=masked_mse)
    mask = method.sample_mask(3, generator)
    torch.testing.assert_close(method(images, mask), older(images, mask))
    torch.testing.assert_close(method.predict(images, mask), older.predict(images, mask))


@pytest.mark.parametrize("options", [{}, {"stem": False}, {"reward": False}])
def test_with_nothing_hidden_the_loss_is_finite(options, images, generator):
    """O6.3: all patches are counted, and their order is kept."""
    method = mwm("toy", ratio=0, seed=0, **options)
    drawn = method.sample_mask(3, generator, POINTS if options.get("reward", True) else None)
    assert torch.equal(drawn.visible, torch.arange(16).expand(3, -1))
    assert drawn.hidden.shape == (3, 0) and method(images, drawn).isfinite()
    torch.testing.assert_close(method.predict(images, drawn),
                               method.predict(images, nothing_hidden(3, (4, 4))))


def test_the_reward_reaches_the_encoder_and_rewards_change_nothing_else(images, generator):
    method = shaken()
    drawn = method.sample_mask(3, generator, POINTS)
    other = drawn._replace(rewards=POINTS + 1)
    assert torch.equal(method.predict(images, drawn), method.predict(images, other))
    assert method(images, drawn) != method(images, other)
    method.predict_reward(images, drawn).sum().backward()
    assert method.encoder.patch_embed.layers[0].weight.grad.abs().sum() > 0
    assert method.decoder.heads["frame"].weight.grad is None


def test_every_weight_learns(images, generator):
    method = shaken()
    method(images, method.sample_mask(3, generator, POINTS)).backward()
    for name, p in method.named_parameters():
        assert p.requires_grad == (not name.endswith("pos_embed"))
        assert not p.requires_grad or p.grad.abs().sum() > 0, name


def test_rewards_may_be_whole_numbers(images, generator):
    method, mask = shaken(), None
    losses = []
    for points in (POINTS, POINTS.int()):
        mask = mask or method.sample_mask(3, generator)
        losses.append(method(images, Rewarded(*mask, points)).item())
    assert losses[0] == losses[1]


def test_masks_are_those_of_the_generator_with_or_without_rewards():
    method = mwm("toy")
    draw = [method.sample_mask(4, torch.Generator().manual_seed(s), r)
            for s, r in ((3, None), (3, torch.zeros(4)), (4, None))]
    assert isinstance(draw[1], Rewarded) and torch.equal(draw[0].hidden, draw[1].hidden)
    assert not torch.equal(draw[0].hidden, draw[2].hidden)
    assert len({tuple(row) for row in draw[0].hidden.tolist()}) > 1  # one mask a frame


@pytest.mark.parametrize("padding", PADDINGS)
def test_paddings_differ_at_the_border_of_tokens_only(padding, images):
    method, zeros = mwm("toy", padding=padding, seed=0), mwm("toy", seed=0)
    patches = method.encoder.patches(images)
    tokens = [m.encoder.patch_embed(patches).unflatten(1, (4, 4)) for m in (method, zeros)]
    same = torch.isclose(*tokens, atol=1e-6).all(3)
    assert same[:, 1:-1, 1:-1].all() and same[:, 0].any() == (padding == "zeros")


def test_rows_of_what_was_drawn_belong_to_these_images(images, generator):
    method = shaken()
    drawn = method.sample_mask(3, generator, POINTS)
    rows = [method(images[k:k + 1], drawn._make(part[k:k + 1] for part in drawn)) for k in range(3)]
    torch.testing.assert_close(sum(rows) / 3, method(images, drawn))


BAD = [({"ratio": 1.0}, r"ratio must lie in \[0, 1\), got 1.0"),
       ({"ratio": -0.1}, r"ratio must lie in \[0, 1\), got -0.1"),
       ({"ratio": 0.99}, "some of 16 patches visible and hide some, got 0.99, which leaves 0"),
       ({"ratio": 0, "scored": "hidden"}, "ratio must be above 0 where hidden tokens alone"),
       ({"scored": "visible"}, "scored must be one of all, hidden, got 'visible'"),
       ({"target": "hog"}, "target must be one of pixel, normalised, got 'hog'"),
       ({"padding": "circular"}, "padding must be one of zeros, reflect, replicate, got"),
       ({"patch": 4}, "patch must be 8, the stride of the stem, got 4"),
       ({"size": 36}, "patch must divide the image side, got patch 8 for 36x36"),
       ({"width": 36, "heads": 3}, "width must be a multiple of 8 for the stem, got 36"),
       ({"decoder_heads": 3}, "heads must divide the width 16, got 3"),
       ({"frames": 2}, "overrides must be among .* got frames")]


@pytest.mark.parametrize("options, message", BAD)
def test_what_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        mwm("toy", **options)


def test_unknown_presets_are_refused():
    with pytest.raises(ValueError, match="preset must be one of mwm, laptop, toy, got 'vit'"):
        mwm("vit")


def test_missing_rewards_and_rewards_of_another_shape_are_refused(images, generator):
    method = mwm("toy", seed=0)
    with pytest.raises(ValueError, match="drawn must hold the rewards .* got a mask alone"):
        method(images, method.sample_mask(3, generator))
    with pytest.raises(ValueError, match=r"rewards must have shape \[3\], got \[3, 1\]"):
        method.sample_mask(3, generator, POINTS[:, None])


@pytest.mark.parametrize("value, error, message", [
    (torch.rand(3, 3, 64, 64), ValueError, r"images must have shape \[B,3,32,32\], got"),
    (torch.ones(3, 3, 32, 32).int(), TypeError, "images must be floating point")])
def test_images_of_another_kind_are_refused(value, error, message, generator):
    method = mwm("toy", seed=0)
    with pytest.raises(error, match=message):
        method.predict(value, method.sample_mask(3, generator))
