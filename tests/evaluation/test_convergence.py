import numpy as np
import pytest

from mae_lib.evaluation.convergence import loss_slope, thinned


def test_a_straight_line_is_found_whatever_came_before():
    start, line = np.full(80, 7.0), np.linspace(1.01, 0.99, 20)
    assert loss_slope(np.concatenate([start, line])) == pytest.approx(-0.02)
    assert loss_slope(np.concatenate([start, line[::-1]])) == pytest.approx(0.02)
    assert loss_slope(np.full(50, 0.3)) == pytest.approx(0, abs=1e-12)


def test_the_unit_of_the_loss_and_noise_do_not_matter():
    rng = np.random.default_rng(0)
    losses = np.linspace(1, 0.5, 5000)
    assert loss_slope(40 * losses) == pytest.approx(loss_slope(losses))
    assert loss_slope(losses + 0.01 * rng.standard_normal(5000)) == pytest.approx(
        loss_slope(losses), abs=0.005)


@pytest.mark.parametrize("losses", [np.ones(4), np.array([1.0] * 9 + [np.nan])])
def test_too_few_or_broken_losses_are_refused(losses):
    with pytest.raises(ValueError, match="losses must hold at least two finite steps"):
        loss_slope(losses)


def test_a_thinned_curve_keeps_the_mean_and_the_ends():
    losses = np.arange(1000.0)
    assert thinned(losses, 10).tolist() == [losses[i:i + 100].mean() for i in range(0, 1000, 100)]
    assert thinned(losses[:7], 10).tolist() == losses[:7].tolist()
