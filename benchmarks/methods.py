"""What a training step of each method costs beside MAE's: multiplications counted, time measured.

    python benchmarks/methods.py [--rounds 15] [--output benchmarks/results/methods.json]

All methods run interleaved in one process on one thread; ratios are medians over the rounds.
"excess" is how many times MAE's CPU seconds a step takes, over how many times MAE's
multiplications (:func:`mae_lib.models.cost.method_macs`): 1 where a step costs what they imply, and
no more than ``MOST`` is wanted.
"""

from __future__ import annotations

import argparse
import json
import os
from itertools import count
from pathlib import Path
from statistics import median

import torch
from contenders import RATIO, Step
from training import BATCH, interleave, pixels, provenance

from mae_lib.data.menagerie import CLASSES
from mae_lib.models.cost import MethodMacs, method_macs
from mae_lib.models.family import MAE, METHODS, SUPERVISED, method
from mae_lib.models.methods import PRESETS, mae
from mae_lib.training.pretrain import mask_generator
from mae_lib.training.schedule import Recipe
from mae_lib.training.step import adamw, compile_step

PRESET, MOST = "laptop", 1.3
RESULTS = Path(__file__).parent / "results" / "methods.json"


def training_step(name: str, images: torch.Tensor) -> Step:
    """A step that draws its masks and views, as in training."""
    recipe, number = Recipe(views=BATCH), count()
    model = method(name, mae(PRESET, ratio=RATIO, seed=0), classes=len(CLASSES), seed=0).train()
    step = compile_step(model, adamw(model, recipe), "eager")
    subject = torch.arange(BATCH) % len(CLASSES) if name == SUPERVISED else BATCH

    def run() -> torch.Tensor:
        drawn = model.sample_mask(subject, mask_generator(0, next(number)))
        return step(images, drawn, recipe.lr)

    return run


def measured(rounds: int) -> list[dict]:
    """One row a method: MACs and times, each also as a multiple of MAE's."""
    images = pixels(PRESET)
    times = interleave({name: training_step(name, images) for name in METHODS}, rounds, repeats=3)
    rows = []
    for name in METHODS:
        macs, reference = (_counted(m) for m in (name, MAE))
        row = {"name": name, "forward MMACs": macs.forward / 1e6, "step MMACs": macs.step / 1e6,
               "MACs x": macs.step / reference.step}
        for clock in ("wall", "cpu"):
            seconds, others = ([round(r[clock], 6) for r in times[m]] for m in (name, MAE))
            row |= {f"step {clock} ms": 1e3 * median(seconds),
                    f"step {clock} x": median(map(float.__truediv__, seconds, others)),
                    f"step {clock} s, by round": seconds}
        row["excess"] = row["step cpu x"] / row["MACs x"]
        rows.append(row)
    return rows


def _counted(name: str) -> MethodMacs:
    """Of one image of the batch."""
    return method_macs(name, PRESETS[PRESET], RATIO, batch=BATCH, classes=len(CLASSES))


def show(rows: list[dict]) -> None:
    print(f"{'':24}{'MMACs':>8}{'CPU ms':>8}{'MACs x':>8}{'CPU x':>8}{'excess':>8}")
    for row in rows:
        print(f"{row['name']:24}{row['step MMACs']:8.1f}{row['step cpu ms']:8.1f}"
              f"{row['MACs x']:8.2f}{row['step cpu x']:8.2f}{row['excess']:8.2f}"
              f"{'' if row['excess'] <= MOST else f'  above {MOST}'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = {"provenance": provenance(1) | {"preset": PRESET, "ratio": RATIO}}
    result["methods"] = measured(arguments.rounds)
    result["provenance"]["load after"] = os.getloadavg()[0]
    show(result["methods"])
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
