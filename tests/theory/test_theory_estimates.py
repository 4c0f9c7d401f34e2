import numpy as np
import pandas as pd
import pytest

from mae_lib.theory.batch import locate_many
from mae_lib.theory.estimates import at_least, estimates, expectations, plus_minus
from mae_lib.theory.families import tree
from mae_lib.theory.levels import level_stats, nodes_by_height
from mae_lib.theory.rates import tree_rates


def sample(rng, masks, ratio=0.3):
    return locate_many(tree(2, 4), rng.random((masks, 16)) < ratio).counts()


def test_estimates_are_the_statistics_of_the_levels():
    counts = sample(np.random.default_rng(0), 50, ratio=0.05)
    found = estimates(counts, 2).set_index("quantity").value
    expected = level_stats(counts, nodes_by_height(tree(2, 4)))
    assert found["mean height"] == pytest.approx(expected.pooled)
    assert found["variables located"] == pytest.approx(expected.size)
    assert found["masks that locate nothing"] == pytest.approx(expected.empty) and expected.empty
    assert found[at_least(2)] == pytest.approx(counts[:, 2:].sum() / 50)


def test_intervals_cover_the_expectation_as_often_as_they_promise():
    rng, covered = np.random.default_rng(1), []
    expected = expectations(tree_rates(2, 4, 0, 0.3), high=3)
    for _ in range(400):
        found = estimates(sample(rng, 200), 3).iloc[:3]
        covered.append((found.low <= expected.value) & (expected.value <= found.high))
    share = pd.DataFrame(covered).mean()
    assert found.quantity.tolist() == expected.quantity.tolist()
    assert (share[:2] > 0.92).all() and (share < 0.98).all()  # .95, three standard errors
    assert share[2] > 0.88  # one or two such variables in the whole sample: roughly


def test_what_never_varies_has_an_interval_without_width():
    found = estimates(np.tile([0, 3, 1], (5, 1))).set_index("quantity")
    assert found.loc["mean height"].tolist() == [1.25] * 3
    assert found.loc["variables located"].tolist() == [4] * 3


def test_nothing_located_has_no_height():
    found = estimates(np.zeros((4, 3), int)).set_index("quantity").value
    assert np.isnan(found["mean height"]) and found["masks that locate nothing"] == 1
    assert np.isnan(expectations(tree_rates(2, 3, 0, 0.0)).value[0])


def test_estimates_are_written_with_half_their_interval():
    table = pd.DataFrame({"value": [1.25, np.nan], "low": [1.2, np.nan], "high": [1.3, np.nan]})
    assert plus_minus(table, 2).tolist() == ["1.25\u00a0±\u00a00.05", "–"]


@pytest.mark.parametrize(("call", "message"), [
    (lambda: estimates(np.zeros((1, 3))), r"at least two masks, got shape \[1, 3\]"),
    (lambda: estimates(np.zeros((2, 3)), 3), r"high must lie in 0\.\.2, .* got 3"),
    (lambda: expectations(tree_rates(2, 3, 0, 0.5), high=4), r"high must lie in 0\.\.3"),
    (lambda: expectations(tree_rates(2, 3, 0, 0.5), "s_m"), "a column of rates, got 's_m'"),
])
def test_bad_input_gets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
