"""Sheets that show the set: rows of pictures, coloured masks, the graph of one picture, a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .graph import picture_graph
from .latents import LATENTS
from .tables import CLASSES, PARTS

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd
    from matplotlib.figure import Figure

WIDTH = 7.0  # inches: 700 pixels on the page
# Okabe and Ito, in an order that keeps neighbours apart; background first.
PAINT = np.array([[38, 38, 38], [230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66],
                  [0, 114, 178], [213, 94, 0], [204, 121, 167], [221, 221, 221]], np.uint8)


def contact_sheet(rows: Mapping[str, np.ndarray], columns: Sequence[str] = ()) -> Figure:
    """Pictures in rows that are named on the left.

    Args:
        rows: ``{label: images}``, each uint8 ``[n, 3, S, S]`` of one n and one S.
        columns: titles of the n columns, if any.

    Raises:
        ValueError: no rows, rows of unequal shape, another number of titles.
    """
    import matplotlib.pyplot as plt

    sheet, (lines, count, step) = _tile(rows, columns)
    with plt.rc_context({"font.size": 10.5}):
        extra = 0.3 if len(columns) else 0.0
        size = WIDTH, (WIDTH - 0.9) * lines / count + extra
        fig, ax = plt.subplots(figsize=size, layout="constrained")
        ax.imshow(sheet, interpolation="nearest")
        ax.set_yticks((np.arange(lines) + 0.5) * step - 0.5, list(rows))
        ax.set_xticks((np.arange(len(columns)) + 0.5) * step - 0.5, columns)
        ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
        ax.spines[:].set_visible(False)
    plt.close(fig)
    return fig


def _tile(rows: Mapping[str, np.ndarray], columns: Sequence[str]):
    """One picture ``[H, W, 3]`` of all, a white gap between them; rows, columns, step."""
    shapes = {images.shape for images in rows.values()}
    if len(shapes) != 1:
        raise ValueError(f"rows must hold images of one shape [n,3,S,S], got {sorted(shapes)}")
    count, _, side, _ = shapes.pop()
    if len(columns) not in (0, count):
        raise ValueError(f"columns must name {count} images, got {len(columns)}")
    gap = max(1, side // 32)
    padded = np.pad(np.stack(list(rows.values())), [(0, 0)] * 3 + [(0, gap)] * 2,
                    constant_values=255)
    lines, step = len(rows), side + gap
    sheet = padded.transpose(0, 3, 1, 4, 2).reshape(lines * step, count * step, 3)
    return sheet[:-gap, :-gap], (lines, count, step)


def colour_masks(numbers: np.ndarray) -> np.ndarray:
    """Integer maps ``[..., S, S]`` as pictures uint8 ``[..., 3, S, S]``; 0 is dark grey."""
    shown = np.where(numbers > 0, (numbers.astype(int) - 1) % (len(PAINT) - 1) + 1, 0)
    return np.moveaxis(PAINT[shown], -1, -3)


def frames(clip_images: np.ndarray) -> np.ndarray:
    """The frames ``[T, 3, S, S]`` of one clip ``[3, T, S, S]``."""
    return np.moveaxis(clip_images, 1, 0)


def latent_table() -> pd.DataFrame:
    """Every latent with its level and what it is drawn from, highest level first."""
    import pandas as pd

    rows = [(name.replace("_", " "), latent.level,
             ", ".join(parent.replace("_", " ") for parent in latent.parents) or "nothing")
            for name, latent in LATENTS.items()]
    return pd.DataFrame(rows, columns=["latent", "level", "drawn from"])


def graph_figure(image: np.ndarray, marks: np.ndarray, label: int, patch: int) -> Figure:
    """The graph of one picture: image, objects, parts, and its patches as cut from the picture.

    Args:
        image: uint8 ``[3, S, S]``.
        marks: ``[S, S]``, as `picture_graph` takes them.
        label: class of the object, for its name.
        patch: side of a patch in pixels.
    """
    import matplotlib.pyplot as plt

    graph = picture_graph(marks, patch)
    places = _places(graph)
    with plt.rc_context({"font.size": 10.5}):
        fig, ax = plt.subplots(figsize=(WIDTH, 4.2), layout="constrained")
        for parent, child in graph.edges:
            ax.plot(*zip(places[parent], places[child], strict=True), linewidth=1.2, zorder=1,
                    color=_colour(parent if "patch" in child else child))
        for node, kind in graph.nodes(data="kind"):
            _node(ax, places[node], node, kind, CLASSES[label], image, patch)
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.35, 3.3))
        ax.axis("off")
    plt.close(fig)
    return fig


def _places(graph: nx.DiGraph) -> dict[str, tuple[float, float]]:
    """Each level on a line of its own, its nodes evenly spread."""
    places = {}
    for level in range(4):
        nodes = [node for node, at in graph.nodes(data="level") if at == level]
        order = sorted(nodes) if level else sorted(nodes, key=_cell)
        places |= {node: ((i + 0.5) / len(order), level) for i, node in enumerate(order)}
    return places


def _cell(node: str) -> list[int]:
    return [int(number) for number in node.split()[1:]]


def _colour(node: str) -> tuple[float, ...]:
    number = 1 + int(node.split()[-1]) % PARTS if " part " in node else 0
    return tuple(PAINT[number] / 255 * 0.85)


def _node(ax, place, node: str, kind: str, name: str, image: np.ndarray, patch: int) -> None:
    if kind == "patch":
        row, column = _cell(node)
        cut = image[:, row * patch:(row + 1) * patch, column * patch:(column + 1) * patch]
        width = 0.024
        ax.imshow(np.moveaxis(cut, 0, -1), aspect="auto", zorder=2,
                  extent=(place[0] - width, place[0] + width, -0.3, 0.02))
        return
    text = {"object": name, "part": f"part {node.split()[-1]}"}.get(kind, kind)
    ax.text(*place, text, ha="center", va="center", zorder=3,
            bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": _colour(node)})
