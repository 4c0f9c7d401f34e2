"""What a training step costs at different masking ratios and patches: MACs counted, time measured.

    python benchmarks/masking_cost.py [--rounds 15] [--output benchmarks/results/masking_cost.json]

All settings run interleaved in one process; ratios are medians over the rounds (Kong et al.,
section 3.6 on .9 against .1, appendix C.2 on larger patches). The book's ledger reads the seconds
of each round from the results (:mod:`mae_lib.pages.costs`).
"""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from pathlib import Path
from statistics import median

import torch
from contenders import Step
from training import BATCH, interleave, provenance

from mae_lib.models.cost import autoencoder_macs
from mae_lib.models.methods import PRESETS, MaskedAutoencoder, mae
from mae_lib.training.pretrain import mask_generator
from mae_lib.training.schedule import Recipe
from mae_lib.training.step import adamw, compile_step

PRESET = "laptop"
RATIOS, PATCHES, RATIO = (0.1, 0.25, 0.5, 0.75, 0.9), (4, 8, 16), 0.75
RESULTS = Path(__file__).parent / "results" / "masking_cost.json"


def training_step(model: MaskedAutoencoder, images: torch.Tensor) -> Step:
    recipe = Recipe(views=BATCH)
    model.train()
    step = compile_step(model, adamw(model, recipe), "eager")
    mask = model.sample_mask(BATCH, mask_generator(0, 0))
    return partial(step, images, mask, recipe.lr)


def encoding(model: MaskedAutoencoder, images: torch.Tensor) -> Step:
    """The forward pass of the encoder alone."""
    visible = model.sample_mask(BATCH, mask_generator(0, 0)).visible

    @torch.no_grad()
    def run() -> torch.Tensor:
        return model.encoder(images, visible).patches.mean()

    return run


def measured(models: dict[str, MaskedAutoencoder], reference: str, rounds: int) -> list[dict]:
    """One row a model: MACs and times, each also as a multiple of the reference's."""
    images = torch.rand(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    kinds = {"step": training_step, "encoder": encoding}
    jobs = {f"{kind} {name}": make(model, images) for kind, make in kinds.items()
            for name, model in models.items()}
    times = interleave(jobs, rounds, repeats=3)
    rows = []
    for name, model in models.items():
        row = {"name": name, "level": float(name.split()[-1]),
               **counted(model.config, models[reference].config)}
        for kind in kinds:
            row |= summed(kind, times[f"{kind} {name}"], times[f"{kind} {reference}"])
        row |= {f"step {clock} s, by round": [round(row[clock], 6) for row in times[f"step {name}"]]
                for clock in ("wall", "cpu")}
        rows.append(row)
    return rows


def summed(kind: str, times: list[dict], others: list[dict]) -> dict:
    """Median milliseconds, and the median over the rounds of how many times the reference's."""
    return {f"{kind} {clock}{unit}": value for clock in ("wall", "cpu") for unit, value in (
        (" ms", 1e3 * median(row[clock] for row in times)),
        (" x", median(row[clock] / other[clock]
                      for row, other in zip(times, others, strict=True))))}


def counted(config: dict, reference: dict) -> dict:
    """MACs of an image's forward pass, of this library and of the published way."""
    row = {}
    for way, lazy in (("", True), (", published way", False)):
        own, other = (autoencoder_macs(c, c["ratio"], lazy=lazy) for c in (config, reference))
        row |= {f"encoder MMACs{way}": own.encoder / 1e6, f"MMACs{way}": own.total / 1e6,
                f"encoder MACs x{way}": own.encoder / other.encoder,
                f"MACs x{way}": own.total / other.total}
    return row


def vit_base() -> list[dict]:
    shape = PRESETS["vit_base_patch16"]
    return [{"name": f"ViT-B/16, ratio {r}", **counted({**shape, "ratio": r},
                                                       {**shape, "ratio": 0.1})} for r in RATIOS]


def show(title: str, rows: list[dict]) -> None:
    print(f"\n{title}")
    for row in rows:
        print("  " + ", ".join(f"{k} {v:,.3g}" if isinstance(v, float) else v
                               for k, v in row.items()
                               if "published" not in k and not isinstance(v, list)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    by_ratio = {f"ratio {r}": mae(PRESET, ratio=r, seed=0) for r in RATIOS}
    by_patch = {f"patch {p}": mae(PRESET, ratio=RATIO, patch=p, seed=0) for p in PATCHES}
    result = {"provenance": provenance(1) | {"preset": PRESET},
              "ratios": measured(by_ratio, "ratio 0.1", arguments.rounds),
              "coupled patches": measured(by_patch, "patch 4", arguments.rounds),
              "counted only": vit_base()}
    result["provenance"]["load after"] = os.getloadavg()[0]
    for title, rows in result.items():
        if isinstance(rows, list):
            show(title, rows)
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
