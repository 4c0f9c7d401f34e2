"""What a training step of each method costs beside MAE's: multiplications counted, time measured.

    python benchmarks/methods.py [--rounds 15] [--output benchmarks/results/methods.json]

All methods run interleaved in one process on one thread; ratios are medians over the rounds.
"excess" is how many times MAE's CPU seconds a step takes, over how many times MAE's
multiplications: 1 where a step costs what they imply, and no more than ``MOST`` is wanted. The
book's ledger reads the seconds of each round (:mod:`mae_lib.pages.costs`).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from contenders import RATIO, Step
from torch import Tensor, nn
from training import BATCH, interleave, pixels, provenance

from mae_lib.data.menagerie import CLASSES
from mae_lib.models import wider
from mae_lib.models.cost import TRAINED, counted, method_macs
from mae_lib.models.family import MAE, METHODS, SUPERVISED, method
from mae_lib.models.methods import PRESETS, mae
from mae_lib.pages.costs import SHALLOW
from mae_lib.training.pretrain import mask_generator
from mae_lib.training.schedule import Recipe
from mae_lib.training.step import adamw, compile_step

PRESET, MOST, CLIP_RATIO = "laptop", 1.3, 0.9
RESULTS = Path(__file__).parent / "results" / "methods.json"


class Contender(NamedTuple):
    """A method, what it is trained on, what its views are drawn for, and a step's MACs an item."""

    model: nn.Module
    inputs: Tensor
    subject: int | Tensor
    macs: float


def contenders() -> dict[str, Callable[[], Contender]]:
    found = {name: lambda name=name: of_pictures(name) for name in METHODS}
    found[SHALLOW] = lambda: of_pictures(MAE, decoder_depth=1)
    return found | {name: lambda name=name: wider_one(name) for name, kind in wider.KINDS.items()
                    if not kind.partner and name != wider.REWARDED}  # "mwm" and one token


def of_pictures(name: str, **changes) -> Contender:
    base = mae(PRESET, ratio=RATIO, seed=0, **changes)
    subject = torch.arange(BATCH) % len(CLASSES) if name == SUPERVISED else BATCH
    macs = method_macs(name, {**PRESETS[PRESET], **changes}, RATIO, batch=BATCH,
                       classes=len(CLASSES)).step
    return Contender(method(name, base, classes=len(CLASSES), seed=0), pixels(PRESET), subject,
                     macs)


def wider_one(name: str) -> Contender:
    """A method of clips, or of frames of games; each at its paper's ratio."""
    kind = wider.KINDS[name]
    model = wider.build(name, PRESET, ratio=CLIP_RATIO if kind.clips else RATIO, seed=0)
    inputs = torch.rand(BATCH, *kind.inputs(model.config),
                        generator=torch.Generator().manual_seed(0))
    return Contender(model, inputs, BATCH, TRAINED * counted(model, inputs[:1]))


def training_step(found: Contender) -> Step:
    """A step that draws its masks and views, as in training."""
    recipe, number = Recipe(views=BATCH), count()
    model = found.model.train()
    step = compile_step(model, adamw(model, recipe), "eager")

    def run() -> Tensor:
        drawn = model.sample_mask(found.subject, mask_generator(0, next(number)))
        return step(found.inputs, drawn, recipe.lr)

    return run


def measured(rounds: int) -> list[dict]:
    """One row a method: MACs and times, each also as a multiple of MAE's."""
    made = {name: make() for name, make in contenders().items()}
    times = interleave({name: training_step(found) for name, found in made.items()}, rounds,
                       repeats=3)
    rows = []
    for name, found in made.items():
        row = {"name": name, "step MMACs": found.macs / 1e6, "MACs x": found.macs / made[MAE].macs}
        for clock in ("wall", "cpu"):
            seconds, others = ([round(r[clock], 6) for r in times[m]] for m in (name, MAE))
            row |= {f"step {clock} ms": 1e3 * median(seconds),
                    f"step {clock} x": median(map(float.__truediv__, seconds, others)),
                    f"step {clock} s, by round": seconds}
        row["excess"] = row["step cpu x"] / row["MACs x"]
        rows.append(row)
    return rows


def show(rows: list[dict]) -> None:
    print(f"{'':26}{'MMACs':>8}{'CPU ms':>8}{'MACs x':>8}{'CPU x':>8}{'excess':>8}")
    for row in rows:
        print(f"{row['name']:26}{row['step MMACs']:8.1f}{row['step cpu ms']:8.1f}"
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
