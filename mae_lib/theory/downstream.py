"""From the loss of U-MAE to the error of a linear classifier (Zhang et al., Theorems 4.1, 4.2).

The talk from which we know these theorems gives neither their constants nor the classifier. The
versions here have both, and hold for every encoder; they were derived for this book. U-MAE's loss
has a weight of 1/4 on uniformity here, where the three parts make up a square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mae_lib.theory.alignment import Chain, expected_square
from mae_lib.theory.mask_graphs import MaskGraph

WEIGHT = 0.25  # of uniformity


@dataclass(frozen=True)
class Downstream:
    """Error of the classifier on images and its two bounds, from the graph and from the loss;
    ``loss`` of U-MAE and its ``floor`` by the graph's eigenvalues."""

    error: float
    by_graph: float
    by_loss: float
    loss: float
    floor: float


def downstream(graph: MaskGraph, h: np.ndarray, losses: Chain) -> Downstream:
    """All of it for outputs ``h [N1, k]`` of the views of a graph.

    With S the distance between adjacency matrix and inner products of the scaled outputs, phi the
    probability that views with one target differ in their likeliest class, and pi that of the
    largest class, ``error <= 2 alpha + 4 (sqrt(phi) + sqrt(pi) S)**2``.

    Args:
        losses: of the same outputs, from :func:`mae_lib.theory.alignment.chain`.
    """
    d1, values = graph.joint.sum(1), graph.eigenvalues
    uniform = expected_square(d1, h)
    scaled = np.sqrt(d1)[:, None] * h
    distance = ((graph.adjacency - scaled @ scaled.T) ** 2).sum()
    loss, whole = losses.loss + WEIGHT * uniform, (values**2).sum()
    upper = max(4 * (loss + losses.epsilon) + whole - 2 * losses.norm, 0.0)
    floor = (((values[h.shape[1]:] ** 2).sum() - whole) / 4 + losses.norm / 2 - losses.epsilon)
    return Downstream(voted_error(graph, linear_classes(graph, h)), _bound(graph, distance),
                      _bound(graph, upper), loss, float(floor))


def linear_classes(graph: MaskGraph, h: np.ndarray) -> np.ndarray:
    """The class of each view ``[N1]`` by a linear head whose weights are the sums of the outputs of
    each class, weighted by how often a view is seen."""
    return (h @ (h.T @ (graph.joint.sum(1)[:, None] * _own_classes(graph)))).argmax(1)


def voted_error(graph: MaskGraph, classes: np.ndarray) -> float:
    """How often the class that most views of an image have, ``classes [N1]``, is not its own."""
    votes = (classes[graph.view_of][..., None] == np.arange(graph.view_labels.shape[1])).sum(1)
    joint = graph.world.joint
    return float(1 - joint[np.arange(len(joint)), votes.argmax(1)].sum())


def disagreement(graph: MaskGraph) -> float:
    """phi: how often two views that share a target differ in their likeliest class."""
    classes = _own_classes(graph)
    by_target = graph.joint.T @ classes
    return float(1 - (by_target**2).sum(1) @ (1 / graph.joint.sum(0)))


def spectral_outputs(graph: MaskGraph, k: int) -> np.ndarray:
    """Outputs ``[N1, k]`` of least alignment and uniformity together: leading eigenvectors."""
    values, vectors = np.linalg.eigh(graph.adjacency)
    leading = vectors[:, ::-1][:, :k] * np.sqrt(values[::-1][:k].clip(0))
    return leading / np.sqrt(graph.joint.sum(1))[:, None]


def _own_classes(graph: MaskGraph) -> np.ndarray:
    """The likeliest class of each view as zeros and a one, ``[N1, K]``."""
    labels = graph.view_labels
    return np.eye(labels.shape[1])[labels.argmax(1)]


def _bound(graph: MaskGraph, squared_distance: float) -> float:
    largest = (graph.joint.sum(1) @ _own_classes(graph)).max()
    inner = np.sqrt(max(disagreement(graph), 0)) + np.sqrt(largest * squared_distance)
    return float(2 * graph.label_error() + 4 * inner**2)
