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
from mae_lib.theory.graph import HierGraph
from mae_lib.theory.masks import unit_masks
from mae_lib.theory.search import locate, locate_literal

RESULTS = Path(__file__).parent / "results" / "theory.json"
REPEATS = 3


def seconds(work) -> tuple[float, float]:
    """The best of a few runs: CPU time of this process, which suits a busy machine, and wall."""
    runs = []
    for _ in range(REPEATS):
        begun = time.process_time(), time.perf_counter()
        work()
        runs.append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
    return min(cpu for cpu, _ in runs), min(wall for _, wall in runs)


def milliseconds(work, name: str) -> dict:
    cpu, wall = seconds(work)
    return {f"{name} CPU ms": 1e3 * cpu, f"{name} wall ms": 1e3 * wall}


def one_mask(side: int) -> dict:
    """Milliseconds of a single search, and of the paper's loops where they end in time."""
    graph = quadtree(side)
    hidden = unit_masks(np.random.default_rng(0), 1, side, 1, 0.75).reshape(-1)
    target = [p for p, h in zip(graph.pixels, hidden, strict=True) if h]
    row = {"side": side, "nodes": len(graph.nodes),
           **milliseconds(lambda: locate(graph, target), "locate")}
    if side <= 16:
        row |= milliseconds(lambda: locate_literal(graph, target), "literal")
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
    cpu, wall = seconds(lambda: locate_many(graph, masks, units=owner))
    tracemalloc.start()
    locate_many(graph, masks, units=owner)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return {"side": side, "unit": unit, "masks": count, "nodes": len(graph.nodes),
            "masks/s by CPU": count / cpu, "masks/s by wall": count / wall,
            "CPU ns a node and mask": 1e9 * cpu / count / len(graph.nodes),
            "peak MiB": peak, "input MiB": masks.nbytes / 2**20}


def million_edges() -> dict:
    """Time to build a layered graph of a million edges and to search it once."""
    rng = np.random.default_rng(0)
    drawn = random_layered(rng, [1000, 10_000, 89_000, 400_000], parents=2)
    edges, pixels, latents = drawn.edges, drawn.pixels, drawn.latents
    graph = HierGraph(edges, pixels, latents)
    built = seconds(lambda: HierGraph(edges, pixels, latents))
    found = seconds(lambda: locate(graph, pixels[::2]))
    return {"edges": len(edges), "nodes": len(graph.nodes), "build CPU s": built[0],
            "build wall s": built[1], "locate CPU s": found[0], "locate wall s": found[1]}


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
                       "numpy": np.__version__, "cores": os.cpu_count(), "best of": REPEATS,
                       "load before": os.getloadavg()[0]},
        "one mask": [one_mask(side) for side in (8, 16, 32, 64, 128)],
        "many masks": [many_masks(side, 4096) for side in (32, 64, 128)],
        "more masks": [many_masks(32, count) for count in (1024, 4096, 16384)],
        "masking units": [many_masks(side, 4096, 8) for side in (32, 64, 128)],
        "a million edges": [million_edges()],
    }
    result["provenance"]["load after"] = os.getloadavg()[0]
    for title, rows in result.items():
        if isinstance(rows, list):
            show(title, rows)
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
