"""A picture of a hierarchy in the page: click pixels, see what the mask locates. No server."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from mae_lib.theory.drawing import draw, legend, positions
from mae_lib.theory.graph import GraphError, HierGraph, Node, Query
from mae_lib.theory.levels import heights
from mae_lib.theory.search import locate

MOST_PIXELS = 16  # buttons that still fit under a picture
FOLDER = Path(__file__).parent


class MaskExplorer:
    """What :func:`mask_explorer` returns; a notebook shows it by itself."""

    def __init__(self, html: str, text: str, still: bytes):
        self.html, self.text, self.still = html, text, still

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text,
                "image/png": b64encode(self.still).decode()}


def mask_explorer(graph: HierGraph, masks: Mapping[str, Iterable[Node]] | None = None, *,
                  title: str = "Mask explorer") -> MaskExplorer:
    """A self-contained piece of HTML that runs the closed form of Algorithm 1 in the browser.

    Where a page shows no HTML, a sentence and a picture of the first mask take its place.

    Args:
        masks: named sets of hidden pixels, a button each; the first is shown at the start.

    Raises:
        GraphError: no pixels, more than fit on a page, or a mask that names something else.
    """
    if not 1 <= len(graph.pixels) <= MOST_PIXELS:
        raise GraphError(f"graph must have 1 to {MOST_PIXELS} pixels to be shown, "
                         f"got {len(graph.pixels)}")
    masks = {label: sorted(map(str, graph.query(names).target))
             for label, names in (masks or {"nothing hidden": ()}).items()}
    places, tall = positions(graph), heights(graph)
    data = {"nodes": [{"name": str(name), "x": places[name][0], "y": places[name][1],
                       "height": tall[name]} for name in graph.nodes],
            "latents": len(graph.latents), "parents": graph.parents, "children": graph.children,
            "order": graph.order, "masks": masks, "title": title}
    first = next(iter(masks.values()))
    query = graph.query([p for p in graph.pixels if str(p) in first])
    text = (f"{title}: hidden {', '.join(first) or 'nothing'}, "
            f"c = {_named(locate(graph, *query).c)}")
    return MaskExplorer(_page(data), text, _still(graph, query))


def _page(data: dict) -> str:
    """The widget: its data as JSON, then its style and code, which find each other by nesting."""
    style, code = ((FOLDER / f"explorer.{kind}").read_text(encoding="utf-8")
                   for kind in ("css", "js"))
    held = json.dumps(data).replace("<", "\\u003c")
    return (f'<div class="mae-explorer" role="group" aria-label="{escape(data["title"])}">'
            f'<script type="application/json">{held}</script><style>{style}</style>'
            f"<script>{code}</script></div>")


def _still(graph: HierGraph, query: Query) -> bytes:
    """One mask as a PNG."""
    figure, file = Figure(figsize=(7, 4.5), layout="constrained"), io.BytesIO()
    draw(graph, figure.add_subplot(), query, locate(graph, *query))
    figure.legend(handles=legend(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def _named(names: Iterable[Node]) -> str:
    return "{" + ", ".join(sorted(map(str, names))) + "}"
