import itertools

import numpy as np
import pytest

from mae_lib.theory.batch import locate_many
from mae_lib.theory.estimates import estimates, expectations
from mae_lib.theory.families import pyramid, quadtree, tree
from mae_lib.theory.graph import HierGraph
from mae_lib.theory.levels import level_stats, nodes_by_height
from mae_lib.theory.masks import unit_masks
from mae_lib.theory.rates import overlap_rates, tree_rates

TREES = [(2, 3, 0), (2, 4, 1), (3, 2, 0), (4, 2, 1), (2, 3, 2)]


def every_unit_mask(branching, height, unit_height):
    """All masks constant on aligned subtrees, with the number of hidden units of each."""
    units = branching ** (height - unit_height)
    coarse = np.array(list(itertools.product([False, True], repeat=units)))
    return coarse.repeat(branching**unit_height, axis=1), coarse.sum(1), units


@pytest.mark.parametrize(("branching", "height", "unit_height"), TREES)
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.75, 1.0])
def test_rates_are_those_of_all_masks_weighted(branching, height, unit_height, ratio):
    masks, hidden, units = every_unit_mask(branching, height, unit_height)
    found = locate_many(tree(branching, height), masks)
    weights = ratio**hidden * (1 - ratio) ** (units - hidden)
    rates = tree_rates(branching, height, unit_height, ratio)
    for of in ("shared", "c", "selected"):
        expected = weights @ found.counts(of)[:, 1:] / rates.nodes.to_numpy()
        np.testing.assert_allclose(rates[of], expected, atol=1e-12)


@pytest.mark.parametrize(("branching", "height", "unit_height"), TREES)
def test_exact_rates_are_those_of_all_masks_with_so_many_units(branching, height, unit_height):
    masks, hidden, units = every_unit_mask(branching, height, unit_height)
    found = locate_many(tree(branching, height), masks)
    for k in range(units + 1):
        rates = tree_rates(branching, height, unit_height, k / units, exact=True)
        for of in ("shared", "c", "selected"):
            expected = found.counts(of)[hidden == k, 1:].mean(0) / rates.nodes.to_numpy()
            np.testing.assert_allclose(rates[of], expected, atol=1e-10)


def test_the_depth_three_tree_is_all_lowest_as_often_as_the_claim_says():
    """Share of masks with k of 8 pixels hidden whose c has no member above height 1 (K-T6)."""
    masks, hidden, _ = every_unit_mask(2, 3, 0)
    counts = locate_many(tree(2, 3), masks).counts()
    lowest = (counts[:, 2:].sum(1) == 0) & (counts[:, 1] > 0)
    shares = [lowest[hidden == k].mean() for k in range(1, 8)]
    assert shares == pytest.approx([1, 0.857, 0.714, 0.686, 0.714, 0.857, 1], abs=5e-4)


@pytest.mark.parametrize(("branching", "peak"), [(2, 0.118), (3, 0.0055), (4, 0.0002)])
def test_the_level_of_c_hardly_rises_above_the_lowest(branching, peak):
    ratios = np.linspace(0.01, 0.99, 99)
    curve = [expectations(tree_rates(branching, 6, 0, r)).value[0] - 1 for r in ratios]
    assert max(curve) == pytest.approx(peak, rel=0.1)
    np.testing.assert_allclose(curve, curve[::-1], atol=1e-12)  # the complement's are the same


@pytest.mark.parametrize(("n", "best"), [(1, 0.5), (4, 0.841), (16, 0.958)])
def test_what_is_selected_peaks_ever_further_to_the_right(n, best):
    height = {1: 1, 4: 2, 16: 3}[n]
    ratios = np.linspace(0.001, 0.999, 999)
    rates = [tree_rates(4, height, 0, r).selected.iloc[-1] for r in ratios]
    assert ratios[np.argmax(rates)] == pytest.approx(best, abs=0.002)


@pytest.mark.parametrize(("unit", "ratio"), [(1, 0.75), (2, 0.5), (4, 0.9)])
def test_simulation_agrees_with_the_closed_form(unit, ratio):
    rng, graph = np.random.default_rng(0), quadtree(16)
    masks = unit_masks(rng, 4000, 16, unit, ratio).reshape(4000, -1)
    rates = tree_rates(4, 4, unit.bit_length() - 1, ratio, exact=True)
    for of in ("c", "selected", "shared"):
        counts = locate_many(graph, masks).counts(of)
        found = level_stats(counts, nodes_by_height(graph)).rate[1:]
        one = 1 / (4000 * rates.nodes.to_numpy())  # what a single located latent adds
        spread = counts[:, 1:].std(0) * np.sqrt(4000) * one
        assert (np.abs(found - rates[of]) <= 4 * (spread + one)).all()


def random_overlapping(rng):
    """Latents over pixels, and one above each two of them that share a pixel."""
    spans = [(a, a + rng.integers(2, 4)) for a in range(0, 8, 2)]
    edges = [(f"a{i}", f"x{j}") for i, span in enumerate(spans) for j in range(*span)]
    edges += [(f"b{i}", f"a{j}") for i in range(3) for j in (i, i + 1)
              if spans[i][1] > spans[i + 1][0]]
    pixels = sorted({pixel for _, pixel in edges if pixel[0] == "x"})
    return HierGraph(edges, pixels)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("shared_units", [False, True])
def test_rates_under_overlap_are_those_of_all_masks_weighted(exact, shared_units):
    rng = np.random.default_rng(6)
    for _ in range(10):
        graph = random_overlapping(rng)
        count = len(graph.pixels)
        owner = np.sort(rng.permutation(count) % 5) if shared_units else np.arange(count)
        units = owner.max() + 1
        masks = np.array(list(itertools.product([False, True], repeat=int(units))))
        hidden, ratio = masks.sum(1), 2 / units
        weights = (hidden == 2) / (hidden == 2).sum() if exact else (
            ratio**hidden * (1 - ratio) ** (units - hidden))
        found = locate_many(graph, masks, units=owner)
        named = dict(zip(graph.pixels, owner.tolist(), strict=True))
        rates = overlap_rates(graph, ratio, named, exact=exact)
        for of in ("shared", "c"):
            expected = weights @ found.counts(of)[:, rates.height]
            np.testing.assert_allclose(rates[of] * rates.nodes, expected, atol=1e-10)


@pytest.mark.parametrize("window", [3, 4])
def test_simulated_pyramids_agree_with_the_closed_form(window):
    graph, rng = pyramid(16, window), np.random.default_rng(1)
    for ratio in (0.25, 0.9):
        masks = unit_masks(rng, 4000, 16, 1, ratio).reshape(4000, -1)
        found = estimates(locate_many(graph, masks).counts()).set_index("quantity")
        expected = expectations(overlap_rates(graph, ratio, exact=True)).set_index("quantity")
        assert expected.value["mean height"] == found.value["mean height"] == 1
        low, high = found.low["variables located"], found.high["variables located"]
        slack = high - low  # twice the interval: no failure by chance
        assert low - slack < expected.value["variables located"] < high + slack


def test_tiny_rates_do_not_cancel():
    assert tree_rates(4, 6, 0, 0.5).c.iloc[-1] == pytest.approx(14 * 0.5**4096)
    assert 0 < tree_rates(4, 4, 0, 0.5).c.iloc[-1] == pytest.approx(14 * 0.5**256, rel=1e-9)


@pytest.mark.parametrize(("arguments", "message"), [
    ((1, 2, 0, 0.5), "branching must be at least 2"),
    ((2, 2, 3, 0.5), r"unit_height in 0\.\.height"),
    ((2, 2, 0, 1.1), r"ratio must lie in \[0, 1\], got 1.1"),
])
def test_bad_input_gets_a_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        tree_rates(*arguments)


@pytest.mark.parametrize(("graph", "ratio", "message"), [
    (pyramid(4, 3), 1.5, r"ratio must lie in \[0, 1\], got 1.5"),
    (quadtree(4), 0.5, "right above pixels be located, got 'z2:0,0'"),
])
def test_closed_forms_refuse_what_they_do_not_speak_of(graph, ratio, message):
    with pytest.raises(ValueError, match=message):
        overlap_rates(graph, ratio)
