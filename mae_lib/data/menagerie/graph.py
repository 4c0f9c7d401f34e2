"""The graphs behind the pictures: the latents' own, and image -> objects -> parts -> patches."""

from __future__ import annotations

import networkx as nx
import numpy as np

from .latents import LATENTS
from .tables import PARTS


def latent_graph() -> nx.DiGraph:
    """The latents of a picture, an edge from each to what is drawn from it, level as attribute.

    The one observed node "pixels" has level 0; parts without a child of their own feed it.
    """
    graph = nx.DiGraph()
    for name, latent in LATENTS.items():
        graph.add_node(name, level=latent.level)
        graph.add_edges_from((parent, name) for parent in latent.parents)
    graph.add_node("pixels", level=0)
    graph.add_edges_from((name, "pixels") for name in _PAINTED)
    return graph


# Everything the painter reads; identity and pose reach the pixels through the parts.
_PAINTED = ("parts", "part_centre", "part_size", "part_angle", "boxiness", "hue", "scheme",
            "saturation", "value", "texture", "x", "y", "scale", "rotation", "mirror", "aspect",
            "sky", "horizon", "hills", "ground",
            *(name for name, latent in LATENTS.items() if latent.level == 1))


def picture_graph(marks: np.ndarray, patch: int) -> nx.DiGraph:
    """Image -> background and objects -> parts -> patches, for one picture.

    Args:
        marks: integer ``[S, S]``: 0, or 1 + part + 8 * object (`Menagerie.parts`, `Scenes.marks`).
        patch: side of a patch in pixels; must divide S.

    Returns:
        Graph with nodes "image", "background", "object k", "object k part p" and "patch r c",
        attributes ``kind`` and ``level`` (3 to 0). A patch hangs on every part that shows in it.

    Raises:
        ValueError: marks that are no square, or a patch size that does not divide its side.
    """
    tiles = _tiles(np.asarray(marks), patch)
    graph = nx.DiGraph()
    graph.add_node("image", kind="image", level=3)
    for row, column in np.ndindex(*tiles.shape[:2]):
        node = f"patch {row} {column}"
        graph.add_node(node, kind="patch", level=0)
        for mark in np.unique(tiles[row, column]).tolist():
            graph.add_edge(_branch(graph, mark), node)
    return graph


def _branch(graph: nx.DiGraph, mark: int) -> str:
    """Node of a part (or the background), added with its ancestors when new."""
    if mark == 0:
        graph.add_node("background", kind="background", level=1)
        graph.add_edge("image", "background")
        return "background"
    place, part = divmod(mark - 1, PARTS)
    owner, node = f"object {place}", f"object {place} part {part}"
    graph.add_node(owner, kind="object", level=2)
    graph.add_node(node, kind="part", level=1)
    graph.add_edges_from([("image", owner), (owner, node)])
    return node


def _tiles(marks: np.ndarray, patch: int) -> np.ndarray:
    """Marks of each patch, ``[rows, columns, patch * patch]``."""
    if marks.ndim != 2 or marks.shape[0] != marks.shape[1]:
        raise ValueError(f"marks must be a square [S, S], got {list(marks.shape)}")
    if patch < 1 or marks.shape[0] % patch:
        raise ValueError(f"patch must divide the side {marks.shape[0]}, got {patch}")
    side = marks.shape[0] // patch
    return marks.reshape(side, patch, side, patch).swapaxes(1, 2).reshape(side, side, -1)
