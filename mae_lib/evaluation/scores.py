"""Reconstruction protocols over a whole image set, one record a metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mae_lib.data.images import ImageSet
from mae_lib.evaluation.floors import floor_images
from mae_lib.evaluation.metrics import PIXEL, PRIMARY, image_metrics, squared_error
from mae_lib.evaluation.pixels import Reconstruction, leak
from mae_lib.evaluation.reconstruction import (
    complement_folds,
    reconstruct_complement,
    reconstruct_masked,
    reconstruct_unmasked,
)
from mae_lib.evaluation.records import EvalRecord, records_of
from mae_lib.training.distributed import shared, world

BATCH = 128
DIAGNOSTICS = ("mse_unclamped", "target_mse", "clipped_fraction", "used_target_stats")


def reconstruction_records(model, images: ImageSet, *, setting: dict, seed: int, split: str,
                           ratios: Sequence[float] = (0.25, 0.5, 0.75),
                           metrics: Sequence[str] = PRIMARY,
                           mask_seed: int = 0) -> list[EvalRecord]:
    """All reconstruction protocols of one model.

    Protocols are ``"unmasked"``, ``"complement <ratio>"`` for each of ``ratios``, ``"own masks,
    pasted"`` and ``"own masks, hidden"`` (psnr and mse only), and ``"floor: leak"`` for a model
    whose target is normalised. Besides ``metrics``, each has ``DIAGNOSTICS`` without items:
    ``mse_unclamped``, ``target_mse`` (in units of the target), ``clipped_fraction``, and
    ``used_target_stats`` (1 if the read-out was given statistics of the original).

    Args:
        seed: of the pretraining run, for the records.
        mask_seed: of the test masks; the same masks for all models with one sampler.
    """
    protocols = {"unmasked": (partial(reconstruct_unmasked, model), None)}
    for ratio in ratios:
        protocols[f"complement {ratio:g}"] = _complement(model, _generator(mask_seed), ratio)
    for name, paste in (("pasted", True), ("hidden", False)):
        protocols[f"own masks, {name}"] = _own_masks(model, _generator(mask_seed), paste)
    if model.config["target"] == "normalised":
        protocols["floor: leak"] = (partial(leak, model=model), None)
    records = [record for protocol, (reconstruct, skip) in protocols.items()
               for record in records_of(score(images, reconstruct, metrics, skip),
                                        setting=setting, seed=seed, dataset=images.name,
                                        split=split, protocol=protocol)]
    return [replace(r, items=None) if r.metric in DIAGNOSTICS else r for r in records]


def floor_records(images: ImageSet, *, split: str, patches: Sequence[int] = (8, 16, 32),
                  metrics: Sequence[str] = PRIMARY) -> list[EvalRecord]:
    """The floors that need no model, as protocols ``"floor: <name>"``; setting {}, seed 0."""
    parts = shared(lambda rows: _floors(images.batch(rows), patches, metrics), _cuts(images))
    return [record for name in parts[0]
            for record in records_of(_concatenate([part[name] for part in parts]), setting={},
                                     seed=0, dataset=images.name, split=split,
                                     protocol=f"floor: {name}")]


def _floors(x: Tensor, patches: Sequence[int], metrics: Sequence[str]) -> dict[str, dict]:
    return {name: image_metrics(x, floor, metrics)
            for name, floor in floor_images(x, patches).items()}


def score(images: ImageSet, reconstruct: Callable[[Tensor], Reconstruction],
          metrics: Sequence[str] = PRIMARY,
          skip: Callable[[int], object] | None = None) -> dict[str, np.ndarray]:
    """Metrics of every image, ``{metric: [N]}``, under one protocol.

    A protocol that scores a region keeps only those of ``metrics`` that allow one. The processes of
    a job share the work by batches; each gets all metrics.

    Args:
        skip: draws what ``reconstruct`` would draw for so many images that another process has.
    """
    cuts = _cuts(images)

    def part(rows: slice) -> dict[str, Tensor]:
        x = images.batch(rows)
        return _score(x, reconstruct(x), metrics)

    for rows in cuts[:world().share(len(cuts)).start] if skip else ():
        skip(rows.stop - rows.start)
    return _concatenate(shared(part, cuts))


def _score(x: Tensor, result: Reconstruction, metrics: Sequence[str]) -> dict[str, Tensor]:
    if result.region is not None:
        metrics = [name for name in metrics if name in PIXEL]
    return {**image_metrics(x, result.pixels, metrics, result.region),
            "mse_unclamped": squared_error(x, result.unclamped, result.region),
            "target_mse": result.target_error.mean(1),
            "clipped_fraction": result.clipped_fraction,
            "used_target_stats": torch.full((len(x),), float(result.used_target_stats))}


def _own_masks(model, generator: torch.Generator, paste: bool) -> tuple[Callable, Callable]:
    draw = partial(model.sample_mask, generator=generator)
    return lambda x: reconstruct_masked(model, x, draw(len(x)), paste=paste), draw


def _complement(model, generator: torch.Generator, ratio: float) -> tuple[Callable, Callable]:
    draw = partial(complement_folds, grid=model.encoder.grid, ratio=ratio, generator=generator)
    return partial(reconstruct_complement, model, ratio=ratio, generator=generator), draw


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _cuts(images: ImageSet) -> list[slice]:
    return [slice(i, min(i + BATCH, len(images))) for i in range(0, len(images), BATCH)]


def _concatenate(parts: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
