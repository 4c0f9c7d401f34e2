import pytest
import torch

from mae_lib.models.encoder import take
from mae_lib.models.losses import masked_mse
from mae_lib.models.masks import nothing_hidden, random_mask
from mae_lib.models.targets import normalised_pixels


@pytest.fixture
def mask(generator):
    return random_mask(3, (4, 5), 0.6, generator=generator)


@pytest.fixture
def pair(generator):
    return torch.randn(2, 3, 20, 12, generator=generator, dtype=torch.float64).unbind()


def of_hidden(prediction, target, mask):
    """The loss of predictions and targets of all patches ``[B, L, n]``."""
    return masked_mse(take(prediction, mask.hidden), take(target, mask.hidden), mask)


def test_the_loss_agrees_with_a_loop(pair, mask):
    errors = []
    for b in range(3):
        for patch in mask.hidden[b].tolist():
            difference = [(float(p) - float(t)) ** 2
                          for p, t in zip(pair[0][b, patch], pair[1][b, patch], strict=True)]
            errors.append(sum(difference) / 12)
    assert of_hidden(*pair, mask).item() == pytest.approx(sum(errors) / len(errors), rel=1e-12)


def test_the_loss_is_the_mean_weighted_by_the_binary_mask(pair, mask):
    hidden = mask.binary().double()
    expected = ((pair[0] - pair[1]).square().mean(-1) * hidden).sum() / hidden.sum()
    torch.testing.assert_close(of_hidden(*pair, mask), expected, rtol=1e-12, atol=0)


def test_visible_patches_get_exactly_no_gradient_and_hidden_ones_do(pair, mask):
    prediction = pair[0].clone().requires_grad_()
    of_hidden(prediction, pair[1], mask).backward()
    hidden = mask.binary().bool()
    assert not prediction.grad[~hidden].any()
    expected = 2 * (pair[0] - pair[1])[hidden] / (hidden.sum() * 12)
    torch.testing.assert_close(prediction.grad[hidden], expected, rtol=1e-12, atol=0)


def test_a_zero_prediction_of_normalised_pixels_costs_almost_one(pair, mask):
    patches = pair[0]
    variance = patches.var(-1)
    by_patch = 11 / 12 * variance / (variance + 1e-6)
    loss = of_hidden(torch.zeros_like(patches), normalised_pixels(patches), mask)
    torch.testing.assert_close(loss, by_patch[mask.binary().bool()].mean(), rtol=1e-10, atol=0)


def test_a_perfect_prediction_costs_nothing(pair, mask):
    assert of_hidden(pair[0], pair[0], mask) == 0


def test_a_mask_that_hides_nothing_is_refused(pair):
    with pytest.raises(ValueError, match="mask must hide at least one patch"):
        of_hidden(*pair, nothing_hidden(3, (4, 5)))
