"""Mask and augmentation graphs against slow loops, networkx and laws that hold for every world."""

import itertools
from collections import defaultdict

import networkx as nx
import numpy as np
import pytest

from mae_lib.theory.mask_graphs import mask_graph
from mae_lib.theory.toy_worlds import World, noisy_prototypes, random_world

WORLDS = [random_world(np.random.default_rng(seed), patches, classes, values)
          for seed, (patches, classes, values) in enumerate(
              [(2, 2, 2), (3, 2, 3), (4, 3, 2), (3, 3, 2), (4, 2, 2), (5, 2, 2)])]
GRAPHS = [mask_graph(world, hidden, positions=positions) for world in WORLDS
          for hidden in range(world.patches + 1) for positions in (True, False)]


def listed(world: World, hidden: int, positions: bool) -> list:
    """Every (image, class, view, target) with its probability, one mask after the other."""
    patches, rows = range(world.patches), []
    masks = list(itertools.combinations(patches, hidden))
    for mask in masks:
        for i, image in enumerate(world.images.tolist()):
            view = tuple((p if positions else None, image[p]) for p in patches if p not in mask)
            target = tuple((p if positions else None, image[p]) for p in mask)
            rows += [(i, y, view, target, float(p) / len(masks))
                     for y, p in enumerate(world.joint[i])]
    return rows


def by(rows, *which) -> dict:
    found = defaultdict(float)
    for *names, p in rows:
        found[tuple(names[i] for i in which)] += p
    return found


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("world", WORLDS[:5])
def test_the_graph_is_that_of_a_loop_over_images_and_masks(world, positions):
    for hidden in range(world.patches + 1):
        graph = mask_graph(world, hidden, positions=positions)
        rows = listed(world, hidden, positions)
        joint = by(rows, 2, 3)
        assert sorted(graph.joint[graph.joint > 0]) == pytest.approx(
            sorted(p for p in joint.values() if p > 0), abs=1e-14)
        d1, d2 = by(rows, 2), by(rows, 3)
        views = list(d1)
        walk = [[sum(joint[a[0], t[0]] * joint[b[0], t[0]] / d2[t] for t in d2 if d2[t])
                 for b in views] for a in views]
        expected = np.array(walk) / np.sqrt([[d1[a] * d1[b] for b in views] for a in views])
        assert np.linalg.eigvalsh(expected)[::-1] == pytest.approx(graph.eigenvalues, abs=1e-10)
        labels = by(rows, 2, 1)
        alpha = 1 - sum(max(labels[(*view, y)] for y in range(world.joint.shape[1]))
                        for view in views)
        assert graph.label_error() == pytest.approx(alpha, abs=1e-12)


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("world", WORLDS[:4])
def test_edge_masses_are_those_of_drawing_two_images_for_a_target(world, positions):
    for hidden in range(world.patches + 1):
        rows, masses = listed(world, hidden, positions), np.zeros(3)
        d2 = by(rows, 3)
        for owner, p in by(rows, 0, 1, 3).items():
            for other, q in by(rows, 0, 1, 3).items():
                if owner[2] == other[2] and p * q:
                    kind = 2 if owner[1] != other[1] else int(owner[0] != other[0])
                    masses[kind] += p * q / d2[(owner[2],)]
        found = mask_graph(world, hidden, positions=positions).edge_mass()
        assert tuple(found) == pytest.approx(masses, abs=1e-12)
        assert sum(found) == pytest.approx(1)


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_adjacency_matrix_is_a_random_walks(graph):
    values, root = graph.eigenvalues, np.sqrt(graph.joint.sum(1))
    assert values.min() > -1e-12 and values.max() == pytest.approx(1, abs=1e-12)
    assert graph.adjacency @ root == pytest.approx(root, abs=1e-12)
    walk = nx.from_numpy_array(np.where(graph.adjacency > 1e-14, graph.adjacency, 0))
    assert (values > 1 - 1e-9).sum() == nx.number_connected_components(walk)


@pytest.mark.parametrize("world", WORLDS)
def test_views_with_positions_fall_apart_by_mask(world):
    for hidden in range(world.patches + 1):
        graph = mask_graph(world, hidden)
        masks = graph.view_of.shape[1]
        assert (graph.eigenvalues > 1 - 1e-9).sum() >= masks
        for a, b in itertools.combinations(range(masks), 2):
            assert not set(graph.view_of[:, a]) & set(graph.view_of[:, b])


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("world", WORLDS)
def test_more_masking_makes_views_more_ambiguous_and_targets_less(world, positions):
    graphs = [mask_graph(world, h, positions=positions) for h in range(world.patches + 1)]
    assert (np.diff([g.label_error() for g in graphs]) > -1e-12).all()
    assert (np.diff([g.edge_mass().across for g in graphs]) < 1e-12).all()
    assert (np.diff([g.edge_mass().same for g in graphs]) > -1e-12).all()


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("world", WORLDS)
def test_both_ends_are_as_they_must_be(world, positions):
    prior = world.joint.sum(0)
    nothing = mask_graph(world, 0, positions=positions)
    assert nothing.label_error() == pytest.approx(1 - world.joint.max(1).sum())
    root = np.sqrt(nothing.joint.sum(1))
    assert nothing.adjacency == pytest.approx(np.outer(root, root), abs=1e-12)
    assert nothing.edge_mass().across == pytest.approx(1 - (prior**2).sum())
    everything = mask_graph(world, world.patches, positions=positions)
    assert everything.adjacency == pytest.approx(np.ones((1, 1)))
    assert everything.label_error() == pytest.approx(1 - prior.max())


def test_the_books_world_has_the_numbers_that_were_computed_beforehand():
    graphs = [mask_graph(noisy_prototypes(), hidden) for hidden in range(7)]
    assert [round(g.edge_mass().across, 3) for g in graphs] == [
        .5, .337, .238, .175, .129, .094, .072]
    assert [round(g.label_error(), 3) for g in graphs] == [.061, .061, .096, .132, .173, .267, .5]


def test_a_label_that_follows_from_the_image_is_never_wrong_if_nothing_is_hidden():
    world = noisy_prototypes(((0, 0, 0), (1, 1, 1)), noise=0)
    assert len(world.images) == 2 and mask_graph(world, 0).label_error() == 0
    assert mask_graph(world, 2).label_error() == pytest.approx(0, abs=1e-12)
    assert mask_graph(world, 3).label_error() == pytest.approx(0.5)


@pytest.mark.parametrize(("images", "joint", "message"), [
    (np.zeros((2, 0)), np.ones((2, 1)) / 2, r"shapes \[N,n\] and \[N,K\]"),
    (np.zeros((2, 3)), np.ones((2, 1)) / 2, "different from each other"),
    (np.eye(2), np.ones((2, 2)), "add up to 1, got a sum of 4"),
    (np.eye(2), np.array([[1.5], [-0.5]]), "a least of -0.5")])
def test_what_is_no_world_is_refused(images, joint, message):
    with pytest.raises(ValueError, match=message):
        World(images, joint)


def test_bad_arguments_are_told():
    with pytest.raises(ValueError, match=r"hidden must lie in 0\.\.6, got 7"):
        mask_graph(noisy_prototypes(), 7)
    with pytest.raises(ValueError, match="prototypes must be rows of zeros and ones"):
        noisy_prototypes(((0, 2),))
    with pytest.raises(ValueError, match=r"noise must lie in \[0, 1\], got -1"):
        noisy_prototypes(noise=-1)
