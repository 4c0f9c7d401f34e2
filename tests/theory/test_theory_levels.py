import itertools

import networkx as nx
import numpy as np
import pytest
from random_graphs import law, random_case

from mae_lib.theory.batch import locate_many
from mae_lib.theory.families import pyramid, quadtree, tree
from mae_lib.theory.levels import heights, level_stats, locatable, mean_height, nodes_by_height
from mae_lib.theory.search import locate


@law
def test_heights_are_longest_and_shortest_paths_to_a_pixel(case):
    graph = case[0]
    twin = graph.to_networkx()
    for name in graph.latents:
        lengths = [len(path) - 1 for pixel in graph.pixels
                   for path in nx.all_simple_paths(twin, name, pixel)]
        assert heights(graph)[name] == (max(lengths) if lengths else None)
        assert heights(graph, "shortest")[name] == (min(lengths) if lengths else None)


def test_statistics_agree_with_a_loop():
    rng, graph = np.random.default_rng(0), tree(2, 4)
    masks = rng.random((50, 16)) < 0.2
    masks[7] = False
    found = level_stats(locate_many(graph, masks).counts(), nodes_by_height(graph))
    tall, sets = heights(graph), []
    for mask in masks:
        sets.append(locate(graph, [p for p, h in zip(graph.pixels, mask, strict=True) if h]).c)
    everything = [tall[z] for c in sets for z in c]
    assert found.pooled == pytest.approx(np.mean(everything))
    assert found.per_mask == pytest.approx(np.mean([mean_height(graph, c) for c in sets if c]))
    assert found.empty == pytest.approx(np.mean([not c for c in sets])) and found.empty > 0
    assert found.size == pytest.approx(np.mean([len(c) for c in sets]))
    for h in range(1, 5):
        assert found.rate[h] == pytest.approx(everything.count(h) / 50 / 2 ** (4 - h))
    assert np.isnan(found.rate[0])


def test_nothing_located_has_no_height():
    found = level_stats(np.zeros((3, 4), int), np.array([0, 4, 2, 1]))
    assert np.isnan([found.pooled, found.per_mask]).all() and found.empty == 1
    assert mean_height(tree(2, 2), []) is None


def every_mask(pixels: int) -> np.ndarray:
    return np.array(list(itertools.product([False, True], repeat=pixels)))


def test_the_overlap_lemma_holds_on_small_graphs():
    rng = np.random.default_rng(4)
    for _ in range(400):
        graph = random_case(rng, 7, 7)[0]
        masks = every_mask(len(graph.pixels))
        ever = locate_many(graph, masks).c.any(0)
        assert {z for z, e in zip(graph.latents, ever, strict=True) if e} == locatable(graph)


def test_the_overlap_lemma_holds_for_units():
    rng = np.random.default_rng(5)
    for _ in range(400):
        graph = random_case(rng, 7, 7)[0]
        units = rng.integers(0, 3, len(graph.pixels))
        ever = locate_many(graph, every_mask(3), units=units).c.any(0)
        named = dict(zip(graph.pixels, units.tolist(), strict=True))
        assert {z for z, e in zip(graph.latents, ever, strict=True) if e} == (
            locatable(graph, named))


@pytest.mark.parametrize("window", [3, 4])
def test_with_overlap_nothing_above_the_lowest_layer_can_be_located(window):
    graph = pyramid(12, window)
    tall = heights(graph)
    assert {tall[z] for z in locatable(graph)} == {1}


def test_every_latent_of_a_quadtree_can_be_located():
    graph = quadtree(8)
    assert locatable(graph) == set(graph.latents)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: heights(tree(2, 1), "mean"), "how must be longest or shortest, got 'mean'"),
    (lambda: level_stats(np.zeros((0, 2)), np.zeros(2)), "at least one mask"),
    (lambda: level_stats(np.zeros((1, 2)), np.zeros(3)), r"got \[1, 2\] and \[3\]"),
    (lambda: locatable(tree(2, 1), {"x0": 0}), "a unit for every pixel, got none for 'x1'"),
])
def test_bad_input_gets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
