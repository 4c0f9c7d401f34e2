"""SiamMAE in MWM style: what masks over features change, and what they do not."""

import pytest
import torch

from mae_lib.models.clips.siamese import siam_mae
from mae_lib.models.encoder import take
from mae_lib.models.patches import patchify
from mae_lib.models.targets import TARGETS
from mae_lib.models.worlds.siamese import siam_mwm


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def shaken(**options):
    """The toy with every trainable parameter moved: 4 frames of 16 patches, 4 of them visible."""
    method = siam_mwm("toy", **{"frames": 4, "ratio": 0.75, "seed": 0} | options)
    torch.manual_seed(0)
    for p in method.parameters():
        if p.requires_grad:
            p.data.add_(0.05 * torch.randn_like(p))
    return method


@pytest.fixture
def clips(generator):
    return torch.rand(2, 3, 4, 32, 32, generator=generator)


def test_three_of_64_tokens_of_the_future_stay_and_the_past_is_whole(generator):
    method, lengths = siam_mwm(frames=2, seed=0), []
    drawn = method.sample_mask(2, generator)
    assert drawn.visible.shape == (2, 3) and drawn.hidden.shape == (2, 61)
    assert drawn.shown.shape == (2, 64)
    method.encoder.blocks[0].register_forward_pre_hook(
        lambda _, args: lengths.append(args[0].shape))
    clips = torch.rand(2, 3, 2, 64, 64, generator=generator)
    assert method.predict(clips, drawn).shape == (2, 64, 192)
    assert lengths == [(2, 65, 256), (2, 4, 256)]


@pytest.mark.parametrize("decoder", ["cross-self", "cross", "joint"])
def test_without_a_stem_it_is_siam_mae(decoder, clips):
    sizes = {"size": 32, "patch": 8, "frames": 4, "width": 32, "depth": 1, "heads": 2,
             "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    older = siam_mae("toy", ratio=0.75, decoder=decoder, seed=1, **sizes)
    method = shaken(stem=False, decoder=decoder, past_ratio=0.5)
    older.load_state_dict(method.state_dict())
    older.past_ratio = 0.5
    drawn = method.sample_mask(2, seeded())
    assert all(torch.equal(a, b) for a, b in zip(drawn, older.sample_mask(2, seeded()),
                                                 strict=True))
    torch.testing.assert_close(method(clips, drawn), older(clips, drawn))
    torch.testing.assert_close(method.predict(clips, drawn), older.predict(clips, drawn))


def test_both_frames_pass_through_one_stem(clips):
    """The decoder is handed what the encoder makes of whole frames, some of it dropped first."""
    method = shaken()
    drawn = method.sample_mask(2, seeded())
    tokens = []
    for index, kept in ((drawn.first, drawn.shown), (drawn.second, drawn.visible)):
        frames = torch.stack([clips[b, :, index[b]] for b in range(2)])
        whole = method.encoder.embed(method.encoder.patches(frames))
        tokens.append(method.encoder.encode(take(whole, kept)))
    torch.testing.assert_close(method.predict(clips, drawn),
                               method.decoder.everywhere(*tokens, drawn))


@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_agrees_with_a_loop(target, clips):
    method = shaken(target=target)
    drawn = method.sample_mask(2, seeded())
    predictions, errors = method.predict(clips, drawn), []
    mean, std = (v[:, None, None] for v in (method.encoder.mean, method.encoder.std))
    for b in range(2):
        frame = (clips[b, :, drawn.second[b]] - mean) / std
        for n in drawn.hidden[b].tolist():
            row, col = n // 4 * 8, n % 4 * 8
            x = frame[:, row:row + 8, col:col + 8].permute(1, 2, 0).flatten().double()
            if target == "normalised":
                x = (x - x.mean()) / (x.var() + 1e-6).sqrt()
            errors.append((predictions[b, n].double() - x).square().mean())
    assert method(clips, drawn).item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-5)


@pytest.mark.parametrize("stem", [True, False])
def test_hidden_cells_of_the_future_leak_through_a_stem_only(stem, clips):
    method = shaken(stem=stem)
    drawn = method.sample_mask(2, seeded())
    clips.requires_grad_()
    take(method.predict(clips, drawn), drawn.hidden).square().sum().backward()
    for b in range(2):
        frames = patchify(clips.grad[b].transpose(0, 1), 8).abs().amax(2)
        assert (frames[drawn.first[b]] > 0).all()
        assert (frames[drawn.second[b], drawn.visible[b]] > 0).all()
        assert frames[drawn.second[b], drawn.hidden[b]].any() == stem
        frames[torch.stack([drawn.first[b], drawn.second[b]])] = 0
        assert not frames.any()  # other frames do not count


def test_features_are_those_of_single_frames(clips):
    method = shaken()
    assert method.encoder(clips[:, :, 0]).tokens.shape == (2, 17, 32)


BAD = [({"frames": 1}, "frames must be at least 2, a past and a future one, got 1"),
       ({"gap": (3, 2)}, r"gap must lie in 0..3, fewest first, .* got \(3, 2\)"),
       ({"ratio": 0.95}, "some of 16 patches visible and hide some, got 0.95, which leaves 0"),
       ({"past_ratio": 0.99}, "some of 16 patches visible and hide some, got 0.99"),
       ({"decoder": "self"}, "decoder must be one of cross-self, cross, joint, got 'self'"),
       ({"target": "hog"}, "target must be one of pixel, normalised, got 'hog'"),
       ({"padding": "circular"}, "padding must be one of zeros, reflect, replicate, got"),
       ({"patch": 4}, "patch must be 8, the stride of the stem, got 4"),
       ({"size": 36}, "patch must divide the image side, got patch 8 for 36x36"),
       ({"time": 2}, "overrides must be among .* got time")]


@pytest.mark.parametrize("options, message", BAD)
def test_what_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        shaken(**options)


@pytest.mark.parametrize("shape", [(2, 3, 1, 32, 32), (2, 3, 32, 32)])
def test_clips_of_another_length_are_refused(shape):
    method = shaken()
    with pytest.raises(ValueError, match=r"clips must have shape \[B,3,4,32,32\], got \[2, 3, "):
        method(torch.rand(shape), method.sample_mask(2, seeded()))
