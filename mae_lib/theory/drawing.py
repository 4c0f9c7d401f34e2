"""A hierarchy on paper: pixels at the foot, causes above, and what a mask finds in it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, Patch, Rectangle
from matplotlib.patheffects import withStroke

from mae_lib.theory.graph import HierGraph, Query
from mae_lib.theory.levels import heights
from mae_lib.theory.search import Located

HIDDEN, SEEN, FOUND, PRIVATE, QUIET = "#333333", "#ffffff", "#D55E00", "#bcd9ec", "#f7d9c4"
# Not by colour alone: c has a double ring, private latents dots, ignored pixels stripes.
LEGEND = {
    "hidden pixel": {"facecolor": HIDDEN}, "visible pixel": {"facecolor": SEEN},
    "in c": {"facecolor": SEEN, "edgecolor": FOUND, "linewidth": 2.5},
    "shared, not in c": {"facecolor": QUIET, "linestyle": "--"},
    "hidden side only (s_m)": {"facecolor": PRIVATE, "hatch": "...."},
}
IGNORED = {"facecolor": SEEN, "hatch": "////"}


def positions(graph: HierGraph) -> dict[object, tuple[float, float]]:
    """``(x, height)`` of every node: pixels at 0, 1, ..., latents above the middle of their pixels.

    Latents of one height are moved apart where they would touch.
    """
    tall, latents = heights(graph), len(graph.latents)
    x = np.zeros(len(graph.nodes))
    x[latents:] = np.arange(len(graph.pixels))
    for i in reversed(graph.order):
        if i < latents and graph.children[i]:
            x[i] = np.mean([x[j] for j in graph.children[i]])
    top = max((h for h in tall.values() if h is not None), default=0)
    level = {name: top if tall[name] is None else tall[name] for name in graph.nodes}
    for height in set(level.values()) - {0}:
        row = [i for i in range(latents) if level[graph.nodes[i]] == height]
        row.sort(key=lambda i: x[i])
        x[row] = _apart(x[row])
    return {name: (float(x[i]), float(level[name])) for i, name in enumerate(graph.nodes)}


def draw(graph: HierGraph, ax: Axes, query: Query | None = None, located: Located | None = None,
         *, size: float = 0.3, font: float | None = None) -> Axes:
    """Draw a graph with, if given, the pixels of a query and what was located.

    Edges that would cross a node on their way bend around it.

    Args:
        size: radius of a node, in units of the distance between two pixels.
        font: size of the names in points, else the style's.
    """
    places, shapes = positions(graph), {}
    for name, (x, y) in places.items():
        look = _look(name, graph, query, located)
        shape = _latent if name in graph.latents else _pixel
        shapes[name] = shape(ax, x, y, size, look)
        dark = look["facecolor"] == HIDDEN
        halo = [withStroke(linewidth=4, foreground=look["facecolor"])]
        ax.text(x, y, str(name), ha="center", va="center_baseline", zorder=4,
                color="white" if dark else "black", parse_math=False, fontsize=font,
                path_effects=halo if look.get("hatch") else None,
                weight="bold" if located and name in located.c else "normal")
    for cause, effect in graph.edges:
        outwards = 0.45 if places[effect][0] <= places[cause][0] else -0.45
        bend = outwards if _near_a_node(places, cause, effect, 1.3 * size) else 0
        ax.add_patch(FancyArrowPatch(
            places[cause], places[effect], patchA=shapes[cause], patchB=shapes[effect], shrinkA=0,
            shrinkB=0, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=7,
            zorder=1, color="#777777", linewidth=0.9))
    xs, ys = zip(*places.values(), strict=True)
    ax.set(xlim=(min(xs) - 0.6, max(xs) + 0.6), ylim=(min(ys) - 0.55, max(ys) + 0.55),
           aspect="equal")
    ax.axis("off")
    return ax


def legend(ignored: bool = False) -> list[Patch]:
    """Handles that say what fills and outlines mean, with one for ignored pixels if wanted."""
    looks = LEGEND | ({"ignored pixel": IGNORED} if ignored else {})
    return [Patch(**{"edgecolor": "black", **look}, label=label) for label, look in looks.items()]


def information_graph(ax: Axes) -> Axes:
    """The five variables of Kong et al.'s Figure 3 and what is drawn from what."""
    places = {"s_m": (0, 1), "c": (1.5, 1), "s_mc": (3, 1), "x_m": (0.6, 0), "x_mc": (2.4, 0)}
    solid = [("s_m", "x_m"), ("c", "x_m"), ("c", "x_mc"), ("s_mc", "x_mc")]
    for cause, effect in [*solid, ("c", "s_mc")]:
        style = "--" if effect == "s_mc" else "-"
        ax.add_patch(FancyArrowPatch(places[cause], places[effect], shrinkA=17, shrinkB=17,
                                     arrowstyle="-" if style == "--" else "-|>",
                                     mutation_scale=11, linestyle=style, color="#666666"))
    for name, (x, y) in places.items():
        fill = HIDDEN if name == "x_m" else SEEN
        ax.add_patch(Circle((x, y), 0.24, facecolor=fill, edgecolor="black", zorder=3))
        base, _, low = name.partition("_")
        low = {"m": "_m", "mc": r"_{m^c}"}.get(low, "")
        ax.text(x, y, f"${base}{low}$", ha="center", va="center_baseline", zorder=4,
                color="white" if fill == HIDDEN else "black", fontsize=12)
    ax.set(xlim=(-0.4, 3.4), ylim=(-0.35, 1.35), aspect="equal")
    ax.axis("off")
    return ax


def _look(name, graph: HierGraph, query: Query | None, located: Located | None) -> dict:
    look = {"facecolor": SEEN, "edgecolor": "black", "linewidth": 1.0}
    if name not in graph.latents:
        if query and name in query.target:
            look["facecolor"] = HIDDEN
        elif query and name not in query.visible:
            look |= IGNORED
    elif located and name in located.c:
        look |= LEGEND["in c"]
    elif located and name in located.shared:
        look |= LEGEND["shared, not in c"]
    elif located and name in located.s_m:
        look |= LEGEND["hidden side only (s_m)"]
    return look


def _latent(ax: Axes, x: float, y: float, size: float, look: dict) -> Circle:
    shape = ax.add_patch(Circle((x, y), size, zorder=3, **look))
    if look["edgecolor"] == FOUND:
        shape = ax.add_patch(Circle((x, y), 1.25 * size, zorder=3, fill=False, edgecolor=FOUND,
                                    linewidth=1.2))
    return shape


def _pixel(ax: Axes, x: float, y: float, size: float, look: dict) -> Rectangle:
    return ax.add_patch(Rectangle((x - size, y - size), 2 * size, 2 * size, zorder=3, **look))


def _near_a_node(places: dict, cause, effect, distance: float) -> bool:
    """Whether the straight line from one node to another passes a third within this distance."""
    start, end = np.array(places[cause]), np.array(places[effect])
    along = end - start
    for name, place in places.items():
        share = np.clip((place - start) @ along / (along @ along), 0, 1)
        if name not in (cause, effect) and np.hypot(*(start + share * along - place)) < distance:
            return True
    return False


def _apart(x: np.ndarray, gap: float = 0.9) -> np.ndarray:
    """Ascending places, at least ``gap`` apart, around the same middle."""
    moved = x.copy()
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    return moved + (x.mean() - moved.mean())
