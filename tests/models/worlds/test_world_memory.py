"""A frame and the console's memory."""

import pytest
import torch

from mae_lib.models.encoder import take
from mae_lib.models.masks import Mask
from mae_lib.models.worlds.memory import Remembered, mwm_memory, word_positions, words_of

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def shaken(**options):
    """The toy with every trainable parameter moved: 16 tokens of the frame, 16 of the memory."""
    method = mwm_memory("toy", **{"seed": 0} | options)
    torch.manual_seed(0)
    for p in method.parameters():
        if p.requires_grad:
            p.data.add_(0.05 * torch.randn_like(p))
    return method


@pytest.fixture
def images(generator):
    return torch.rand(3, 3, 32, 32, generator=generator)


@pytest.fixture
def memory(generator):
    return torch.randint(256, (3, 128), generator=generator, dtype=torch.uint8)


def test_words_are_eight_bytes_each(memory):
    found = words_of(memory)
    for b in range(3):
        for n in range(128):
            expected = memory[b, n].item() / 127.5 - 1
            assert found[b, n // 8, n % 8].item() == pytest.approx(expected, abs=1e-6)
    assert found.shape == (3, 16, 8) and word_positions(32).shape == (16, 32)


@pytest.mark.parametrize("memory_ratio, read", [(0.75, 4), (0, 16), (1, 0), (1.0, 0)])
def test_frame_and_memory_have_masks_of_their_own(memory_ratio, read, memory, generator):
    drawn = shaken(memory_ratio=memory_ratio, ratio=0.5).sample_mask(3, generator, memory)
    assert drawn.visible.shape == drawn.hidden.shape == (3, 8)
    assert drawn.read.shape == (3, read) and drawn.unread.shape == (3, 16 - read)
    assert drawn.memory is memory and isinstance(drawn, Remembered)
    for both in (drawn[:2], drawn[2:4]):
        assert torch.equal(torch.cat(both, 1).sort(1).values, torch.arange(16).expand(3, -1))


@pytest.mark.parametrize("memory_ratio", [0.75, 1, 0])
def test_both_are_encoded_side_by_side(memory_ratio, images, memory, generator):
    """Against each group embedded and cut alone."""
    method = shaken(memory_ratio=memory_ratio)
    drawn = method.sample_mask(3, generator, memory)
    encoder, decoder = method.encoder, method.decoder
    seen = take(encoder.embed(encoder.patches(images)), drawn.visible) + method.embeddings[0]
    words = method.words(words_of(memory)) + word_positions(32)
    read = take(words, drawn.read) + method.embeddings[1]
    latent = encoder.encode(torch.cat([seen, read], dim=1))
    mask = Mask(torch.cat([drawn.visible, 16 + drawn.read], 1),
                torch.cat([drawn.hidden, 16 + drawn.unread], 1))
    found = decoder(latent, mask)
    torch.testing.assert_close(method.predict(images, drawn), found["frame"], **CLOSE)
    torch.testing.assert_close(method.predict_memory(images, drawn),
                               (found["memory"].reshape(3, 128) + 1) * 127.5, **CLOSE)


def test_features_are_of_all_tokens_of_both(images, memory):
    method = shaken()
    every = torch.arange(16).expand(3, -1)
    whole = Remembered(every, every[:, :0], every, every[:, :0], memory)
    latent = method.features(images, memory)
    assert latent.patches.shape == (3, 32, 32)
    found = method.decoder(latent, Mask(torch.arange(32).expand(3, -1), every[:, :0]))["frame"]
    torch.testing.assert_close(method.predict(images, whole), found, **CLOSE)


@pytest.mark.parametrize("scored", ["all", "hidden"])
def test_the_loss_agrees_with_a_loop(scored, images, memory, generator):
    method = shaken(scored=scored, weight=0.25)
    drawn = method.sample_mask(3, generator, memory)
    predicted, bytes_ = method.predict(images, drawn), method.predict_memory(images, drawn)
    mean, std = method.encoder.mean, method.encoder.std
    frame, words = [], []
    for b in range(3):
        for n in range(16) if scored == "all" else drawn.hidden[b].tolist():
            row, col = n // 4 * 8, n % 4 * 8
            x = images[b, :, row:row + 8, col:col + 8].permute(1, 2, 0)
            frame.append((predicted[b, n] - ((x - mean) / std).flatten()).square().mean().item())
        for n in range(16) if scored == "all" else drawn.unread[b].tolist():
            error = (bytes_[b, 8 * n:8 * n + 8] - memory[b, 8 * n:8 * n + 8].float()) / 127.5
            words.append(error.square().mean().item())
    expected = sum(frame) / len(frame) + 0.25 * sum(words) / len(words)
    assert method(images, drawn).item() == pytest.approx(expected, rel=1e-4)


def test_hidden_words_leak_nowhere_and_the_others_everywhere(images, memory, generator):
    method = shaken()
    drawn = method.sample_mask(3, generator, memory)
    before = method.predict(images, drawn), method.predict_memory(images, drawn)
    for part, same in ((drawn.unread, True), (drawn.read, False)):
        other = memory.clone().unflatten(1, (16, 8))
        other[torch.arange(3)[:, None], part] += 77
        changed = drawn._replace(memory=other.flatten(1))
        after = method.predict(images, changed), method.predict_memory(images, changed)
        assert all(torch.equal(a, b) == same for a, b in zip(before, after, strict=True))


def test_every_weight_learns(images, memory, generator):
    method = shaken()
    method(images, method.sample_mask(3, generator, memory)).backward()
    for name, p in method.named_parameters():
        assert p.requires_grad == (not name.endswith("pos_embed"))
        assert not p.requires_grad or p.grad.abs().sum() > 0, name


BAD = [({"ratio": 1.0}, r"ratio must lie in \[0, 1\), got 1.0"),
       ({"memory_ratio": 1.5}, r"ratio must lie in \[0, 1\), got 1.5"),
       ({"memory_ratio": -0.5}, r"ratio must lie in \[0, 1\), got -0.5"),
       ({"memory_ratio": 0.99}, "some of 16 patches visible and hide some, got 0.99"),
       ({"memory_ratio": 0, "scored": "hidden"}, "ratio must be above 0 where hidden tokens"),
       ({"weight": -1}, "weight must not be negative, got -1"),
       ({"scored": "visible"}, "scored must be one of all, hidden, got 'visible'"),
       ({"target": "hog"}, "target must be one of pixel, normalised, got 'hog'"),
       ({"padding": "circular"}, "padding must be one of zeros, reflect, replicate, got"),
       ({"whole": 1}, "overrides must be among .* got whole")]


@pytest.mark.parametrize("options, message", BAD)
def test_what_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        mwm_memory("toy", **options)


@pytest.mark.parametrize("shape", [(2, 128), (3, 127)])
def test_memories_of_another_shape_are_refused(shape, generator):
    with pytest.raises(ValueError, match=r"memory must have shape \[3,128\], got \["):
        shaken().sample_mask(3, generator, torch.zeros(shape))
