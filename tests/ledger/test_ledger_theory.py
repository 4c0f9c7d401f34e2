import numpy as np
import pandas as pd
import pytest

from mae_lib.ledger import theory
from mae_lib.theory.families import tree
from mae_lib.theory.search import Located, locate


def test_the_search_has_no_exception_and_a_broken_one_has(monkeypatch):
    assert theory.smallest_set(30, 10, seed=0).word == "supported"

    def unpruned(graph, target):
        found = locate(graph, target)
        return Located(found.selected, found.selected, found.shared, found.s_m, found.s_mc)

    monkeypatch.setattr(theory, "locate", unpruned)
    assert theory.smallest_set(30, 10, seed=0).word == "not supported"


def scores(**changes) -> pd.DataFrame:
    """Five seeds of each case, as if training had found c."""
    rows = []
    for seed in range(5):
        for case in ("squared error", "squared error, linear world", "squared error, latent graph"):
            rows.append({"case": case, "seed": seed, "code > c": 0.98 + seed / 1e3,
                         "c > code": 0.98 + seed / 1e3, "leak": 0.001 * seed} | changes)
        rows.append({"case": "no training", "seed": seed, "code > c": 0.4 + seed / 1e2,
                     "c > code": 0.4, "leak": 0.3})
    return pd.DataFrame(rows)


def test_a_code_that_is_c_is_told_from_one_that_leaks_or_misses():
    assert theory.code_is_c(scores()).word == "supported"
    assert theory.code_is_c(scores(leak=0.1)).word == "not supported"
    assert theory.code_is_c(scores(**{"code > c": 0.9})).word == "not supported"


def test_one_hidden_pixel_finds_a_low_latent_on_balanced_trees_only():
    """By hand: hiding x3 or x4 of Figure 4 locates z1 or z2, of the top layer."""
    for hidden in (True, False):
        verdict = theory.one_pixel(hidden)
        assert verdict.word == "not supported"
        shares = {name.partition(":")[0]: e.mean for name, e in verdict.parts.items()}
        assert shares == pytest.approx({"figure 4, two trees": -2 / 6, "figure 4, crossed": -2 / 6,
                                        "binary tree": 0, "ternary tree": 0})


def test_some_mask_is_high_until_no_mask_can_be(monkeypatch):
    assert theory.some_mask_is_high().word == "supported"
    from mae_lib.theory.graph import HierGraph

    chain = HierGraph([("top", "low"), ("low", "x1"), ("low", "x2")], ["x1", "x2"])
    monkeypatch.setattr(theory, "SMALL", {"chain": chain})
    assert theory.some_mask_is_high().word == "not supported"


def test_the_level_over_the_ratio_agrees_with_all_masks_of_a_small_tree():
    ratios = [0.1, 0.25, 0.5, 0.75, 0.9]
    found = theory.level_against_ratio(ratios, 5, seed=0)["binary tree, 8 pixels"]
    masks = theory.every_mask(8)
    graph, hidden = tree(2, 3), masks.sum(1)
    counts = theory.locate_many(graph, masks).counts()
    curve = {}
    for r in ratios:
        weight = r**hidden * (1 - r) ** (8 - hidden)
        curve[r] = (weight @ counts @ np.arange(4)) / (weight @ counts.sum(1))
    assert found.word == "supported"
    assert found.effect.mean == pytest.approx(curve[0.5] - max(curve[0.1], curve[0.9]))


def test_with_overlap_the_level_does_not_move():
    verdict = theory.level_against_ratio([0.1, 0.5, 0.9], 5, seed=0)["overlapping pyramid"]
    assert verdict.word == "not supported" and verdict.effect.mean == 0


def test_larger_units_only_raise_the_level():
    found = theory.level_against_unit(0.75)
    assert {v.word for v in found.values()} == {"not supported"}
    assert all(v.parts["1 < best between"].mean > 0.9 and v.effect.mean < -0.9
               for v in found.values())


def test_a_chosen_mask_isolates_and_a_random_one_does_in_one_of_thirty_five():
    verdict = theory.chosen_against_random()
    assert verdict.word == "supported" and verdict.effect.mean == pytest.approx(1 - 1 / 35)


def pairs(slope: float, gap: float) -> pd.DataFrame:
    """Correlations of four groups that fall by ``slope`` a distance, ``gap`` lower between."""
    rng = np.random.default_rng(0)
    return pd.DataFrame([
        {"group": g, "distance": d, "pair": kind,
         "correlation": 0.9 - slope * k - gap * (kind == "between") + 1e-3 * rng.standard_normal()}
        for g in range(4) for k, d in enumerate([1, 2, 4, 8]) for kind in ("within", "between")])


@pytest.mark.parametrize(("slope", "gap", "words"), [
    (0.1, 0.2, ["supported", "supported"]), (0.1, 0.02, ["supported", "supported (negligible)"]),
    (-0.1, -0.2, ["not supported", "not supported"])])
def test_dependence_has_to_fall_and_to_be_larger_within(slope, gap, words):
    found = theory.pixels_depend({"set": pairs(slope, gap)})
    assert [v.word for v in found.values()] == words


def test_a_distance_without_pairs_is_left_out():
    table = pairs(0.1, 0.2)
    table.loc[(table.distance == 8) & (table.group == 1) & (table.pair == "within"),
              "correlation"] = np.nan
    part = theory.pixels_depend({"set": table})["set, falling with distance (within)"]
    assert list(part.parts) == ["4 < 1"]


def test_a_trend_over_two_distances_is_refused():
    table = pairs(0.1, 0.2)
    with pytest.raises(ValueError, match=r"has pairs \(set, within\), got \[1, 8\]"):
        theory.pixels_depend({"set": table[table.distance.isin([1, 8])]})
