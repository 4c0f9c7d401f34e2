"""Masks and a decoder over groups of tokens."""

import numpy as np
import pytest
import torch

from mae_lib.models.decoder import Decoder
from mae_lib.models.encoder import Encoded, take
from mae_lib.models.masks import Mask, random_mask
from mae_lib.models.patches import sincos_2d
from mae_lib.models.worlds.groups import (
    GroupDecoder,
    beside,
    check_options,
    joined,
    part_mask,
    scored_mse,
)

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def latent(mask, width=12):
    torch.manual_seed(1)
    return Encoded(torch.randn(len(mask.visible), width), torch.randn(*mask.visible.shape, width),
                   {}, {})


def shaken(module):
    """Every trainable parameter moved, so that none is zero."""
    torch.manual_seed(0)
    for p in module.parameters():
        if p.requires_grad:
            p.data.add_(0.1 * torch.randn_like(p))
    return module


def two_groups(**options):
    tables = {"a": torch.randn(5, 8), "b": torch.randn(2, 8)}
    return shaken(GroupDecoder(12, tables, {"a": 6, "b": 1}, 8, 2, 2, **options))


def test_with_one_group_it_is_maes_decoder(generator):
    mask = random_mask(3, (3, 4), 0.5, generator=generator)
    plain = shaken(Decoder(12, (3, 4), 27, 8, 2, 2))
    table = {"frame": sincos_2d(8, (3, 4), class_token=False)[0]}
    found = GroupDecoder(12, table, {"frame": 27}, 8, 2, 2)
    weights = {name.replace("pred.", "heads.frame."): w for name, w in plain.state_dict().items()}
    assert torch.equal(found.pos_embed, plain.pos_embed)
    found.load_state_dict(weights)
    torch.testing.assert_close(found(latent(mask), mask)["frame"],
                               plain.everywhere(latent(mask), mask), **CLOSE)


@pytest.mark.parametrize("embeddings", [False, True])
def test_every_token_gets_its_place_and_the_head_of_its_group(embeddings):
    """Against one sequence put together token by token, in the order of their numbers."""
    decoder = two_groups(embeddings=embeddings)
    mask = Mask(torch.tensor([[0, 3, 6], [1, 2, 5]]), torch.tensor([[1, 2, 4, 5], [0, 3, 4, 6]]))
    seen, table = decoder.embed(latent(mask).tokens), decoder.pos_embed[0]
    found = decoder(latent(mask), mask)
    for b in range(2):
        row = [seen[b, 0] + table[0]]
        for n in range(7):
            shown = mask.visible[b].tolist()
            token = seen[b, 1 + shown.index(n)] if n in shown else decoder.mask_token[0, 0]
            own = decoder.group_embed[int(n > 4)] if embeddings else 0
            row.append(token + table[1 + n] + own)
        x = torch.stack(row)[None]
        for block in decoder.blocks:
            x = block(x)
        x = decoder.norm(x)[0, 1:]
        torch.testing.assert_close(found["a"][b], decoder.heads["a"](x[:5]), **CLOSE)
        torch.testing.assert_close(found["b"][b], decoder.heads["b"](x[5:]), **CLOSE)


def test_positions_are_fixed_and_embeddings_learn():
    names = {n: p.requires_grad for n, p in two_groups(embeddings=True).named_parameters()}
    assert not names.pop("pos_embed") and all(names.values()) and "group_embed" in names
    assert "group_embed" not in dict(two_groups().named_parameters())
    assert "group" not in two_groups().state_dict()


@pytest.mark.parametrize("ratio, shown", [(0, 12), (0.0, 12), (0.75, 3), (1, 0), (1.0, 0)])
def test_a_part_may_be_hidden_as_a_whole_or_not_at_all(ratio, shown, generator):
    mask = part_mask(5, (3, 4), ratio, generator=generator)
    assert mask.visible.shape == (5, shown) and mask.hidden.shape == (5, 12 - shown)
    every = torch.arange(12).expand(5, -1)
    assert torch.equal(torch.cat(mask, 1).sort(1).values, every)
    assert all(torch.equal(part, part.sort(1).values) for part in mask)


def test_one_mask_is_put_together_of_several(generator):
    counts = (6, 1, 4)
    masks = [part_mask(3, (1, n), r, generator=generator)
             for n, r in zip(counts, (0.5, 1, 0.25), strict=True)]
    found = joined(masks, counts)
    expected = torch.cat([mask.binary() for mask in masks], dim=1)
    assert torch.equal(found.binary(), expected)
    assert found.visible.shape == (3, 6) and (found.visible.diff(dim=1) > 0).all()


@pytest.mark.parametrize("scored", ["all", "hidden"])
def test_the_loss_against_a_loop(scored, generator):
    mask = random_mask(3, (2, 4), 0.75, generator=generator)
    prediction, target = torch.randn(2, 3, 8, 5, generator=generator, dtype=torch.float64)
    total, count = 0.0, 0
    for b in range(3):
        for n in range(8) if scored == "all" else mask.hidden[b].tolist():
            total += sum((p - t) ** 2 for p, t in zip(prediction[b, n].tolist(),
                                                     target[b, n].tolist(), strict=True)) / 5
            count += 1
    assert scored_mse(prediction, target, mask, scored).item() == pytest.approx(total / count)
    same = take(prediction, mask.hidden)
    if scored == "hidden":  # what is visible does not count
        target.scatter_(1, mask.hidden[..., None].expand_as(same), same)
        assert scored_mse(prediction, target, mask, scored).item() == 0


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_values_travel_beside_the_masks_of_their_frames(kind):
    class Method:
        def sample_mask(self, batch, generator, values):
            return batch, generator, values

    masks = beside(Method(), kind([5, 6, 7, 8]))
    batch, generator, values = masks(np.array([3, 0]), "source")
    assert batch == 2 and generator == "source" and values.tolist() == [8, 5]


@pytest.mark.parametrize("options, message", [
    (("hog", "all"), "target must be one of pixel, normalised, got 'hog'"),
    (("pixel", "some"), "scored must be one of all, hidden, got 'some'"),
    (("pixel", "hidden", 0.5, 0), "ratio must be above 0 where hidden tokens alone .* got 0")])
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        check_options(*options)
