"""Labels of a clip's first frame carried to all later ones by frozen features (as SiamMAE is
evaluated: the protocol of Jabri et al., 2020, and of DINO's video segmentation).

A cell of a frame takes the labels of the cells of earlier frames whose features are most alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mae_lib.data.menagerie import Clips
from mae_lib.evaluation.records import EvalRecord, not_tested, records_of
from mae_lib.evaluation.tracking import mark_count, tracking_scores

BATCH = 16


@torch.no_grad()
def frame_features(encoder, clips: Tensor) -> Tensor:
    """Patch tokens of every frame by itself, ``[B, T, L, D]``, of clips ``[B,3,T,H,W]``."""
    frames = clips.transpose(1, 2).flatten(0, 1)
    return encoder(frames).patches.unflatten(0, (len(clips), -1))


def propagate(features: Tensor, labels: Tensor, grid: tuple[int, int], *, recent: int = 7,
              top: int = 5, radius: float | None = None, temperature: float = 0.1) -> Tensor:
    """Soft labels of the first frame in all frames, ``[B, T, L, K]``.

    A cell takes the mean of the labels of the ``top`` cells with the largest cosine similarity,
    weighted by exp(similarity / temperature). They may lie in the first frame, whose labels are
    given, and in the ``recent`` frames before, whose labels were found so. The numbers are those
    of DINO's code; CropMAE's has 20, 7 and .7 for SiamMAE on DAVIS, which leaves little of an
    object of a few cells.

    Args:
        features: ``[B, T, L, D]``, cells in row-major order.
        labels: of the first frame, ``[B, L, K]``.
        radius: how far a cell may look, in cells; anywhere if None.

    Raises:
        ValueError: fewer than two frames; shapes that do not fit; numbers out of their range.
    """
    _check(features, labels, grid, recent, top, temperature)
    unit, far = F.normalize(features, dim=-1), _too_far(grid, radius, features.device)
    found = [labels]
    for t in range(1, features.shape[1]):
        context = sorted({0, *range(max(t - recent, 0), t)})
        similarity = torch.einsum("bld,bcmd->blcm", unit[:, t], unit[:, context])
        similarity = similarity.masked_fill(far[:, None], -math.inf).flatten(2)
        weight, index = similarity.topk(min(top, similarity.shape[-1]), dim=-1)
        known = torch.stack([found[i] for i in context], dim=1).flatten(1, 2)
        found.append(_mean(known, (weight / temperature).softmax(-1), index))
    return torch.stack(found, dim=1)


def label_shares(marks: Tensor, count: int, grid: tuple[int, int]) -> Tensor:
    """Share of each cell that each label covers, ``[..., L, count]``, of marks ``[..., H, W]``.

    Raises:
        ValueError: labels out of range; a grid that does not divide the pixels.
    """
    height, width = marks.shape[-2:]
    if height % grid[0] or width % grid[1]:
        raise ValueError(f"marks of {height}x{width} pixels must divide into the grid "
                         f"{grid[0]}x{grid[1]}")
    if marks.min() < 0 or marks.max() >= count:
        raise ValueError(f"marks must lie in 0..{count - 1}, got {int(marks.min())}.."
                         f"{int(marks.max())}")
    planes = F.one_hot(marks.long(), count).movedim(-1, -3).float()
    pooled = F.avg_pool2d(planes.flatten(0, -4), (height // grid[0], width // grid[1]))
    return pooled.flatten(2).transpose(1, 2).unflatten(0, marks.shape[:-2])


def propagation_records(encoder, clips: Clips, *, setting: dict, seed: int, split: str,
                        name: str = "propagation", **protocol) -> list[EvalRecord]:
    """Scores of an encoder of single frames, one record for each of
    :func:`mae_lib.evaluation.tracking.tracking_scores`.

    Clips in which a score has nothing to look at are left out of its items: the same ones for all
    encoders.

    Args:
        seed: of the pretraining run, for the records.
        name: of the protocol, for the records.
        protocol: see :func:`propagate`.
    """
    def follow(x: Tensor, first: Tensor, _: Tensor) -> Tensor:
        features = frame_features(encoder, x.to(encoder.mean.device)).cpu()
        return propagate(features, first, encoder.grid, **protocol)

    return _records(clips, encoder.grid, follow, setting=setting, seed=seed, split=split,
                    protocol=name)


def bound_records(clips: Clips, grid: tuple[int, int], *, split: str) -> list[EvalRecord]:
    """What needs no encoder: ``"floor: still"`` repeats the first frame's labels, ``"ceiling:
    cells"`` is told how much of each cell every label covers; setting {}, seed 0."""
    bounds = {"floor: still": lambda x, first, every: first[:, None].expand_as(every),
              "ceiling: cells": lambda x, first, every: every}
    return [record for name, follow in bounds.items()
            for record in _records(clips, grid, follow, setting={}, seed=0, split=split,
                                   protocol=name)]


def _records(clips: Clips, grid: tuple[int, int], follow: Callable, **about) -> list[EvalRecord]:
    """Records of soft labels ``follow(clips, shares in the first frame, in every frame)``."""
    parts = [_scores(clips, slice(i, i + BATCH), grid, follow)
             for i in range(0, len(clips), BATCH)]
    about, records = {**about, "dataset": clips.name}, []
    for metric in parts[0]:
        items = np.concatenate([part[metric] for part in parts])
        kept = items[np.isfinite(items)]
        records += (records_of({metric: kept}, **about) if len(kept) else
                    [not_tested("no clip shows anything to score", **about, metric=metric)])
    return records


def _scores(clips: Clips, rows: slice, grid: tuple[int, int],
            follow: Callable) -> dict[str, np.ndarray]:
    x = torch.from_numpy(np.ascontiguousarray(clips.images[rows])).float() / 255
    marks = torch.from_numpy(clips.marks[rows])
    every = label_shares(marks, mark_count(marks), grid)
    scores = tracking_scores(follow(x, every[:, 0], every), marks, grid)
    return {metric: value.double().numpy() for metric, value in scores.items()}


def _mean(known: Tensor, weight: Tensor, index: Tensor) -> Tensor:
    """Weighted means ``[B, L, K]`` of the labels ``known [B, M, K]`` at ``index [B, L, top]``."""
    rows = torch.arange(len(known), device=known.device)[:, None, None]
    return (known[rows, index] * weight[..., None]).sum(2)


def _too_far(grid: tuple[int, int], radius: float | None, device) -> Tensor:
    """Whether two cells are more than ``radius`` apart, bool ``[L, L]``."""
    cells = torch.cartesian_prod(*(torch.arange(n, device=device) for n in grid)).float()
    apart = torch.cdist(cells, cells)
    return apart > (math.inf if radius is None else radius)


def _check(features: Tensor, labels: Tensor, grid: tuple[int, int], recent: int, top: int,
           temperature: float) -> None:
    if features.ndim != 4 or features.shape[2] != grid[0] * grid[1]:
        raise ValueError(f"features must have shape [B,T,{grid[0] * grid[1]},D], "
                         f"got {list(features.shape)}")
    if features.shape[1] < 2:
        raise ValueError(f"features must be of two frames at least, got {features.shape[1]}")
    if labels.ndim != 3 or labels.shape[:2] != (len(features), features.shape[2]):
        raise ValueError(f"labels must have shape [{len(features)},{features.shape[2]},K], "
                         f"got {list(labels.shape)}")
    if recent < 0 or top < 1:
        raise ValueError(f"recent must be at least 0 and top at least 1, got {recent} and {top}")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
