import numpy as np
import pytest
from scipy import stats

from mae_lib.ledger.statistics import (
    discordant,
    mcnemar_exact,
    paired_bootstrap,
    t_interval,
    wilson,
)


@pytest.mark.parametrize(("k", "n", "low", "high"), [
    (0, 10, 0, 0.2775), (5, 10, 0.2366, 0.7634), (950, 1000, 0.9347, 0.9619)])
def test_wilson_limits(k, n, low, high):
    mean, lo, hi = wilson(k, n)
    assert (mean, lo, hi) == pytest.approx((k / n, low, high), abs=5e-5)


@pytest.mark.parametrize("k", range(0, 31, 5))
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_equals_scipy(k, level):
    reference = stats.binomtest(k, 30).proportion_ci(level, method="wilson")
    assert wilson(k, 30, level)[1:] == pytest.approx(tuple(reference), abs=1e-9)


def test_t_interval_equals_scipy():
    values = [0.8, 1.1, 0.6, 0.9, 1.3]
    reference = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    mean, low, high = t_interval(values, 0.9)
    assert (low, high) == pytest.approx(tuple(reference))
    assert mean == pytest.approx(0.94)
    assert low == pytest.approx(0.6824, abs=5e-5)  # the one-sided 95 % limit


def test_t_interval_covers_the_mean_as_often_as_promised():
    rng = np.random.default_rng(0)
    hits = [low <= 0 <= high for _, low, high in
            (t_interval(rng.normal(size=3), 0.9) for _ in range(2000))]
    assert abs(np.mean(hits) - 0.9) < 4 * np.sqrt(0.09 / 2000)


@pytest.mark.parametrize(("b", "c", "p"), [(10, 2, 0.0386), (5, 5, 1), (0, 0, 1), (2, 10, 0.0386)])
def test_mcnemar(b, c, p):
    assert mcnemar_exact(b, c) == pytest.approx(p, abs=5e-5)


def test_discordant_items_are_counted_by_side():
    assert discordant([1, 1, 1, 0, 0], [1, 0, 0, 1, 0]) == (2, 1)
    assert discordant(np.array([True, False]), np.array([False, False])) == (1, 0)


def test_the_paired_bootstrap_finds_the_standard_error():
    rng = np.random.default_rng(1)
    a = rng.normal(size=400)
    b = a + rng.normal(0.1, 0.5, size=400)
    mean, low, high = paired_bootstrap(a, b, draws=2000)
    assert mean == pytest.approx((a - b).mean())
    half = 1.96 * (a - b).std() / 20
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.1 * half)
    assert paired_bootstrap(a, b, draws=100) == paired_bootstrap(a, b, draws=100)
    assert paired_bootstrap(a, a, draws=10) == (0, 0, 0)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: wilson(11, 10), "successes must lie in 0..n"),
    (lambda: wilson(0, 0), "successes must lie in 0..n"),
    (lambda: wilson(1, 2, 1.0), "level must lie in"),
    (lambda: t_interval([1.0]), "at least 2 seeds"),
    (lambda: t_interval([1.0, np.nan]), "finite"),
    (lambda: mcnemar_exact(-1, 2), "not be negative"),
    (lambda: discordant([1], [1, 0]), "same items"),
    (lambda: paired_bootstrap([], []), "same items"),
    (lambda: paired_bootstrap([1.0], [np.inf]), "finite")])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
