"""How many pictures of the Menagerie one core paints in a second, beside the prototype's figures.

    python benchmarks/rendering.py [--images 4000] [--preset default]
"""

import argparse
import time

from mae_lib.data.menagerie import PRESETS, menagerie

PROTOTYPE = {32: 8100, 48: 5100, 64: 3200}  # numba, part bounding boxes; two shared cores
REPEATS = 3


def main() -> None:
    """Compile, measure the best of three runs at each size, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--preset", choices=PRESETS, default="default")
    asked = parser.parse_args()
    print(f"first image (compile, or load what was compiled): {seconds(1, 32, 'default'):.2f} s")
    print(f"{'size':>6} {'images/s':>10} {'prototype':>10}")
    for size, before in PROTOTYPE.items():
        best = min(seconds(asked.images, size, asked.preset) for _ in range(REPEATS))
        print(f"{size:>6} {asked.images / best:>10,.0f} {before:>10,}")


def seconds(n: int, size: int, preset: str) -> float:
    """Wall time of drawing ``n`` pictures."""
    begin = time.perf_counter()
    menagerie("train", n, size, preset)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
