"""Do pictures come as fast as a training step takes them? Images a second, decoded against trained.

    python benchmarks/loading.py [--preset vit_base_patch16] [--workers 0 1 2] [--device cpu]

Photograph-sized JPEG files are written to a temporary folder; a random view of each is decoded as
in pretraining, and steps are timed on a batch that lies ready. Loading and steps take turns, round
by round, so that other work on the machine hits both alike. A ratio above 1 means that the step
never waits.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from training import provenance

from mae_lib.data.files.transforms import pretraining_view
from mae_lib.data.official.folders import folder
from mae_lib.models.methods import mae
from mae_lib.training.pretrain import own_masks
from mae_lib.training.schedule import Recipe
from mae_lib.training.step import adamw, compile_step
from mae_lib.training.stream import Steps, stream

HEIGHT, WIDTH, FILES = 375, 500, 256  # ImageNet's pictures have about this size
RESULTS = Path(__file__).parent / "results" / "loading.json"


def write_photographs(root: Path) -> None:
    """Smooth colours with some noise, so that decoding costs what a photograph's does."""
    rng = np.random.default_rng(0)
    for i in range(FILES):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
        smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.BICUBIC)).astype(np.int16)
        noisy = smooth + rng.integers(-12, 13, smooth.shape)
        picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        picture.save(root / f"{i:03}.jpg", quality=90)


def rate(batch: int, seconds: float, steps: int) -> float:
    return batch * steps / seconds


def loading(steps: Steps, workers: int, count: int, device: str) -> float:
    """Images a second of a running stream; the first step, with which workers start, is left out.
    """
    batches = stream(steps, 0, count + 1, workers=workers, device=device)
    next(batches)
    start = time.perf_counter()
    for _ in islice(batches, count):
        pass
    return rate(steps.batch, time.perf_counter() - start, count)


def training(step, images, mask, count: int) -> float:
    step(images, mask, 1e-4).item()
    start = time.perf_counter()
    for _ in range(count):
        loss = step(images, mask, 1e-4)
    loss.item()  # waits for the device
    return rate(len(images), time.perf_counter() - start, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="vit_base_patch16")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    method = mae(options.preset, seed=0).to(options.device)
    recipe = Recipe(views=options.batch, batch=options.batch)
    precision = "float32" if options.device == "cpu" else "bfloat16"
    step = compile_step(method, adamw(method, recipe), "eager", precision=precision)
    rows = []
    with tempfile.TemporaryDirectory() as root:
        write_photographs(Path(root))
        size = method.encoder.size[0]
        images = folder(root, size=size, view=pretraining_view(size))
        steps = Steps(images, options.batch, 0, own_masks(method), slice(None))
        ready, mask = steps[0]
        for _ in range(options.rounds):
            trained = training(step, ready, mask, options.steps)
            rows += [{"workers": w, "loaded": loading(steps, w, options.steps, options.device),
                      "trained": trained} for w in options.workers]
    found = {w: [r["loaded"] / r["trained"] for r in rows if r["workers"] == w]
             for w in options.workers}
    print(pd.DataFrame(rows).groupby("workers").median().round(1).to_string())
    print("loaded / trained:", {w: round(statistics.median(x), 2) for w, x in found.items()})
    RESULTS.write_text(json.dumps({"provenance": provenance(torch.get_num_threads()),
                                   "preset": options.preset, "batch": options.batch,
                                   "device": options.device, "rounds": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
