"""Errors beside true partners and strangers, against networks whose answers are known and loops."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mae_lib.evaluation import partners
from mae_lib.models.clips.cross import PairMask
from mae_lib.models.clips.siamese import frame_at
from mae_lib.models.masks import random_mask
from mae_lib.models.patches import patchify

GRID, PATCH, SIDE, B = (2, 3), 4, (8, 12), 5
NOISE = torch.Generator().manual_seed(0)


def pictures(*shape: int) -> torch.Tensor:
    return torch.rand(B, *shape, 3, *SIDE, generator=NOISE)


def masks(ratio: float = 0.5, grid=GRID, seed: int = 0):
    return random_mask(B, grid, ratio, generator=torch.Generator().manual_seed(seed))


def network(predict, **more) -> SimpleNamespace:
    """Something that answers like a model of pixels without standardisation."""
    encoder = SimpleNamespace(grid=GRID, mean=torch.zeros(3), std=torch.ones(3))
    return SimpleNamespace(encoder=encoder, config={"patch": PATCH, "target": "pixel"},
                           predict=predict, **more)


def hidden_by_loop(mask) -> torch.Tensor:
    found = torch.zeros(B, *SIDE, dtype=torch.bool)
    for b in range(B):
        for cell in mask.hidden[b].tolist():
            y, x = divmod(cell, GRID[1])
            found[b, y * PATCH:(y + 1) * PATCH, x * PATCH:(x + 1) * PATCH] = True
    return found


def check(drawn, prediction, target, mask):
    assert torch.allclose(drawn.pixels, prediction)
    assert torch.allclose(drawn.errors, ((prediction - target) ** 2).sum(1))
    assert torch.equal(drawn.hidden, hidden_by_loop(mask))


def test_the_second_view_is_drawn_beside_the_first_of_its_partner():
    views, others, both = pictures(2), pictures(2), (masks(seed=1), masks(1 / 3, seed=2))
    seen = []

    def copies(images, mask):
        """Says of both views what the first one shows."""
        seen.append((images, mask))
        return patchify(images[:, 0], PATCH).repeat(1, 2, 1)

    drawn = partners.second_view(network(copies), views.flip(2), others.flip(2), both)
    check(drawn, others.flip(2)[:, 0], views.flip(2)[:, 1], both[1])
    (images, mask), = seen
    assert torch.equal(images[:, 1], views.flip(2)[:, 1])
    assert torch.equal(mask.hidden, torch.cat([both[0].hidden, both[1].hidden + 6], 1))
    assert torch.equal(mask.visible, torch.cat([both[0].visible, both[1].visible + 6], 1))


def test_a_frame_is_drawn_beside_a_memory_that_may_be_anothers():
    frames, memory = pictures(), torch.arange(B * 128).reshape(B, 128) % 251
    both = (masks(), random_mask(B, (1, 16), 0.75, generator=NOISE))

    def shows(images, drawn):
        assert torch.equal(drawn.read, both[1].visible) and torch.equal(drawn.visible,
                                                                        both[0].visible)
        grey = (drawn.memory[:, 7].float() / 255)[:, None, None]
        return grey.expand(B, 6, 3 * PATCH**2)

    strange = memory.roll(2, 0)
    drawn = partners.beside_memory(network(shows), frames, strange, both)
    grey = (strange[:, 7] / 255)[:, None, None, None].expand_as(frames)
    check(drawn, grey, frames, both[0])


def test_of_the_memory_only_hidden_words_are_scored():
    frames, memory = pictures(), torch.randint(256, (B, 128), generator=NOISE)
    both = (masks(), random_mask(B, (1, 16), 0.75, generator=NOISE))
    guess = torch.rand(B, 128, generator=NOISE) * 255
    found = partners.memory_errors(network(None, predict_memory=lambda *_: guess), frames, memory,
                                   both)
    for b in range(B):
        for byte in range(128):
            if byte // 8 in both[1].hidden[b].tolist():
                assert found[b, byte] == (guess[b, byte] - memory[b, byte]) ** 2
            else:
                assert torch.isnan(found[b, byte])


def test_a_future_frame_is_drawn_after_the_past_of_its_partner():
    clips, others = (pictures(6).transpose(1, 2) for _ in range(2))
    mask, first = masks(), torch.tensor([0, 1, 2, 0, 3])
    drawn = PairMask(*mask, masks().visible, first, first + 2)

    def repeats(seen, where):
        assert torch.equal(frame_at(seen, where.second), frame_at(clips, first + 2))
        return patchify(frame_at(seen, where.first), PATCH)

    before = clips.clone()
    found = partners.after_past(network(repeats), clips, others, drawn)
    past = torch.stack([others[b, :, first[b]] for b in range(B)])
    check(found, past, torch.stack([clips[b, :, first[b] + 2] for b in range(B)]), mask)
    assert torch.equal(clips, before)


@pytest.mark.parametrize("batch", [3, 128])
def test_ratios_are_of_sums_over_hidden_pixels_of_a_region(monkeypatch, batch):
    monkeypatch.setattr(partners, "BATCH", batch)
    count, rng = 7, np.random.default_rng(0)
    errors, hidden = rng.random((count, count, 4, 5)), rng.random((count, 4, 5)) < 0.5
    regions = {"some": rng.random((count, 4, 5)) < 0.5, "none": np.zeros((count, 4, 5), bool)}

    def draw(rows, whose):
        return partners.Drawn(torch.zeros(1), torch.from_numpy(errors[rows, whose]),
                              torch.from_numpy(hidden[rows]))

    found = partners.partner_ratios(draw, regions)
    total = [0.0, 0.0]
    for i in range(count):
        for k, whose in enumerate((i, (i + 3) % count)):
            for y in range(4):
                for x in range(5):
                    if hidden[i, y, x] and regions["some"][i, y, x]:
                        total[k] += errors[i, whose, y, x]
    assert found["some"] == pytest.approx(total[0] / total[1], rel=1e-12)
    assert np.isnan(found["none"]) and list(found) == ["some", "none"]


@pytest.mark.parametrize("count", [2, 3, 10, 11])
def test_nobody_is_a_stranger_to_itself_and_all_are_met_once(count):
    found = partners.strangers(count)
    assert sorted(found) == list(range(count)) and (found != np.arange(count)).all()


def test_a_single_moment_has_no_stranger():
    with pytest.raises(ValueError, match="count must be at least 2 .*, got 1"):
        partners.strangers(1)
