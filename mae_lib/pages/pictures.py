"""Pictures of what networks make of images, one for each masking ratio or size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from mae_lib.evaluation.reconstruction import reconstruct_masked
from mae_lib.figures.masks import GREY
from mae_lib.studies import Setting, Sweep, images_of, model
from mae_lib.studies.attention import overlays


def read_outs(measured: Sweep, dataset: str, *, by: str = "ratio") -> dict[str, np.ndarray]:
    """Originals and unmasked read-outs of a series, ``{label: [n,3,H,W] in [0, 1]}``.

    Args:
        by: one row a ``"ratio"``, or a size of masking ``"unit"`` or patch.
    """
    chosen = _levels(measured, dataset, by)
    first = next(iter(chosen.values()))
    rows = {"original": first.value["originals"]}
    rows |= {_label(level, by): found.value["read_outs"] for level, found in chosen.items()}
    return {label: images / 255 for label, images in rows.items()}


def redrawn(measured: Sweep, *, count: int) -> dict[str, dict[str, np.ndarray]]:
    """For each ratio ``count`` originals of every data set, what its model redraws, and by how much
    that is off: ``{ratio: {label: [n,3,H,W] in [0, 1]}}``."""
    names = dict.fromkeys(s.dataset for s in measured.settings)
    rows = [read_outs(measured, name) for name in names]
    labels = [label for label in rows[0] if label != "original"]
    before, *after = (np.concatenate([row[label][:count] for row in rows])
                      for label in ("original", *labels))
    return {label.removeprefix("ratio "): {"original": before, "redrawn": images,
                                           "difference": np.abs(images - before)}
            for label, images in zip(labels, after, strict=True)}


def filled_in(settings: Iterable[Setting], *, count: int, if_stale: str = "show"
              ) -> dict[str, dict[str, np.ndarray]]:
    """What each network of a ratio series was trained for, on ``count`` test images of every data
    set: the image, what the encoder sees of it under a mask of its own ratio, and the image with
    the holes filled in, ``{ratio: {label: [n,3,H,W] in [0, 1]}}``."""
    settings = list(settings)
    chosen = [s for s in settings if s.seed == settings[0].seed]
    return {f"{ratio:g}": _filled_in([s for s in chosen if s.ratio == ratio], count, if_stale)
            for ratio in sorted({s.ratio for s in chosen})}


@torch.no_grad()
def _filled_in(settings: list[Setting], count: int, if_stale: str) -> dict[str, np.ndarray]:
    rows: dict = {"original": [], "seen": [], "filled in": []}
    for setting in settings:
        x = images_of(setting, "test", count).batch(slice(count))
        network = model(setting, if_stale).eval()
        mask = network.sample_mask(count, torch.Generator().manual_seed(0))
        found = reconstruct_masked(network, x, mask, paste=False)
        for name, row in (("original", x), ("seen", torch.where(found.region, GREY, x)),
                          ("filled in", torch.where(found.region, found.pixels, x))):
            rows[name].append(row.numpy())
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def attention(measured: Sweep, dataset: str, which: str, *, count: int) -> tuple:
    """What :func:`mae_lib.figures.attention_grid` draws: ``count`` images, the strongest 60 % of
    attention for each ratio ``{label: [count,h,w]}``, and the objects' masks (None if unknown).

    Args:
        which: ``"cls"``, ``"token"`` (first head) or ``"token mean"``.
    """
    chosen = _levels(measured, dataset, "ratio")
    value = next(iter(chosen.values())).value
    maps = {f"{ratio:g}": overlays(found.value, which)[:count] for ratio, found in chosen.items()}
    masks = value["masks"]
    return value["images"][:count] / 255, maps, None if masks is None else masks[:count]


def tokens(measured: Sweep, dataset: str, *, count: int) -> np.ndarray:
    """The cells that look in maps of ``"token"``, ``[count]``."""
    result = next(r for s, r in zip(measured.settings, measured.results, strict=True)
                  if s.dataset == dataset)
    return result.value["tokens"][:count]


def maps(measured: Sweep, dataset: str, *, by: str = "ratio") -> dict[str, tuple]:
    """t-SNE maps ``{label: (points [n,2], labels [n])}``; ``by`` as in :func:`read_outs`."""
    return {_label(level, by): (found.value["xy"].astype(float), found.value["labels"])
            for level, found in _levels(measured, dataset, by).items()}


def _levels(measured: Sweep, dataset: str, by: str) -> dict:
    """Results of the first seed, by ratio or by unit."""
    seed = measured.settings[0].seed
    found = {getattr(s, by): r for s, r in zip(measured.settings, measured.results, strict=True)
             if s.dataset == dataset and s.seed == seed}
    return {level: found[level] for level in sorted(found)}


def _label(level: float, by: str) -> str:
    return f"{level:g} pixels" if by == "unit" else f"ratio {level:g}"
