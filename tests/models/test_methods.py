import json
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from mae_lib.models.masks import nothing_hidden, random_mask, unit_mask
from mae_lib.models.methods import PRESETS, mae
from mae_lib.models.patches import patchify
from mae_lib.models.targets import TARGETS

# Encoder trainable and in all, decoder trainable and in all: methods.md 1.4, from the official
# module and from timm's blocks.
SIZES = {
    "vit_base_patch16": (85_647_360, 85_798_656, 26_008_320, 26_109_184),
    "vit_large_patch16": (303_099_904, 303_301_632, 26_139_392, 26_240_256),
    "vit_huge_patch14": (630_435_840, 630_764_800, 26_178_124, 26_309_708),
    "vit_small_patch16": (21_590_016, 21_665_664, 25_811_712, 25_912_576),
    "vit_base_patch8": (85_204_992, 85_807_872, 25_712_832, 26_114_752),
    "vit_base_patch32": (87_416_832, 87_455_232, 27_190_272, 27_215_872),
}


@cache
def on_meta(preset, **overrides):
    with torch.device("meta"):
        return mae(preset, seed=0, **overrides)


def counts(module):
    parameters = list(module.parameters())
    return (sum(p.numel() for p in parameters if p.requires_grad),
            sum(p.numel() for p in parameters))


def shaken_toy(**options):
    method = mae("toy", seed=0, **options)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) * parameter.requires_grad)
    return method


@pytest.mark.parametrize("preset, sizes", SIZES.items())
def test_parameter_counts_are_the_published_ones(preset, sizes):
    method = on_meta(preset)
    assert counts(method.encoder) + counts(method.decoder) == sizes


def test_vit_base_has_its_published_totals_and_pieces():
    method = on_meta("vit_base_patch16")
    assert counts(method) == (111_655_680, 111_907_840)
    assert counts(method.encoder.blocks[0])[0] == 7_087_872
    assert counts(method.decoder.blocks[0])[0] == 3_152_384
    pieces = {"encoder.patch_embed": 590_592, "encoder.norm": 1_536, "decoder.embed": 393_728,
              "decoder.norm": 1_024, "decoder.pred": 393_984}
    assert {name: counts(method.get_submodule(name))[0] for name in pieces} == pieces
    assert method.encoder.pos_embed.numel() == 151_296
    assert method.decoder.pos_embed.numel() == 100_864


def test_the_long_sequence_decoder_has_its_published_size():
    method = on_meta("vit_base_patch8", decoder_width=384, decoder_heads=12)
    assert counts(method.decoder) == (14_566_080, 14_867_520)
    assert counts(method) == (99_771_072, 100_675_392)


@pytest.mark.parametrize("preset", PRESETS)
def test_only_positions_are_fixed(preset):
    fixed = [n for n, p in on_meta(preset).named_parameters() if not p.requires_grad]
    assert fixed == ["encoder.pos_embed", "decoder.pos_embed"]


def block_weights(state, ours, theirs):
    renamed = {"attention.o_proj": "attn.proj", "layernorm_before": "norm1",
               "layernorm_after": "norm2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    weights = {}
    for kind in ("weight", "bias"):
        weights |= {f"{theirs}.{new}.{kind}": state[f"{ours}.{old}.{kind}"]
                    for new, old in renamed.items()}
        fused = state[f"{ours}.attn.qkv.{kind}"].chunk(3)
        weights |= {f"{theirs}.attention.{letter}_proj.{kind}": part
                    for letter, part in zip("qkv", fused, strict=True)}
    return weights


def transformers_twin(method, normalised):
    """The same model in Hugging Face transformers, with our weights."""
    config = ViTMAEConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        image_size=32, patch_size=4, decoder_hidden_size=16, decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2, decoder_intermediate_size=64, layer_norm_eps=1e-6,
        norm_pix_loss=normalised)
    state = method.state_dict()
    weights = {"vit.embeddings.cls_token": state["encoder.cls_token"],
               "vit.embeddings.position_embeddings": state["encoder.pos_embed"],
               "decoder.mask_token": state["decoder.mask_token"],
               "decoder.decoder_pos_embed": state["decoder.pos_embed"]}
    for kind in ("weight", "bias"):
        weights |= {f"vit.embeddings.patch_embeddings.projection.{kind}":
                    state[f"encoder.patch_embed.proj.{kind}"],
                    f"vit.layernorm.{kind}": state[f"encoder.norm.{kind}"]}
        weights |= {f"decoder.decoder_{name}.{kind}": state[f"decoder.{name}.{kind}"]
                    for name in ("embed", "norm", "pred")}
    for i in range(2):
        weights |= block_weights(state, f"encoder.blocks.{i}", f"vit.layers.{i}")
    weights |= block_weights(state, "decoder.blocks.0", "decoder.decoder_layers.0")
    twin = ViTMAEForPreTraining(config).eval()
    twin.load_state_dict(weights)
    return twin


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("ratio", [0.75, 0.9, 0.25])
def test_loss_and_prediction_agree_with_transformers(generator, target, ratio):
    method = shaken_toy(target=target)
    twin = transformers_twin(method, target == "normalised")
    twin.config.mask_ratio = twin.vit.embeddings.config.mask_ratio = ratio
    images, noise = torch.rand(3, 3, 32, 32), torch.rand(3, 64)
    mask = random_mask(3, (8, 8), ratio, noise=noise)
    standardised = (images - method.encoder.mean[:, None, None]) / method.encoder.std[:, None, None]
    theirs = twin(standardised, noise=noise)
    torch.testing.assert_close(theirs.mask, mask.binary())
    torch.testing.assert_close(method.predict(images, mask), theirs.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(method(images, mask), theirs.loss, rtol=1e-5, atol=0)


@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_compares_prediction_and_target_on_hidden_patches(generator, target):
    method, images = shaken_toy(target=target), torch.rand(2, 3, 32, 32)
    mask = method.sample_mask(2, generator)
    wanted = TARGETS[target](method.encoder.patches(images))
    squares = (method.predict(images, mask) - wanted).square().mean(-1)
    torch.testing.assert_close(method(images, mask), squares[mask.binary().bool()].mean())


def test_hidden_pixels_do_not_reach_the_prediction(generator):
    method, images = shaken_toy(), torch.rand(2, 3, 32, 32).requires_grad_()
    mask = method.sample_mask(2, generator)
    method.predict(images, mask).square().sum().backward()
    reached = patchify(images.grad, 4).abs().amax(-1) > 0
    assert torch.equal(reached, ~mask.binary().bool())


def test_a_flat_image_with_normalised_pixels_and_no_prediction_costs_nothing():
    method = mae("toy", seed=0, target="normalised")
    torch.nn.init.zeros_(method.decoder.pred.weight)
    flat = torch.full((1, 3, 32, 32), 0.5)
    method.encoder.mean.fill_(0.25)  # exact in binary, so that patches are flat to the bit
    method.encoder.std.fill_(0.5)
    assert method(flat, random_mask(1, (8, 8), 0.75)) == 0


def test_visible_order_changes_the_prediction_by_rounding_only(generator):
    method, images = shaken_toy(), torch.rand(2, 3, 32, 32)
    mask = method.sample_mask(2, generator)
    shuffled = mask._replace(visible=mask.visible[:, torch.randperm(16)])
    torch.testing.assert_close(method.predict(images, shuffled), method.predict(images, mask),
                               rtol=1e-5, atol=1e-5)


def test_everything_is_predicted_when_nothing_is_hidden():
    method = shaken_toy()
    prediction = method.predict(torch.rand(2, 3, 32, 32), nothing_hidden(2, (8, 8)))
    assert prediction.shape == (2, 64, 48) and prediction.isfinite().all()


@pytest.mark.parametrize("target", TARGETS)
def test_every_trainable_parameter_gets_a_gradient(generator, target):
    method = shaken_toy(target=target)
    method(torch.rand(2, 3, 32, 32), method.sample_mask(2, generator)).backward()
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().max() > 0, name
        else:
            assert parameter.grad is None, name


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("unit", [4, 8])
def test_one_batch_is_overfitted(generator, target, unit):
    method = mae("toy", seed=0, target=target, unit=unit)
    images = F.interpolate(torch.rand(4, 3, 6, 6), size=32, mode="bilinear")
    mask = method.sample_mask(4, generator)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3, betas=(0.9, 0.95))
    first = method(images, mask).item()
    for _ in range(200):
        optimizer.zero_grad()
        method(images, mask).backward()
        optimizer.step()
    assert method(images, mask).item() < first / 2


def test_masks_come_from_the_configured_sampler():
    plain, units = mae("toy", seed=0, ratio=0.9), mae("toy", seed=0, ratio=0.5, unit=8)
    whole = mae("toy", seed=0, ratio=0.9, unit=8, cut="whole_units")

    def seeded():
        return torch.Generator().manual_seed(5)

    for method, expected in (
            (plain, random_mask(3, (8, 8), 0.9, generator=seeded())),
            (units, unit_mask(3, (8, 8), 0.5, 2, generator=seeded())),
            (whole, unit_mask(3, (8, 8), 0.9, 2, cut="whole_units", generator=seeded()))):
        drawn = method.sample_mask(3, seeded())
        assert torch.equal(drawn.visible, expected.visible)
        assert torch.equal(drawn.hidden, expected.hidden)


def same_weights(one, other):
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_equal_seeds_give_equal_weights_whatever_is_hidden():
    first = mae("toy", seed=3)
    assert same_weights(first, mae("toy", seed=3, ratio=0.9, unit=16, target="normalised"))
    assert not same_weights(first, mae("toy", seed=4))


@pytest.mark.parametrize("unit", [None, 8])
def test_a_seed_leaves_the_global_generator_alone(unit):
    before = torch.get_rng_state()
    mae("toy", seed=3, unit=unit)
    assert torch.equal(before, torch.get_rng_state())


def test_without_a_seed_the_global_generator_decides():
    torch.manual_seed(0)
    first, second = mae("toy"), mae("toy")
    assert not same_weights(first, second)
    torch.manual_seed(0)
    assert same_weights(first, mae("toy"))


CONFIGS = [{}, {"target": "normalised", "ratio": 0.9, "unit": 16},
           {"cut": "whole_units", "unit": 8, "ratio": 0.9},
           {"size": (32, 16), "mean": (0.5, 0.4, 0.3)},
           {"depth": 1, "decoder_width": 8, "patch": 8, "size": 64, "std": [1, 1, 1]}]


@pytest.mark.parametrize("options", CONFIGS)
def test_the_config_survives_json_and_builds_the_same_model(generator, options):
    first = mae("toy", seed=3, **options)
    second = mae(seed=3, **json.loads(json.dumps(first.config)))
    assert json.dumps(first.config) == json.dumps(second.config)
    assert same_weights(first, second)
    images = torch.rand(2, 3, *first.encoder.size)
    masks = [m.sample_mask(2, torch.Generator().manual_seed(0)) for m in (first, second)]
    assert torch.equal(masks[0].hidden, masks[1].hidden)
    assert torch.equal(first(images, masks[0]), second(images, masks[1]))


BAD = [({"preset": "vit_tiny"}, "preset must be one of toy, laptop, .* got 'vit_tiny'"),
       ({"with": 3}, "overrides must be among size, patch, .* got with"),
       ({"target": "hog"}, "target must be one of pixel, normalised, got 'hog'"),
       ({"ratio": 0.0}, "ratio must leave some of 64 patches visible and hide some, got 0.0"),
       ({"ratio": 0.99}, "got 0.99, which leaves 0 visible"),
       ({"ratio": 1.5}, r"ratio must lie in \[0, 1\), got 1.5"),
       ({"size": 30}, "patch must divide the image side, got patch 4 for 30x30 pixels"),
       ({"unit": 6}, r"unit must be a multiple of the patch \(4 pixels\), got 6"),
       ({"unit": 0}, r"unit must be a multiple of the patch \(4 pixels\), got 0"),
       ({"unit": 64}, r"unit must lie in 1\.\.8 patches, got 16"),
       ({"unit": 32, "cut": "whole_units"}, "some of 1 units visible and hide some"),
       ({"cut": "half"}, "cut must be one of official, whole_units, got 'half'"),
       ({"heads": 5}, "heads must divide the width 32, got 5"),
       ({"width": 30, "heads": 5}, "width must be a multiple of 4"),
       ({"std": (0, 1, 1)}, "mean and std must hold three numbers")]


@pytest.mark.parametrize("options, message", BAD, ids=[str(options) for options, _ in BAD])
def test_settings_that_cannot_be_met_are_refused_before_training(options, message):
    with pytest.raises(ValueError, match=message):
        mae(**{"preset": "toy", **options})


@pytest.mark.parametrize(("sampling", "ratio", "hidden"), [("block", 0.5, 32), ("block", 0.75, 48),
                                                           ("grid", 0.75, 48)])
def test_masks_may_be_blocks_or_a_grid(sampling, ratio, hidden):
    made = mae("toy", ratio=ratio, sampling=sampling, seed=0)
    mask = made.sample_mask(3, torch.Generator().manual_seed(0))
    assert mask.hidden.shape == (3, hidden) and made.config["sampling"] == sampling
    again = mae(**made.config, seed=0)
    assert torch.equal(again.sample_mask(3, torch.Generator().manual_seed(0)).hidden, mask.hidden)
    assert "sampling" not in mae("toy", seed=0).config


@pytest.mark.parametrize(("wrong", "message"), [
    ({"sampling": "tube"}, "sampling must be one of random, block, grid, got 'tube'"),
    ({"sampling": "grid", "ratio": 0.5}, "ratio must be 0.75 for sampling 'grid', got 0.5"),
    ({"sampling": "grid", "size": 20}, "grid must have even sides, got 5x5"),
    ({"sampling": "block", "unit": 8}, r"unit must be the patch \(4 pixels\) for sampling 'block', "
                                       "got 8")])
def test_samplings_that_cannot_be_met_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        mae("toy", seed=0, **wrong)
