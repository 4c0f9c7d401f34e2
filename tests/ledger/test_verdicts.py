import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mae_lib.ledger import verdicts
from mae_lib.ledger.verdicts import Effect, difference, effect

SEEDS = {
    "supported": [3.1, 2.8, 3.5, 2.2, 3.0],
    "supported (negligible)": [0.3, 0.5, 0.2, 0.4, 0.35],
    "not supported": [0.1, -0.3, 0.4, -0.2, 0.1],
    "inconclusive": [2, -1.5, 3, 0.2, -0.8],
}


@pytest.mark.parametrize(("word", "seeds"), SEEDS.items())
def test_the_rule_gives_the_verdicts_fixed_beforehand(word, seeds):
    assert difference(effect(seeds), 1.0).word == word


def test_the_opposite_is_called_reversed():
    verdict = difference(effect([-2, -1.5, -2.2, -1.8, -2.1]), 1.0)
    assert verdict.word == "not supported" and verdict.reversed
    assert not difference(effect(SEEDS["not supported"]), 1.0).reversed


def test_limits_and_p_are_those_of_a_paired_t_test():
    values = [0.8, 1.1, 0.6, 0.9, 1.3]
    found = effect(values)
    assert found.limit(-1) == pytest.approx(0.6824, abs=5e-5)
    assert found.p() == pytest.approx(0.00074, abs=5e-6)
    expected = stats.ttest_1samp(values, 0.2, alternative="greater")
    assert found.p(0.2) == pytest.approx(expected.pvalue)
    assert found.limit(-1, 0.01) == pytest.approx(expected.confidence_interval(0.99).low)


def test_equivalence_is_two_one_sided_tests():
    found = effect(SEEDS["supported (negligible)"])
    verdict = verdicts.equivalent(found, 1.0)
    assert verdict.word == "supported"
    assert verdict.p == pytest.approx(max(
        stats.ttest_1samp(SEEDS["supported (negligible)"], -1, alternative="greater").pvalue,
        stats.ttest_1samp(SEEDS["supported (negligible)"], 1, alternative="less").pvalue))
    assert verdicts.equivalent(effect(SEEDS["supported"]), 1.0).word == "not supported"
    assert verdicts.equivalent(effect(SEEDS["inconclusive"]), 1.0).word == "inconclusive"


def test_noninferiority_allows_a_margin():
    low = effect([-0.3, -0.2, -0.4, -0.3, -0.25])
    assert verdicts.not_worse(low, 0.5).word == "supported"
    assert verdicts.not_worse(low, 0.1).word == "not supported"
    assert verdicts.not_worse(low, 0.3).word == "inconclusive"


def test_type_one_errors_keep_their_level():
    rng = np.random.default_rng(0)
    runs = rng.normal(0, 0.8, (4000, 5))
    share = np.mean([difference(effect(row), 1.0).word.startswith("supported") for row in runs])
    assert share == pytest.approx(0.05, abs=0.011)


@pytest.fixture
def table():
    rng = np.random.default_rng(1)
    means = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 1.5}
    return pd.DataFrame({k: m + 0.1 * rng.standard_normal(5) for k, m in means.items()})


def test_an_order_needs_each_step(table):
    assert verdicts.ordered(table, ["a", "b", "c"], 0.5).word == "supported"
    found = verdicts.ordered(table, ["a", "b", "c", "d"], 0.5)
    assert found.word == "not supported" and found.effect.mean < 0
    assert list(found.parts) == ["a < b", "b < c", "c < d"]
    assert found.p == max(e.p() for e in found.parts.values())


def test_a_peak_beats_every_other_level(table):
    assert verdicts.peak(table, "c", 0.5).word == "supported"
    assert verdicts.peak(table, "b", 0.5).word == "not supported"


def test_extremes_lie_below_the_levels_between_them(table):
    assert verdicts.extremes(table, 0.1).word == "supported"
    assert verdicts.extremes(table[["b", "a", "c", "d"]], 0.1).word == "not supported"
    assert verdicts.extremes_below_best(table[["b", "a", "c", "d"]], 0.1).word == "supported"


def test_the_best_level_is_chosen_on_the_other_seeds():
    """Each seed's own best is another: chosen on itself it would win by 3, chosen fairly never."""
    table = pd.DataFrame({"low": [0.0] * 3, "b": [3.0, 0, 0], "c": [0, 3.0, 0], "d": [0, 0, 3.0],
                          "high": [0.0] * 3})
    assert verdicts.extremes_below_best(table, 1.0).effect.mean < 1.0


def test_a_trend_is_pages(table):
    levels = ["a", "d", "b", "c"]
    found = verdicts.trend(table, levels, 0.5)
    assert found.word == "supported"
    assert found.p == stats.page_trend_test(table[levels].to_numpy()).pvalue
    down = verdicts.trend(table, levels[::-1], 0.5)
    assert down.word == "not supported" and down.reversed


def test_composites_are_refuted_at_a_level_divided_by_their_number():
    """One part is just refuted on its own, but not at a tenth of the level."""
    seeds = np.array([0.9, 0.1, 0.4, 0.2, 0.6])
    alone = effect(seeds)
    sesoi = alone.limit(+1) + 1e-6
    parts = {"weak": Effect(alone.mean - 0.44, alone.deviation, 5)}
    assert verdicts.all_of(parts, sesoi - 0.44).word == "not supported"
    many = parts | {f"strong {i}": Effect(5.0, 0.1, 5) for i in range(9)}
    assert verdicts.all_of(many, sesoi - 0.44).word == "inconclusive"


def test_exact_effects_have_no_spread():
    assert difference(Effect(0.2), 0.0).word == "supported"
    assert difference(Effect(0.2), 0.5).word == "supported (negligible)"
    assert difference(Effect(0.0), 0.0).word == "not supported"
    assert difference(Effect(-0.1), 0.0).reversed


def test_an_identity_falls_by_one_violation():
    assert verdicts.exact(0, 3000).word == "supported"
    assert verdicts.exact(0, 3000).p == pytest.approx(0.001)
    assert verdicts.exact(1, 3000).word == "not supported"


def test_the_least_favourable_part_decides():
    good, bad = verdicts.exact(0, 10), verdicts.exact(1, 10)
    assert verdicts.weakest({"a": good, "b": bad}).word == "not supported"
    open_ = difference(effect(SEEDS["inconclusive"]), 1.0)
    assert verdicts.weakest({"a": good, "b": open_}).word == "inconclusive"
    assert set(verdicts.weakest({"a": good, "b": bad}).parts) == {"a: 10 trials", "b: 10 trials"}


def test_holm_agrees_with_its_definition():
    rng = np.random.default_rng(2)
    for _ in range(50):
        p = dict(zip("abcdef", rng.uniform(0, 0.2, 6), strict=True))
        adjusted = verdicts.holm(p)
        for name, value in p.items():
            below = [q for q in p.values() if q <= value]
            steps = [min(1, q * (6 - sum(r < q for r in p.values()))) for q in below]
            assert adjusted[name] == pytest.approx(max(steps))
    assert verdicts.holm({"a": 0.02, "b": float("nan")})["a"] == 0.02


@pytest.mark.parametrize(("call", "message"), [
    (lambda t: effect([1.0]), "at least 2 seeds"),
    (lambda t: effect([1.0, np.nan]), "must be finite"),
    (lambda t: verdicts.all_of({}, 0.1), "parts must be given"),
    (lambda t: difference(Effect(1.0), -1), "sesoi must not be negative"),
    (lambda t: verdicts.ordered(t, ["a", "x"], 0.1), "levels must be columns .*, got 'x'"),
    (lambda t: verdicts.peak(t.mask(t > 2.9), "c", 0.1), "same seeds"),
    (lambda t: verdicts.exact(2, 1), "violations must lie in 0..trials"),
])
def test_bad_input_gets_a_sentence(call, message, table):
    with pytest.raises(ValueError, match=message):
        call(table)
