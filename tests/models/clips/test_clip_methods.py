"""MAE-ST and VideoMAE, whole."""

import math
from functools import cache

import pytest
import torch
from transformers import VideoMAEConfig, VideoMAEForPreTraining

from mae_lib.models.clips import methods
from mae_lib.models.clips.masks import SAMPLERS
from mae_lib.models.clips.methods import mae_st, video_mae
from mae_lib.models.clips.positions import SeparablePositions
from mae_lib.models.clips.presets import MAE_ST, VIDEO_MAE
from mae_lib.models.encoder import take
from mae_lib.models.masks import Mask, nothing_hidden, random_mask
from mae_lib.models.methods import MaskedAutoencoder, drop_hidden, mae
from mae_lib.models.patches import sincos_2d
from mae_lib.models.targets import TARGETS

VIDEO = {"mae_st": mae_st, "video_mae": video_mae}


@cache
def on_meta(build, preset, **overrides):
    with torch.device("meta"):
        return build(preset, seed=0, **overrides)


def count(module):
    return sum(p.numel() for p in module.parameters())


def shaken(name, **options):
    method = VIDEO[name]("toy", seed=0, **options)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return method


@pytest.fixture
def clips(generator):
    return torch.rand(2, 3, 8, 32, 32, generator=generator)


# methods.md 4.1 and 4.2: instantiated, or by formula.
@pytest.mark.parametrize("preset, depth, total", [("vit_base_patch16", 4, 99_898_880),
                                                  ("vit_large_patch16", 4, 317_731_584),
                                                  ("vit_large_patch16", 8, 330_341_120)])
def test_mae_st_has_its_published_parameters(preset, depth, total):
    assert count(on_meta(mae_st, preset, decoder_depth=depth)) == total


def key_biases(method):
    return sum(len(b.attn.qkv.bias) // 3 for b in (*method.encoder.blocks, *method.decoder.blocks))


def test_video_mae_has_its_published_parameters_and_key_biases():
    method = on_meta(video_mae, "vit_base_patch16")
    assert count(method) - key_biases(method) == 94_210_944


def transformer(width, depth):
    return depth * (12 * width**2 + 13 * width) + 2 * width  # with the last norm


@pytest.mark.parametrize("preset", MAE_ST)
def test_parameters_of_mae_st_by_formula(preset):
    s = MAE_ST[preset]
    side, values = s["size"] // s["patch"], 3 * s["patch"] ** 2
    width, narrow, positions = s["width"], s["decoder_width"], side**2 + s["frames"] // 2 + 1
    encoder = transformer(width, s["depth"]) + width * (2 * values + 1 + positions + 1)
    decoder = (transformer(narrow, s["decoder_depth"]) + narrow * (width + 1 + positions + 2)
               + (narrow + 1) * values)
    assert count(on_meta(mae_st, preset)) == encoder + decoder


@pytest.mark.parametrize("preset", VIDEO_MAE)
def test_parameters_of_video_mae_by_formula(preset):
    s = VIDEO_MAE[preset]
    width, narrow, values = s["width"], s["decoder_width"], 6 * s["patch"] ** 2
    encoder = transformer(width, s["depth"]) + width * (values + 1)
    decoder = (transformer(narrow, s["decoder_depth"]) + narrow * (width + 1)
               + (narrow + 1) * values)
    assert count(on_meta(video_mae, preset)) == encoder + decoder


@pytest.mark.parametrize("name, visible, outputs", [("mae_st", 156, 768), ("video_mae", 160, 1536)])
def test_shapes_of_the_papers(name, visible, outputs):
    method = on_meta(VIDEO[name], "vit_base_patch16")
    mask = method.sample_mask(2)
    assert [part.shape for part in mask] == [(2, visible), (2, 1568 - visible)]
    clips, seen = torch.zeros(2, 3, 16, 224, 224, device="meta"), mask.to("meta")
    patches = method.encoder.patches(clips)
    assert patches.shape == (2, 1568, 1536)
    latent = method.encoder.encode(method.show(method.encoder, patches, seen))
    assert latent.patches.shape == (2, visible, 768)
    assert method.decoder(latent, seen).shape == (2, 1568 - visible, outputs)
    assert method(clips, seen).shape == ()


def test_a_toy_hides_what_its_rule_says():
    for name, shown in (("mae_st", int(256 * (1 - 0.9))), ("video_mae", 4 * (64 - int(64 * 0.9)))):
        assert VIDEO[name]("toy").sample_mask(3).visible.shape == (3, shown)


@pytest.mark.parametrize("sampling", SAMPLERS)
@pytest.mark.parametrize("name", VIDEO)
def test_samplers_are_those_of_their_name(name, sampling):
    method = VIDEO[name]("toy", sampling=sampling, ratio=0.75, seed=0)
    drawn = method.sample_mask(3, torch.Generator().manual_seed(5))
    rule = "mae" if name == "mae_st" else "videomae"
    expected = SAMPLERS[sampling](3, (4, 8, 8), 0.75, count=rule,
                                  generator=torch.Generator().manual_seed(5))
    assert torch.equal(drawn.hidden, expected.hidden)


def transformers_twin(method):
    """VideoMAE in Hugging Face transformers, with our weights but without key biases."""
    twin = VideoMAEForPreTraining(VideoMAEConfig(
        image_size=32, patch_size=4, num_frames=8, tubelet_size=2, hidden_size=32,
        num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, layer_norm_eps=1e-6,
        use_mean_pooling=False, decoder_hidden_size=16, decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2, decoder_intermediate_size=64)).eval()
    twin.decoder.norm.eps = 1e-6  # not taken from the config
    state = method.state_dict()
    weights = {"mask_token": state["decoder.mask_token"],
               "encoder_to_decoder.weight": state["decoder.embed.weight"]}
    for kind in ("weight", "bias"):
        weights |= {f"{theirs}.{kind}": state[f"{ours}.{kind}"] for ours, theirs in (
            ("encoder.patch_embed.proj", "videomae.embeddings.patch_embeddings.projection"),
            ("encoder.norm", "videomae.layernorm"), ("decoder.norm", "decoder.norm"),
            ("decoder.pred", "decoder.head"))}
        for i in range(2):
            weights |= block_weights(state, f"encoder.blocks.{i}", f"videomae.encoder.layer.{i}",
                                     kind)
        weights |= block_weights(state, "decoder.blocks.0", "decoder.decoder_layers.0", kind)
    twin.load_state_dict(weights)
    return twin


def block_weights(state, ours, theirs, kind):
    names = {"attention.output.dense": "attn.proj", "layernorm_before": "norm1",
             "layernorm_after": "norm2", "intermediate.dense": "mlp.fc1", "output.dense": "mlp.fc2"}
    weights = {f"{theirs}.{new}.{kind}": state[f"{ours}.{old}.{kind}"]
               for new, old in names.items()}
    for part, name in zip(state[f"{ours}.attn.qkv.{kind}"].chunk(3), ("query", "key", "value"),
                          strict=True):
        if (name, kind) != ("key", "bias"):
            weights[f"{theirs}.attention.attention.{name}.{kind}"] = part
    return weights


@pytest.mark.parametrize("sampling", ["tube", "agnostic"])
def test_video_mae_agrees_with_transformers(sampling, clips):
    method = shaken("video_mae", sampling=sampling)
    mask = method.sample_mask(2, torch.Generator().manual_seed(0))
    standardised = ((clips - method.encoder.mean[:, None, None, None])
                    / method.encoder.std[:, None, None, None])
    theirs = transformers_twin(method)(standardised.transpose(1, 2), mask.binary().bool())
    assert method(clips, mask).item() == pytest.approx(theirs.loss.item(), rel=1e-5)
    ours = take(method.predict(clips, mask), mask.hidden)
    torch.testing.assert_close(ours, theirs.logits, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def slow_loss(method, clips, mask, target, frames):
    """MAE-ST as its paper has it: one clip, one hidden tubelet, one frame after another."""
    predictions, errors = method.predict(clips, mask), []
    for b in range(len(clips)):
        for n in mask.hidden[b].tolist():
            t, row, col = n // 64, n % 64 // 8 * 4, n % 8 * 4
            x = torch.cat([(clips[b, :, f, row:row + 4, col:col + 4] - 0.45).permute(1, 2, 0)
                           .flatten().double() / 0.225 for f in frames[t]])
            if target == "normalised":
                x = (x - x.mean()) / (x.var() + 1e-6).sqrt()
            errors.append((predictions[b, n].double() - x).square().mean())
    return torch.stack(errors).mean().item()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("predicted, frames", [
    (1, [[0], [2], [4], [7]]), (2, [[0, 1], [2, 3], [4, 5], [6, 7]])])
def test_the_loss_of_mae_st_agrees_with_a_loop(target, predicted, frames, clips):
    method = shaken("mae_st", target=target, predicted=predicted)
    mask = method.sample_mask(2, torch.Generator().manual_seed(0))
    assert method(clips, mask).item() == pytest.approx(
        slow_loss(method, clips, mask, target, frames), rel=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", VIDEO)
def test_a_zero_prediction_has_its_closed_form(name, clips):
    method = VIDEO[name]("toy", seed=0)
    method.decoder.pred.weight.zero_()  # its bias is zero already
    mask = method.sample_mask(2, torch.Generator().manual_seed(0))
    cells = clips.double().unfold(2, 2, 2).unfold(3, 4, 4).unfold(4, 4, 4)  # B3TYX, then in cells
    if name == "mae_st":
        last = torch.tensor([0, 0, 0, 1])  # the second frame of the last tubelet
        one = torch.stack([cells[:, :, t, :, :, last[t]] for t in range(4)], dim=2) / 0.225
        variance = one.permute(0, 2, 3, 4, 1, 5, 6).flatten(1, 3).flatten(2).var(-1)
        expected = 47 / 48 * variance / (variance + 1e-6)
    else:
        variance = cells.flatten(5).var(-1).flatten(2).transpose(1, 2)
        expected = (31 / 32 * variance / (variance.sqrt() + 1e-6) ** 2).mean(-1)
    assert method(clips, mask).item() == pytest.approx(
        expected.gather(1, mask.hidden).mean().item(), rel=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_a_clip_of_one_frame_has_the_loss_of_mae(target, generator):
    """Same weights, no class tokens, positions of images."""
    image = mae("toy", target=target, seed=0)
    video = mae_st("toy", target=target, frames=1, time=1, mean=image.encoder.mean.tolist(),
                   std=image.encoder.std.tolist(), seed=1)
    without_class_tokens(image, video)
    weights = {n: w for n, w in image.state_dict().items() if "pos_embed" not in n}
    weights["encoder.patch_embed.proj.weight"] = weights["encoder.patch_embed.proj.weight"][
        :, :, None]
    for name, width in (("encoder", 32), ("decoder", 16)):
        weights |= {f"{name}.positions.space": sincos_2d(width, (8, 8), class_token=False),
                    f"{name}.positions.time": torch.zeros(1, 1, width)}
    video.load_state_dict(weights)
    pictures = torch.rand(3, 3, 32, 32, generator=generator)
    mask = random_mask(3, (8, 8), 0.75, generator=generator)
    assert video(pictures[:, :, None], mask).item() == pytest.approx(
        image(pictures, mask).item(), rel=1e-5)


def without_class_tokens(image, video):
    for method in (image, video):
        method.encoder.cls_token = None
    image.encoder.pos_embed = torch.nn.Parameter(image.encoder.pos_embed[:, 1:], False)
    image.decoder.pos_embed = torch.nn.Parameter(image.decoder.pos_embed[:, 1:], False)
    video.decoder.cls_token = video.encoder.positions.cls = video.decoder.positions.cls = None


def test_a_still_clip_looks_the_same_in_every_slice_of_a_tube(generator):
    still = torch.rand(2, 3, 1, 32, 32, generator=generator).expand(2, 3, 8, 32, 32)
    method = video_mae("toy", seed=0)
    mask = method.sample_mask(2, generator)
    seen = take(method.encoder.patches(still), mask.visible).unflatten(1, (4, -1))
    assert torch.equal(seen, seen[:, :1].expand_as(seen))
    tokens = method.encoder.embed(method.encoder.patches(still), mask.visible)
    assert not torch.equal(tokens.unflatten(1, (4, -1))[:, 0], tokens.unflatten(1, (4, -1))[:, 1])


@pytest.mark.parametrize("name", VIDEO)
def test_hidden_pixels_reach_the_target_alone(name, clips):
    method = shaken(name)
    mask = method.sample_mask(2, torch.Generator().manual_seed(0))
    clips.requires_grad_()
    take(method.predict(clips, mask), mask.hidden).square().sum().backward()
    cells = clips.grad.unfold(2, 2, 2).unfold(3, 4, 4).unfold(4, 4, 4)
    gradient = cells.abs().amax((1, 5, 6, 7)).flatten(1)[..., None]
    assert not take(gradient, mask.hidden).any() and take(gradient, mask.visible).min() > 0


@pytest.mark.parametrize("name, outputs", [("mae_st", 48), ("video_mae", 96)])
def test_everything_can_be_read_out_without_a_mask(name, outputs, clips):
    method = shaken(name)
    assert method.predict(clips, nothing_hidden(2, (4, 64))).shape == (2, 256, outputs)
    with pytest.raises(ValueError, match="mask must hide at least one patch"):
        method(clips, nothing_hidden(2, (4, 64)))


def test_weights_of_mae_st_start_in_the_bounds_of_its_code(generator):
    """Queries, keys and values as three maps: a bound sqrt(2) above that of one."""
    method = mae_st("toy", width=192, depth=1, heads=3, decoder_width=96)
    for block, width in ((method.encoder.blocks[0], 192), (method.decoder.blocks[0], 96)):
        assert block.attn.qkv.weight.abs().max().item() == pytest.approx(
            math.sqrt(6 / 2 / width), rel=0.01)
    projection = method.encoder.patch_embed.proj.weight.abs().max().item()
    assert projection == pytest.approx(math.sqrt(6 / (192 + 96)), rel=0.01)


def test_weights_of_video_mae_start_in_the_bounds_of_its_code(generator):
    method = video_mae("toy", width=192, depth=1, heads=3, decoder_width=96)
    for block, width in ((method.encoder.blocks[0], 192), (method.decoder.blocks[0], 96)):
        assert block.attn.qkv.weight.abs().max().item() == pytest.approx(
            math.sqrt(6 / 4 / width), rel=0.01)
    projection = method.encoder.patch_embed.proj.weight.abs().max().item()
    assert projection == pytest.approx(1 / math.sqrt(96), rel=0.01)  # PyTorch's own
    assert 0.015 < method.decoder.mask_token.abs().max() <= 0.02


def test_positions_are_weights_of_mae_st_and_not_of_video_mae():
    names = {name: [n for n in VIDEO[name]("toy").state_dict() if "positions" in n]
             for name in VIDEO}
    assert names == {"mae_st": [f"{part}.positions.{table}" for part in ("encoder", "decoder")
                                for table in ("space", "time", "cls")], "video_mae": []}
    assert all(p.requires_grad for name in VIDEO for p in VIDEO[name]("toy").parameters())


BAD = [({"preset": "huge"}, "preset must be one of toy, laptop, .* got 'huge'"),
       ({"depht": 3}, "overrides must be among size, frames, .* got depht"),
       ({"target": "hog"}, "target must be one of pixel, normalised, got 'hog'"),
       ({"sampling": "space"}, "sampling must be one of agnostic, tube, frame, block, got 'space'"),
       ({"count": "half"}, "count must be one of mae, videomae, exact, got 'half'"),
       ({"frames": 1}, "frames must be at least the 2 of a tubelet, got 1"),
       ({"frames": 7}, "time must divide the frames of a clip, got tubelets of 2 for 7"),
       ({"size": 30}, "patch must divide the image side, got patch 4 for 30x30"),
       ({"ratio": 1.0}, r"ratio must lie in \[0, 1\), got 1.0"),
       ({"sampling": "frame", "count": "mae"}, "some of 4 time slices .* got 0.9, which leaves 0"),
       ({"sampling": "tube", "ratio": 0.99, "count": "mae"}, "some of 64 places .* leaves 0"),
       ({"ratio": 0.0}, "and hide some, got 0.0, which leaves")]


@pytest.mark.parametrize("name", VIDEO)
@pytest.mark.parametrize("options, message", BAD)
def test_what_cannot_be_built_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        VIDEO[name](**{"preset": "toy"} | options)


def test_mae_st_predicts_one_frame_or_all():
    with pytest.raises(ValueError, match="predicted must be 1 or 2, all frames .* got 3"):
        mae_st("toy", predicted=3)


def test_the_methods_are_the_masked_autoencoder_of_images():
    for name, build in VIDEO.items():
        method = build("toy")
        assert type(method) is MaskedAutoencoder and method.show is drop_hidden, name
    assert isinstance(mae_st("toy").encoder.positions, SeparablePositions)
    assert methods.KINETICS_MEAN == (0.45,) * 3 and isinstance(method.sample_mask(1), Mask)
