"""Oracles O9.1 to O9.4, and a loop over pixels."""

from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mae_lib.models.losses import masked_mse
from mae_lib.models.margins import far_pixels, kept_share, margin_mse, scattering
from mae_lib.models.masks import mask_from_binary, nothing_hidden, random_mask
from mae_lib.models.methods import mae
from mae_lib.models.patches import unpatchify
from mae_lib.theory.masks import ignore_boundary

GRID, PATCH = (4, 5), 3


@pytest.fixture
def mask(generator):
    return random_mask(3, GRID, 0.6, generator=generator)


@pytest.fixture
def pair(mask, generator):
    shape = (2, *mask.hidden.shape, 3 * PATCH**2)
    return torch.randn(shape, generator=generator, dtype=torch.float64).unbind()


def weight_map(mask, grid, patch, margin) -> np.ndarray:
    """Weights of all pixels, bool ``[B, H, W]``; 0 where visible."""
    weights = far_pixels(mask, grid, patch, margin)
    every = torch.zeros(len(weights), grid[0] * grid[1], patch**2)
    every.scatter_(1, mask.hidden[..., None].expand_as(weights), weights)
    return unpatchify(every, patch, grid)[:, 0].bool().numpy()


def hidden_map(mask, grid, patch) -> np.ndarray:
    cells = mask.binary().bool().unflatten(1, grid).numpy()
    return cells.repeat(patch, 1).repeat(patch, 2)


def loop(pair, mask, grid, patch, margin) -> float:
    """The loss, pixel by pixel."""
    total, count = 0.0, 0
    hidden = hidden_map(mask, grid, patch)
    height, width = hidden.shape[1:]
    for b, places in enumerate(mask.hidden.tolist()):
        for k, place in enumerate(places):
            for n in range(patch**2):
                y, x = place // grid[1] * patch + n // patch, place % grid[1] * patch + n % patch
                around = [(v, u) for v in range(y - margin, y + margin + 1)
                          for u in range(x - margin, x + margin + 1)
                          if 0 <= v < height and 0 <= u < width]
                if all(hidden[b, v, u] for v, u in around):
                    a, t = (z[b, k, 3 * n:3 * n + 3].tolist() for z in pair)
                    total += sum((p - q) ** 2 for p, q in zip(a, t, strict=True))
                    count += 3
    return total / count if count else 0.0


@pytest.mark.parametrize("margin", [0, 1, 2, 4])
def test_the_loss_agrees_with_a_loop_over_pixels(pair, mask, margin):
    found = margin_mse(*pair, mask, grid=GRID, patch=PATCH, margin=margin)
    assert found.item() == pytest.approx(loop(pair, mask, GRID, PATCH, margin), rel=1e-12)


def test_without_a_margin_it_is_the_usual_loss(pair, mask):
    found = margin_mse(*pair, mask, grid=GRID, patch=PATCH, margin=0)
    torch.testing.assert_close(found, masked_mse(*pair, mask), rtol=1e-14, atol=0)


@pytest.mark.parametrize("margin, kept", [(0, 256), (2, 144), (7, 4), (8, 0), (9, 0)])
def test_a_lonely_hidden_patch_keeps_its_middle(margin, kept):
    alone = mask_from_binary(torch.tensor([[0, 0, 0, 0, 1, 0, 0, 0, 0]]))
    assert far_pixels(alone, (3, 3), 16, margin).sum() == kept


def test_a_hidden_image_keeps_every_pixel():
    everything = mask_from_binary(torch.ones(2, 9))
    assert far_pixels(everything, (3, 3), 4, 50).all()


@given(st.lists(st.booleans(), min_size=20, max_size=20).filter(any), st.integers(0, 6))
def test_weights_are_those_of_the_theory_and_shrink_with_the_margin(cells, margin):
    mask = mask_from_binary(torch.tensor([cells]))
    found = weight_map(mask, GRID, PATCH, margin)
    hidden = hidden_map(mask, GRID, PATCH)
    assert np.array_equal(found, ignore_boundary(hidden, margin)[0])
    assert not (found & ~hidden).any()
    assert not (weight_map(mask, GRID, PATCH, margin + 1) & ~found).any()


@pytest.mark.parametrize("margin", [1, 2])
@pytest.mark.parametrize("hidden", [1, 3, 6, 9])
def test_the_kept_share_is_the_mean_over_all_masks(hidden, margin):
    around = [i for i in range(9) if i != 4]
    rows = torch.zeros(len(list(combinations(around, hidden - 1))), 9)
    for row, others in zip(rows, combinations(around, hidden - 1), strict=True):
        row[[4, *others]] = 1
    mask = mask_from_binary(rows)
    middle = far_pixels(mask, (3, 3), 4, margin)[mask.hidden == 4]
    assert middle.double().mean().item() == pytest.approx(kept_share(4, margin, hidden, 9))


@pytest.mark.parametrize("patch, margin, share", [(16, 1, 0.936), (16, 2, 0.869), (16, 4, 0.729),
                                                  (8, 2, 0.729)])
def test_the_kept_share_at_the_published_size(patch, margin, share):
    assert kept_share(patch, margin, 147, 196) == pytest.approx(share, abs=5e-4)


def test_nothing_left_costs_nothing_and_keeps_the_graph(pair, mask):
    prediction = pair[0].clone().requires_grad_()
    loss = margin_mse(prediction, pair[1], mask, grid=GRID, patch=PATCH, margin=20)
    loss.backward()
    assert loss.item() == 0 and not prediction.grad.any()


def test_near_pixels_get_no_gradient_and_far_ones_do(pair, mask):
    prediction = pair[0].clone().requires_grad_()
    margin_mse(prediction, pair[1], mask, grid=GRID, patch=PATCH, margin=1).backward()
    far = far_pixels(mask, GRID, PATCH, 1).bool()
    assert torch.equal(prediction.grad.unflatten(-1, (-1, 3)).ne(0).all(-1), far)


def test_the_control_leaves_out_as_many_pixels_elsewhere(pair, mask):
    order = scattering(mask.hidden.shape[1], PATCH)
    prediction = pair[0].clone().requires_grad_()
    margin_mse(prediction, pair[1], mask, grid=GRID, patch=PATCH, margin=1, order=order).backward()
    left = prediction.grad.unflatten(-1, (-1, 3)).ne(0).all(-1)
    far = far_pixels(mask, GRID, PATCH, 1).bool()
    assert torch.equal(left.flatten(1).sum(1), far.flatten(1).sum(1))
    assert not torch.equal(left, far)


def test_one_compiled_graph_serves_all_masks(pair, generator):
    torch._dynamo.reset()  # of what other files compiled in this process
    loss = partial(margin_mse, grid=GRID, patch=PATCH, margin=1)
    compiled = torch.compile(loss, fullgraph=True, dynamic=False, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(3):
            mask = random_mask(3, GRID, 0.6, generator=generator)
            torch.testing.assert_close(compiled(*pair, mask), loss(*pair, mask))


def test_a_model_trains_with_it_in_place_of_the_usual_loss(generator):
    model = mae("toy", ratio=0.5, seed=0)
    images, mask = torch.rand(2, 3, 32, 32, generator=generator), model.sample_mask(2, generator)
    usual = model(images, mask)
    model.loss = partial(margin_mse, grid=model.encoder.grid, patch=4, margin=0)
    torch.testing.assert_close(model(images, mask), usual)
    model.loss = partial(margin_mse, grid=model.encoder.grid, patch=4, margin=1)
    assert 0 < model(images, mask) != usual


def test_impossible_arguments_are_refused(pair, mask):
    with pytest.raises(ValueError, match="margin must not be negative, got -1"):
        margin_mse(*pair, mask, grid=GRID, patch=PATCH, margin=-1)
    with pytest.raises(ValueError, match="mask must hide at least one patch"):
        far_pixels(nothing_hidden(1, GRID), GRID, PATCH, 1)
    with pytest.raises(ValueError, match=r"margin must lie in 0..2, half a patch, got 3"):
        kept_share(4, 3, 48, 64)
