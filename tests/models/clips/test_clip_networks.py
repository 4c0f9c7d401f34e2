"""The encoder and the decoder of clips."""

import pytest
import torch

from mae_lib.models.clips.decoder import ClipDecoder
from mae_lib.models.clips.encoder import ClipEncoder
from mae_lib.models.clips.masks import agnostic_mask
from mae_lib.models.clips.positions import SeparablePositions, SinusoidPositions
from mae_lib.models.decoder import Decoder
from mae_lib.models.encoder import Encoded, Encoder, take
from mae_lib.models.masks import Mask, nothing_hidden
from mae_lib.models.patches import sincos_2d

GRID = (3, 2, 4)  # of clips of 6 frames of 8x16 pixels
SIZES = {"frames": 6, "size": (8, 16), "patch": 4, "width": 16, "depth": 2, "heads": 2}


def shaken(module):
    """Every trainable parameter moved, so that no zero bias hides a mistake."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) * parameter.requires_grad)
    return module


def positions(kind, width, grid=GRID):
    if kind == "sinusoid":
        return SinusoidPositions(width, grid)
    return SeparablePositions(width, grid, class_token=kind == "separable")


def clip_encoder(kind="separable", **changes):
    return shaken(ClipEncoder(positions(kind, 16), **SIZES | changes,
                              class_token=kind == "separable"))


def clip_decoder(kind="separable", depth=2, bias=True):
    return shaken(ClipDecoder(16, positions(kind, 8), 12, 8, depth, 2, bias=bias,
                              class_token=kind == "separable"))


@pytest.fixture
def clips(generator):
    return torch.rand(2, 3, 6, 8, 16, generator=generator)


@pytest.fixture
def mask(generator):
    return agnostic_mask(2, GRID, 0.75, generator=generator)


def latent(kept):
    return Encoded(None, torch.randn(2, kept, 16), {}, {})


def slow_encode(encoder, clip, visible):
    """Pixels to tokens, one tubelet after another, for one clip; class token first."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    positions, weight = encoder.positions(), encoder.patch_embed.proj.weight
    line = [] if encoder.cls_token is None else [encoder.cls_token[0, 0] + positions[0, 0]]
    for n in visible.tolist():
        t, row, col = n // 8 * 2, n % 8 // 4 * 4, n % 4 * 4
        piece = clip[:, t:t + 2, row:row + 4, col:col + 4]
        piece = (piece - mean[:, None, None, None]) / std[:, None, None, None]
        token = (weight * piece).sum((1, 2, 3, 4)) + encoder.patch_embed.proj.bias
        line.append(token + positions[0, n + len(positions[0]) - 24])
    x = torch.stack(line)[None]
    for block in encoder.blocks:
        x = block(x)
    return encoder.norm(x)[0]


@pytest.mark.parametrize("kind", ["separable", "sinusoid"])
def test_the_encoder_agrees_with_a_loop(kind, clips, mask):
    encoder = clip_encoder(kind)
    slow = torch.stack([slow_encode(encoder, clips[b], mask.visible[b]) for b in range(2)])
    torch.testing.assert_close(encoder(clips, mask.visible).tokens, slow, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["separable", "sinusoid"])
def test_all_tubelets_in_order_are_the_default(kind, clips):
    encoder, every = clip_encoder(kind), torch.arange(24).expand(2, 24)
    torch.testing.assert_close(encoder(clips, every).tokens, encoder(clips).tokens,
                               rtol=1e-5, atol=1e-5)


def test_shapes_with_and_without_a_class_token(clips, mask):
    seen = clip_encoder()(clips, mask.visible)
    assert seen.cls.shape == (2, 16) and seen.patches.shape == (2, 6, 16)
    without = clip_encoder("sinusoid")(clips, mask.visible)
    assert without.cls is None and without.tokens.shape == (2, 6, 16)
    encoder = clip_encoder()
    assert (encoder.size, encoder.grid) == ((8, 16), GRID)


def test_a_model_of_one_frame_is_the_image_model(generator):
    """Same weights, positions of images for place and none for time."""
    image = shaken(Encoder((8, 16), 4, 16, 2, 2))
    clip = ClipEncoder(SeparablePositions(16, (1, 2, 4)), **SIZES | {"frames": 1}, time=1)
    state = {name: tensor for name, tensor in image.state_dict().items() if name != "pos_embed"}
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"][:, :, None]
    state |= {"positions.space": sincos_2d(16, (2, 4), class_token=False),
              "positions.time": torch.zeros(1, 1, 16), "positions.cls": torch.zeros(1, 1, 16)}
    clip.load_state_dict(state)
    pictures = torch.rand(3, 3, 8, 16, generator=generator)
    for visible in (None, torch.tensor([[0, 3, 5]]).expand(3, 3)):
        torch.testing.assert_close(clip(pictures[:, :, None], visible).tokens,
                                   image(pictures, visible).tokens, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 3])
def test_a_decoder_of_one_frame_is_the_image_decoder_without_a_class_token(depth, generator):
    image = shaken(Decoder(16, (2, 4), 12, 8, depth, 2, class_token=False))
    clip = ClipDecoder(16, SeparablePositions(8, (1, 2, 4), class_token=False), 12, 8, depth, 2,
                       class_token=False)
    state = {name: tensor for name, tensor in image.state_dict().items() if name != "pos_embed"}
    clip.load_state_dict(state | {"positions.space": sincos_2d(8, (2, 4), class_token=False),
                                  "positions.time": torch.zeros(1, 1, 8)})
    z, mask = latent(2), agnostic_mask(2, (1, 2, 4), 0.75, generator=generator)
    torch.testing.assert_close(clip(z, mask), image(z, mask), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(clip.everywhere(z, mask), image.everywhere(z, mask), rtol=1e-5,
                               atol=1e-5)


def test_intermediates_come_by_name_and_only_on_request(clips, mask):
    encoder = clip_encoder()
    plain = encoder(clips, mask.visible)
    assert plain.blocks == {} and plain.attention == {}
    asked = encoder(clips, mask.visible, blocks=[0, 1], attention=[1])
    assert torch.equal(asked.tokens, plain.tokens)
    assert sorted(asked.blocks) == [0, 1] and sorted(asked.attention) == [1]
    assert torch.equal(encoder.norm(asked.blocks[1]), asked.tokens)
    block = encoder.blocks[1]
    assert torch.equal(asked.attention[1], block.attn.weights(block.norm1(asked.blocks[0])))


def test_hidden_pixels_get_exactly_no_gradient_and_visible_ones_do(clips, mask):
    encoder = clip_encoder()
    clips.requires_grad_()
    encoder(clips, mask.visible).tokens.square().sum().backward()
    cells = clips.grad.unfold(2, 2, 2).unfold(3, 4, 4).unfold(4, 4, 4)
    gradient = cells.abs().amax((1, 5, 6, 7)).flatten(1)[..., None]
    assert torch.equal(take(gradient, mask.hidden), torch.zeros(2, 18, 1))
    assert take(gradient, mask.visible).min() > 0


def slow_decode(decoder, latent, mask, front):
    """One clip and one tubelet at a time, all in their natural order."""
    predictions = []
    for b in range(2):
        places = {int(n): k for k, n in enumerate(mask.visible[b])}
        table = decoder.positions()[0]
        line = [decoder.cls_token[0, 0] + table[0]] if front else []
        for n in range(24):
            token = (decoder.embed(latent.patches[b, places[n]]) if n in places
                     else decoder.mask_token[0, 0])
            line.append(token + table[front + n])
        x = torch.stack(line)[None]
        for block in decoder.blocks:
            x = block(x)
        predictions.append(decoder.pred(decoder.norm(x))[0, front:])
    return torch.stack(predictions)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("kind, bias, front", [("separable", True, 1), ("sinusoid", False, 0)])
def test_the_decoder_agrees_with_a_loop(kind, bias, front, depth, mask):
    decoder, z = clip_decoder(kind, depth, bias), latent(6)
    expected = slow_decode(decoder, z, mask, front)
    torch.testing.assert_close(decoder.everywhere(z, mask), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(decoder(z, mask), take(expected, mask.hidden), rtol=1e-5, atol=1e-5)


def test_the_decoder_takes_no_class_token_from_the_encoder(mask):
    decoder, z = clip_decoder(), latent(6)
    assert torch.equal(decoder(z._replace(cls=torch.randn(2, 16)), mask), decoder(z, mask))
    before = decoder(z, mask)
    decoder.cls_token.data += 1
    assert not torch.allclose(decoder(z, mask), before)


def test_the_order_of_visible_tubelets_does_not_matter(mask):
    decoder, z, order = clip_decoder(), latent(6), torch.randperm(6)
    shuffled = decoder(Encoded(None, z.patches[:, order], {}, {}),
                       Mask(mask.visible[:, order], mask.hidden))
    torch.testing.assert_close(shuffled, decoder(z, mask), rtol=1e-5, atol=1e-5)


def test_without_hidden_tubelets_the_mask_token_has_no_influence():
    decoder, z, mask = clip_decoder(), latent(24), nothing_hidden(2, (3, 8))
    before = decoder.everywhere(z, mask)
    decoder.mask_token.data += 1
    assert torch.equal(decoder.everywhere(z, mask), before)
    assert decoder(z, mask).shape == (2, 0, 12)


def test_the_decoders_bias_and_class_token_are_optional():
    plain, own = clip_decoder("sinusoid", bias=False), clip_decoder()
    assert plain.embed.bias is None and plain.cls_token is None
    assert own.embed.bias is not None and own.cls_token.requires_grad
    assert not ClipDecoder(16, positions("separable", 8), 12, 8, 1, 2).cls_token.any()


@pytest.mark.parametrize("shape", [(2, 3, 5, 8, 16), (2, 3, 6, 8, 8), (2, 3, 8, 16),
                                   (2, 1, 6, 8, 16)])
def test_clips_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"clips must have shape \[B,3,6,8,16\], got \["):
        clip_encoder()(torch.rand(shape))


def test_integer_clips_are_refused():
    with pytest.raises(TypeError, match="clips must be floating point .* got torch.uint8"):
        clip_encoder()(torch.zeros(1, 3, 6, 8, 16, dtype=torch.uint8))


@pytest.mark.parametrize("changes, message", [
    ({"frames": 1}, "frames must be at least the 2 of a tubelet, got 1"),
    ({"frames": 8}, r"positions must have shape \[1,33,16\], got \[1, 25, 16\]"),
    ({"std": (1, 1, 0)}, "mean and std must hold three numbers each")])
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        clip_encoder(**changes)
