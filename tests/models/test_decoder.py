import pytest
import torch

from mae_lib.models.decoder import Decoder
from mae_lib.models.encoder import Encoded, take
from mae_lib.models.masks import Mask, nothing_hidden, random_mask

GRID = (4, 5)


@pytest.fixture
def decoder(generator):
    decoder = Decoder(32, GRID, 12, width=16, depth=2, heads=2)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) * parameter.requires_grad)
    return decoder


@pytest.fixture
def mask(generator):
    return random_mask(3, GRID, 0.75, generator=generator)


def latent(kept, class_token=True):
    return Encoded(torch.randn(3, 32) if class_token else None, torch.randn(3, kept, 32), {}, {})


def slow_decode(decoder, latent, mask):
    """The equations of the paper for one image and one patch at a time."""
    predictions = []
    for b in range(len(latent.patches)):
        places = {int(p): k for k, p in enumerate(mask.visible[b])}
        first = 0 if latent.cls is None else 1
        line = [decoder.embed(latent.cls[b]) + decoder.pos_embed[0, 0]] if first else []
        for patch in range(decoder.patches):
            seen = patch in places
            token = decoder.embed(latent.patches[b, places[patch]]) if seen else (
                decoder.mask_token[0, 0])
            line.append(token + decoder.pos_embed[0, first + patch])
        x = torch.stack(line)[None]
        for block in decoder.blocks:
            x = block(x)
        predictions.append(decoder.pred(decoder.norm(x))[0, first:])
    return torch.stack(predictions)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("class_token", [True, False])
def test_the_decoder_agrees_with_a_loop(depth, class_token, mask):
    decoder = Decoder(32, GRID, 12, width=16, depth=depth, heads=2, class_token=class_token)
    z = latent(5, class_token)
    expected = slow_decode(decoder, z, mask)
    everywhere = decoder.everywhere(z, mask)
    assert everywhere.shape == (3, 20, 12)
    torch.testing.assert_close(everywhere, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(decoder(z, mask), take(expected, mask.hidden), rtol=1e-5, atol=1e-5)


def test_the_order_of_visible_patches_does_not_matter(decoder, mask):
    z, order = latent(5), torch.randperm(5)
    shuffled = decoder(z._replace(patches=z.patches[:, order]),
                       Mask(mask.visible[:, order], mask.hidden))
    torch.testing.assert_close(shuffled, decoder(z, mask), rtol=1e-5, atol=1e-5)


def test_without_hidden_patches_the_mask_token_has_no_influence(decoder):
    z, mask = latent(20), nothing_hidden(3, GRID)
    before = decoder.everywhere(z, mask)
    torch.testing.assert_close(before, slow_decode(decoder, z, mask), rtol=1e-5, atol=1e-5)
    torch.nn.init.ones_(decoder.mask_token)
    assert torch.equal(decoder.everywhere(z, mask), before)
    assert decoder(z, mask).shape == (3, 0, 12)


def test_the_class_token_takes_part(decoder, mask):
    z = latent(5)
    assert not torch.allclose(decoder(z, mask), decoder(z._replace(cls=z.cls + 1), mask))


def test_positions_are_fixed_and_the_mask_token_is_not(decoder):
    assert not decoder.pos_embed.requires_grad and decoder.mask_token.requires_grad


def test_the_mask_token_starts_normal_with_deviation_two_percent(generator):
    token = Decoder(8, (1, 1), 3, width=4096, depth=0).mask_token
    assert token.std().item() == pytest.approx(0.02, rel=0.05)
