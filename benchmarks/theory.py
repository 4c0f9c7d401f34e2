"""How fast the theory's search is: one mask, many masks, large graphs, and how its cost grows.

    python benchmarks/theory.py [--output benchmarks/results/theory.json]
"""

import argparse
import json
import os
import platform
import time
import tracemalloc
from datetime import date
from pathlib import Path

import numpy as np

from mae_lib.theory.batch import locate_many
from mae_lib.theory.families import quadtree, random_layered
from mae_lib.theory.masks import unit_masks
from mae_lib.theory.search import locate, locate_literal

RESULTS = Path(__file__).parent / "results" / "theory.json"
REPEATS = 3


def cpu_seconds(work) -> float:
    """The best of a few runs, in CPU time of this process, which suits a busy machine."""
    best = float("inf")
    for _ in range(REPEATS):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best


def one_mask(side: int) -> dict:
    """Milliseconds of a single search, and of the paper's loops where they end in time."""
    graph = quadtree(side)
    hidden = unit_masks(np.random.default_rng(0), 1, side, 1, 0.75).reshape(-1)
    target = [p for p, h in zip(graph.pixels, hidden, strict=True) if h]
    row = {"side": side, "nodes": len(graph.nodes),
           "locate ms": 1e3 * cpu_seconds(lambda: locate(graph, target))}
    if side <= 16:
        row["literal ms"] = 1e3 * cpu_seconds(lambda: locate_literal(graph, target))
    return row


def many_masks(side: int, count: int, unit: int = 1) -> dict:
    """Masks a second from booleans to located sets, and the peak of what Python allocates."""
    graph = quadtree(side)
    masks = unit_masks(np.random.default_rng(0), count, side, unit, 0.75).reshape(count, -1)
    owner = None
    if unit > 1:
        across = side // unit
        rows, columns = np.divmod(np.arange(side * side), side)
        owner = rows // unit * across + columns // unit
        masks = masks.reshape(count, side, side)[:, ::unit, ::unit].reshape(count, -1)
    seconds = cpu_seconds(lambda: locate_many(graph, masks, units=owner))
    tracemalloc.start()
    locate_many(graph, masks, units=owner)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return {"side": side, "unit": unit, "masks": count, "nodes": len(graph.nodes),
            "masks/s": count / seconds, "ns a node and mask": 1e9 * seconds / count
            / len(graph.nodes), "peak MiB": peak, "input MiB": masks.nbytes / 2**20}


def million_edges() -> dict:
    """Seconds to build a layered graph of a million edges and to search it once."""
    rng = np.random.default_rng(0)
    drawn = random_layered(rng, [1000, 10_000, 89_000, 400_000], parents=2)
    edges, pixels, latents = drawn.edges, drawn.pixels, drawn.latents
    begun = time.process_time()
    graph = type(drawn)(edges, pixels, latents)
    built = time.process_time()
    locate(graph, pixels[::2])
    return {"edges": len(edges), "nodes": len(graph.nodes), "build s": built - begun,
            "locate s": time.process_time() - built}


def show(title: str, rows: list[dict]) -> None:
    print(f"\n{title}")
    for row in rows:
        print("  " + "  ".join(f"{k} {v:,.3g}" if isinstance(v, float) else f"{k} {v:,}"
                               for k, v in row.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=RESULTS)
    output = parser.parse_args().output
    result = {
        "provenance": {"date": date.today().isoformat(), "python": platform.python_version(),
                       "numpy": np.__version__, "load": os.getloadavg()[0]},
        "one mask": [one_mask(side) for side in (8, 16, 32, 64, 128)],
        "many masks": [many_masks(side, 4096) for side in (32, 64, 128)],
        "more masks": [many_masks(32, count) for count in (1024, 4096, 16384)],
        "masking units": [many_masks(side, 4096, 8) for side in (32, 64, 128)],
        "a million edges": [million_edges()],
    }
    for title, rows in result.items():
        if isinstance(rows, list):
            show(title, rows)
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
