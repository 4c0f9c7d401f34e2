"""SiamMAE: two frames, one encoder, three decoders."""

from collections import Counter

import numpy as np
import pytest
import torch
from clip_sets import ClipSet, tiny

from mae_lib.models.clips.cross import DECODERS, PairDecoder, PairMask
from mae_lib.models.clips.presets import SIAM_MAE
from mae_lib.models.clips.siamese import frame_at, frame_pairs, siam_mae
from mae_lib.models.encoder import Encoded, take
from mae_lib.models.targets import TARGETS
from mae_lib.training.pretrain import pretrain
from mae_lib.training.schedule import Recipe


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def count(module, trained=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


def shaken(**options):
    """The toy with every trainable parameter moved: 8 frames of 16 patches, 4 of them visible."""
    method = siam_mae("toy", **{"size": 16, "ratio": 0.75, "seed": 0} | options)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) * parameter.requires_grad)
    return method


@pytest.fixture
def clips(generator):
    return torch.rand(2, 3, 8, 16, 16, generator=generator)


# methods.md, section 5: visible and hidden patches of the future frame.
@pytest.mark.parametrize("preset, visible, hidden", [("vit_small_patch16", 9, 187),
                                                     ("vit_small_patch8", 39, 745)])
def test_the_published_counts_and_shapes(preset, visible, hidden):
    with torch.device("meta"):
        method = siam_mae(preset)
    drawn = method.sample_mask(2, seeded())
    assert drawn.visible.shape == (2, visible) and drawn.hidden.shape == (2, hidden)
    assert drawn.shown.tolist() == [list(range(visible + hidden))] * 2
    on_meta = PairMask(*(part.to("meta") for part in drawn))
    clips = torch.zeros(2, 3, 49, 224, 224, device="meta")
    past, future = method._encode(*method._frames(clips, on_meta), on_meta)
    assert past.tokens.shape == (2, visible + hidden + 1, 384)
    assert future.tokens.shape == (2, visible + 1, 384)
    values = 3 * SIAM_MAE[preset]["patch"] ** 2
    assert method.decoder(past, future, on_meta).shape == (2, hidden, values)
    assert method.decoder.everywhere(past, future, on_meta).shape == (2, visible + hidden, values)


def test_the_encoder_is_that_of_vit_small():
    with torch.device("meta"):
        assert count(siam_mae().encoder, trained=True) == 21_590_016


@pytest.mark.parametrize("kind, size", [("cross-self", lambda d: 16 * d**2 + 21 * d),
                                        ("cross", lambda d: 12 * d**2 + 15 * d),
                                        ("joint", lambda d: 12 * d**2 + 13 * d)])
def test_blocks_have_the_size_of_their_formula(kind, size):
    for width in (16, 256):
        assert count(DECODERS[kind](width, 4)) == size(width)


@torch.no_grad()
def attend(x, z, query, key, value, heads):
    """One query at a time, in double precision."""
    q, k, v = (z.double() for z in (query(x), key(z), value(z)))
    size = q.shape[-1] // heads
    mixed = torch.zeros_like(q)
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        for i in range(len(q)):
            scores = torch.stack([q[i, part] @ row for row in k[:, part]]) / size**0.5
            mixed[i, part] = scores.exp() @ v[:, part] / scores.exp().sum()
    return mixed.float()


def across(layer, x, z):
    key, value = (lambda z, part=part: layer.kv(z)[:, part * 8:part * 8 + 8] for part in (0, 1))
    mixed = attend(layer.norm1(x), layer.norm2(z), layer.query, key, value, layer.heads)
    return x + layer.proj(mixed)


@torch.no_grad()
def slow_block(kind, block, z, x):
    """Past and future ``[T, D]`` of one clip after a block, written out."""
    if kind == "joint":
        mixed = block.block(torch.cat([z, x])[None])[0]
        return mixed[:len(z)], mixed[len(z):]
    x = across(block.cross, x, z)
    return z, (x + block.mlp(block.norm(x)) if kind == "cross" else block.block(x[None])[0])


@torch.no_grad()
def slow_predict(method, clip, drawn, b, kind, past_positions=True):
    """One clip, tokens in their natural order, without a thought for what is read."""
    decoder, positions = method.decoder, method.decoder.pos_embed[0]
    frames = [clip[:, n[b]][None] for n in (drawn.first, drawn.second)]
    past = method.encoder(frames[0], drawn.shown[b][None]).tokens[0]
    future = method.encoder(frames[1], drawn.visible[b][None]).tokens[0]
    z, x = decoder.embed(past), [decoder.embed(future[0]) + positions[0]]
    if past_positions:
        z = z + positions[[0, *(1 + drawn.shown[b]).tolist()]]
    seen = dict(zip(drawn.visible[b].tolist(), future[1:], strict=True))
    for n in range(16):
        token = decoder.embed(seen[n]) if n in seen else decoder.mask_token[0, 0]
        x.append(token + positions[1 + n])
    x = torch.stack(x)
    for block in decoder.blocks:
        z, x = slow_block(kind, block, z, x)
    return decoder.pred(decoder.norm(x))[1:]


@pytest.mark.parametrize("past_positions, past_ratio", [(True, 0), (False, 0), (True, 0.75)])
@pytest.mark.parametrize("kind", DECODERS)
def test_predictions_agree_with_a_loop(kind, past_positions, past_ratio, clips):
    method = shaken(decoder=kind, past_positions=past_positions, past_ratio=past_ratio,
                    decoder_width=8, decoder_depth=2)
    drawn = method.sample_mask(2, seeded())
    slow = torch.stack([slow_predict(method, clips[b], drawn, b, kind, past_positions)
                        for b in range(2)])
    torch.testing.assert_close(method.predict(clips, drawn), slow, rtol=1e-5, atol=1e-5)
    past, future = method._encode(*method._frames(clips, drawn), drawn)
    torch.testing.assert_close(method.decoder(past, future, drawn), take(slow, drawn.hidden),
                               rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_agrees_with_a_loop(target, clips):
    method = shaken(target=target)
    drawn = method.sample_mask(2, seeded())
    predictions, errors = method.predict(clips, drawn), []
    mean, std = (v[:, None, None] for v in (method.encoder.mean, method.encoder.std))
    for b in range(2):
        frame = (clips[b, :, drawn.second[b]] - mean) / std
        for n in drawn.hidden[b].tolist():
            row, col = n // 4 * 4, n % 4 * 4
            x = frame[:, row:row + 4, col:col + 4].permute(1, 2, 0).flatten().double()
            if target == "normalised":
                x = (x - x.mean()) / (x.var() + 1e-6).sqrt()
            errors.append((predictions[b, n].double() - x).square().mean())
    assert method(clips, drawn).item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-5)


@pytest.mark.parametrize("kind", DECODERS)
def test_hidden_pixels_get_no_gradient_and_the_past_does(kind, clips):
    method = shaken(decoder=kind)
    drawn = method.sample_mask(2, seeded())
    clips.requires_grad_()
    take(method.predict(clips, drawn), drawn.hidden).square().sum().backward()
    for b in range(2):
        frames = clips.grad[b].transpose(0, 1).abs().amax(1)
        patches = frames.unfold(1, 4, 4).unfold(2, 4, 4).amax((3, 4)).flatten(1)
        past, future = patches[drawn.first[b]], patches[drawn.second[b]]
        assert past.min() > 0 and (future[drawn.visible[b]] > 0).all() == (kind != "cross")
        assert not future[drawn.hidden[b]].any()
        patches[torch.stack([drawn.first[b], drawn.second[b]])] = 0
        assert not patches.any()  # nor do other frames count


def test_the_order_of_past_tokens_does_not_matter(clips):
    method = shaken()
    drawn, order = method.sample_mask(2, seeded()), torch.randperm(16)
    shuffled = drawn._replace(shown=drawn.shown[:, order])
    torch.testing.assert_close(method.predict(clips, shuffled), method.predict(clips, drawn),
                               rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["cross-self", "cross"])
def test_without_cross_attention_the_past_does_not_count(kind, clips):
    method = shaken(decoder=kind)
    drawn = method.sample_mask(2, seeded())
    other = clips.clone()
    other[torch.arange(2), :, drawn.first] = 0.5
    assert not torch.allclose(method.predict(other, drawn), method.predict(clips, drawn))
    for block in method.decoder.blocks:
        block.cross.proj.weight.data.zero_()
    assert torch.equal(method.predict(other, drawn), method.predict(clips, drawn))


def test_a_cross_decoder_never_mixes_future_tokens(clips):
    """What is predicted does not depend on visible patches of the future frame."""
    method = shaken(decoder="cross", decoder_depth=2)
    drawn = method.sample_mask(2, seeded())
    other = clips.clone()
    other[torch.arange(2), :, drawn.second] = 0.5
    hidden, visible = (take(method.predict(clips, drawn) - method.predict(other, drawn), index)
                       for index in (drawn.hidden, drawn.visible))
    assert hidden.abs().max() < 1e-5 and visible.abs().amax(2).min() > 1e-3


def test_both_frames_go_through_one_encoder(clips):
    """One after the other or in one batch, and as a single picture in evaluation."""
    method = shaken(past_ratio=0.75)
    drawn = method.sample_mask(2, seeded())
    past, future = method._encode(*method._frames(clips, drawn), drawn)
    pictures = torch.cat([clips[torch.arange(2), :, n] for n in (drawn.first, drawn.second)])
    together = method.encoder(pictures, torch.cat([drawn.shown, drawn.visible]))
    torch.testing.assert_close(torch.cat([past.tokens, future.tokens]), together.tokens,
                               rtol=1e-5, atol=1e-5)


def test_symmetric_masks_hide_as_much_of_the_past():
    method = siam_mae("toy", past_ratio=0.95, seed=0)
    drawn = method.sample_mask(50, seeded())
    assert drawn.shown.shape == drawn.visible.shape == (50, 3)
    assert not torch.equal(drawn.shown, drawn.visible)
    assert len({tuple(row) for row in drawn.shown.tolist()}) > 40


def test_masks_and_frames_are_those_of_the_generator():
    first, again, other = (siam_mae("toy").sample_mask(4, seeded(s)) for s in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.hidden, other.hidden)
    assert all(len(part) == 4 for part in first)


def test_pairs_follow_the_noise():
    noise = torch.tensor([[0.0, 0.0], [0.999, 0.999], [0.5, 0.5], [0.34, 0.99]])
    first, second = frame_pairs(4, 8, (2, 4), noise=noise)  # a gap for each third of the noise
    assert first.tolist() == [0, 3, 2, 4] and (second - first).tolist() == [2, 4, 3, 3]


def test_gaps_are_uniform_with_both_ends_and_so_is_the_past_frame():
    first, second = frame_pairs(90_000, 60, (4, 48), generator=seeded())
    gaps = torch.bincount(second - first, minlength=60)
    assert gaps[:4].sum() == 0 and gaps[49:].sum() == 0
    assert (gaps[4:49] - 2000).abs().max() < 4 * (90_000 / 45 * 44 / 45) ** 0.5
    starts = torch.bincount(first[second - first == 48], minlength=12)
    assert len(starts) == 12 and (starts - starts.sum() / 12).abs().max() < 4 * 13  # sd 12.4
    assert first.min() == 0 and second.max() == 59


def test_the_default_gap_is_any_between_different_frames():
    drawn = siam_mae("toy", frames=4).sample_mask(600, seeded())
    pairs = Counter(zip(drawn.first.tolist(), drawn.second.tolist(), strict=True))
    assert sorted(pairs) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert siam_mae("toy", frames=4).config["gap"] == [1, 3]


def test_a_frame_is_cut_out_of_each_clip(clips):
    found = frame_at(clips, torch.tensor([5, 0]))
    assert torch.equal(found, torch.stack([clips[0, :, 5], clips[1, :, 0]]))


def test_a_past_that_shows_the_future_is_of_use():
    """The same picture before it tells what colours it hides, another one does not."""
    colours = np.random.default_rng(0).integers(256, size=(256, 3, 1, 2, 2), dtype=np.uint8)
    pictures = colours.repeat(8, axis=3).repeat(8, axis=4)  # four patches of a colour each
    losses = []
    for past in (pictures, pictures[::-1]):
        method = tiny("siam_mae", frames=2, patch=8, width=32, decoder_width=16, target="pixel")
        pairs = ClipSet(np.concatenate([past, pictures], axis=2))
        recipe = Recipe(views=32 * 150, batch=32, lr=1e-2)
        losses.append(pretrain(method, pairs, recipe, progress=False).losses[-10:].mean())
    assert losses[0] < losses[1] / 2


BAD = [({"frames": 1}, "frames must be at least 2, a past and a future one, got 1"),
       ({"gap": (1, 8)}, r"gap must lie in 0..7, fewest first, for clips of 8 .* got \(1, 8\)"),
       ({"gap": (3, 2)}, r"gap must lie in 0..7, fewest first, .* got \(3, 2\)"),
       ({"gap": (-1, 2)}, r"gap must lie in 0..7, fewest first, .* got \(-1, 2\)"),
       ({"size": 16}, "some of 16 patches visible and hide some, got 0.95, which leaves 0"),
       ({"ratio": 0.0}, "and hide some, got 0.0, which leaves 64 visible"),
       ({"past_ratio": 0.99}, "some of 64 patches visible and hide some, got 0.99"),
       ({"decoder": "self"}, "decoder must be one of cross-self, cross, joint, got 'self'"),
       ({"target": "hog"}, "target must be one of pixel, normalised, got 'hog'"),
       ({"decoder_heads": 3}, "heads must divide the width 16, got 3"),
       ({"size": 30}, "patch must divide the image side, got patch 4 for 30x30"),
       ({"time": 2}, "overrides must be among .* got time")]


@pytest.mark.parametrize("options, message", BAD)
def test_what_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        siam_mae("toy", **options)


def test_noise_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"noise must have shape \[2,2\], got \[2\]"):
        frame_pairs(2, 8, (1, 2), noise=torch.rand(2))


@pytest.mark.parametrize("shape", [(2, 3, 1, 16, 16), (2, 3, 16, 16)])
def test_clips_of_another_length_are_refused(shape):
    method = shaken()
    with pytest.raises(ValueError, match=r"clips must have shape \[B,3,8,16,16\], got \[2, 3, 1"):
        method(torch.rand(shape), method.sample_mask(2, seeded()))


def test_the_past_needs_a_class_token_from_the_encoder_and_positions_are_fixed():
    decoder = PairDecoder(16, (2, 2), 12, 8, 1, 2)
    fixed = [n for n, p in decoder.named_parameters() if not p.requires_grad]
    assert fixed == ["pos_embed"] and decoder.pos_embed.shape == (1, 5, 8)
    latent = Encoded(torch.randn(1, 16), torch.randn(1, 4, 16), {}, {})
    every = torch.arange(4)[None]
    nothing = PairMask(every, every[:, :0], every, *torch.zeros(2, 1).long())
    assert decoder(latent, latent, nothing).shape == (1, 0, 12)
    assert decoder.everywhere(latent, latent, nothing).shape == (1, 4, 12)
