"""What a masked autoencoder draws of hidden parts of clips, against what needs no network: the
nearest frame that shows the place, and each pixel's mean.

Nothing has to be labelled for it, so that it can be asked of gameplay. MAE-ST predicts one frame of
each tubelet; all methods are scored on these frames alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mae_lib.data.atari.motion import background
from mae_lib.evaluation.reconstruction import predict
from mae_lib.evaluation.records import EvalRecord, not_tested, records_of
from mae_lib.models.clips.targets import OneFrameLoss, predicted_frames
from mae_lib.models.masks import Mask
from mae_lib.models.patches import unpatchify
from mae_lib.models.targets import pixels

BATCH = 64
PROTOCOL = "own masks, hidden"
MOVES = ", what moves"  # ends the names of what is measured on moving pixels alone
RATIOS = {"network over mean": ("network", "mean"), "network over copy": ("network", "copy"),
          "copy over mean": ("copy", "mean")}


def filled(model, clips: Tensor, mask: Mask) -> Tensor:
    """The frames of :func:`mae_lib.models.clips.targets.predicted_frames` as a model draws them,
    also where they are visible: ``[B,3,S,H,W]`` in [0, 1], of clips ``[B,3,T,H,W]``."""
    return to_frames(predict(model, clips, mask), clips, model)


def to_frames(found: Tensor, clips: Tensor, model) -> Tensor:
    """A prediction ``[B, L, n]`` for all tubelets as these frames.

    With a normalised target mean and spread of the original tubelets are put back, which no model
    could know: a prediction of zeros shows what that alone gives.
    """
    encoder, config = model.encoder, model.config
    tubes = encoder.patches(clips)
    one = OneFrameLoss(encoder.frames, encoder.grid, pixels)
    every, whole = torch.arange(tubes.shape[1]).expand(len(clips), -1), config.get("predicted") != 1
    if config["target"] == "normalised":
        known = tubes if whole else one.frame_of(tubes, every)
        found = _with_statistics(found, known, 3 if config["method"] == "video_mae" else 1)
    cells = one.frame_of(found, every) if whole else found
    frames = unpatchify(cells.unflatten(1, (encoder.grid[0], -1)).flatten(0, 1), encoder.patch,
                        encoder.grid[1:]).unflatten(0, (len(clips), -1)).transpose(1, 2)
    mean, std = (part[:, None, None, None] for part in (encoder.mean, encoder.std))
    return (frames * std + mean).clamp(0, 1)


def shown_pixels(mask: Mask, grid: tuple[int, int, int], time: int, patch: int) -> Tensor:
    """Whether each pixel of each frame is visible, bool ``[B, T, H, W]``."""
    cells = (1 - mask.binary()).bool().unflatten(1, grid)
    return cells.repeat_interleave(time, 1).repeat_interleave(patch, 2).repeat_interleave(patch, 3)


def copied(clips: Tensor, shown: Tensor, at: Sequence[int], behind: Tensor) -> Tensor:
    """Frames ``at`` of clips, each pixel from the nearest frame that shows its place, of two the
    earlier; from ``behind`` where no frame does: ``[B, 3, S, H, W]``.

    Args:
        clips: ``[B,3,T,H,W]``.
        shown: of :func:`shown_pixels`.
        behind: ``[3, H, W]``.
    """
    away = (torch.arange(clips.shape[2]) - torch.tensor(at)[:, None]).abs().float()
    away = torch.where(shown[:, None], away[..., None, None], math.inf)  # [B, S, T, H, W]
    found = clips.gather(2, away.argmin(2)[:, None].expand(-1, 3, -1, -1, -1))
    return torch.where(shown.any(1)[:, None, None], found, behind[:, None])


def filling_records(model, clips, frames: np.ndarray, *, setting: dict, seed: int, split: str,
                    threshold: int = 0, mask_seed: int = 0) -> list[EvalRecord]:
    """Squared errors of hidden pixels under a model's own masks, one item a clip: its sum over the
    mean sum of what it is compared with, so that the mean of the items is a ratio of means.

    Metrics are those of ``RATIOS``: the network over the mean of each pixel, or over
    :func:`copied`, and this over the mean; and the same of pixels that move, which differ from the
    background by more than ``threshold``.

    Args:
        model: of clips.
        clips: a set with ``batch(index)``.
        frames: what mean and background are taken of, uint8 ``[N,3,H,W]``.
    """
    sums = _sums(model, clips, frames, threshold, mask_seed)
    about = {"setting": setting, "seed": seed, "dataset": clips.name, "split": split,
             "protocol": PROTOCOL}
    records = []
    for region in ("", MOVES):
        for name, (mine, other) in RATIOS.items():
            below = sums[other + region].mean()
            records += (records_of({name + region: sums[mine + region] / below}, **about)
                        if below > 0 else [not_tested("nothing to be wrong about",
                                                      metric=name + region, **about)])
    return records


@torch.no_grad()
def _sums(model, clips, frames: np.ndarray, threshold: int, seed: int) -> dict[str, np.ndarray]:
    """Summed squared errors of each clip, by who drew it and which pixels count."""
    mean = torch.from_numpy(frames.mean(0) / 255).float()
    still = torch.from_numpy(background(frames).astype(np.float32) / 255)[:, None]
    encoder, generator = model.encoder, torch.Generator().manual_seed(seed)
    at, parts = predicted_frames(encoder.frames, encoder.grid[0]), []
    for i in range(0, len(clips), BATCH):
        x = clips.batch(slice(i, i + BATCH))
        mask = model.sample_mask(len(x), generator)
        shown = shown_pixels(mask, encoder.grid, encoder.time, encoder.patch)
        true, hidden = x[:, :, at], ~shown[:, at]
        moves = ((true - still).abs() > (threshold + 0.5) / 255).any(1)
        drawn = {"network": filled(model, x, mask), "copy": copied(x, shown, at, mean),
                 "mean": mean[:, None].expand_as(true)}
        errors = {name: (found - true).square().sum(1) for name, found in drawn.items()}
        parts.append({name + region: (error * counts).flatten(1).sum(1).double().numpy()
                      for name, error in errors.items()
                      for region, counts in (("", hidden), (MOVES, hidden & moves))})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _with_statistics(found: Tensor, cells: Tensor, groups: int) -> Tensor:
    """Predictions times the spread of the original vectors plus their mean, for each channel by
    itself or for all together; the targets' 1e-6 is left out."""
    cells = cells.unflatten(-1, (-1, groups))
    spread, mean = cells.std(-2, keepdim=True), cells.mean(-2, keepdim=True)
    return (found.unflatten(-1, (-1, groups)) * spread + mean).flatten(-2)
