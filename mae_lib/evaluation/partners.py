"""Does a network use what it sees beside a frame? Errors with the true partner over a stranger's.

A partner is a second view of the same moment, the console's memory at that moment, or an earlier
frame; a stranger's is that of another moment of the same game, half of the test set away. Masks and
hidden pixels are the same in both, and both look alike as a whole, so that only what the two have
to do with each other differs: a network that does not use its partner has a ratio of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mae_lib.evaluation.pixels import to_pixels
from mae_lib.evaluation.reconstruction import hidden_pixels
from mae_lib.models.clips.cross import PairMask
from mae_lib.models.clips.siamese import frame_at
from mae_lib.models.masks import Mask
from mae_lib.models.worlds.groups import joined
from mae_lib.models.worlds.memory import WORD, Remembered

BATCH = 128
OVER_STRANGERS = "error with its partner over a stranger's, {}"


class Drawn(NamedTuple):
    """What was drawn of frames: ``pixels [B,3,H,W]``, squared ``errors [B,H,W]``, channels added
    up, and which pixels were ``hidden [B,H,W]``."""

    pixels: Tensor
    errors: Tensor
    hidden: Tensor


Draw = Callable[[np.ndarray, np.ndarray], Drawn]  # of frames, beside the partners of others


@torch.no_grad()
def second_view(model, views: Tensor, partners: Tensor, masks: tuple[Mask, Mask]) -> Drawn:
    """The second of two views ``[B,2,3,H,W]`` beside the first of ``partners``.

    Args:
        model: see :func:`mae_lib.models.worlds.views.mwm_views`.
        masks: of the first and of the second view.
    """
    seen = torch.stack([partners[:, 0], views[:, 1]], dim=1)
    count = model.encoder.grid[0] * model.encoder.grid[1]
    prediction = model.predict(seen, joined(masks, [count, count]))[:, count:]
    return _drawn(model, prediction, views[:, 1], masks[1])


@torch.no_grad()
def beside_memory(model, images: Tensor, memory: Tensor, masks: tuple[Mask, Mask]) -> Drawn:
    """Frames ``[B,3,H,W]`` beside memories ``[B,128]``, their own or not.

    Args:
        model: see :func:`mae_lib.models.worlds.memory.mwm_memory`.
        masks: of the frame and of the words of the memory.
    """
    prediction = model.predict(images, Remembered(*masks[0], *masks[1], memory))
    return _drawn(model, prediction, images, masks[0])


@torch.no_grad()
def memory_errors(model, images: Tensor, memory: Tensor, masks: tuple[Mask, Mask]) -> Tensor:
    """Squared errors ``[B,128]`` of the memory beside frames, NaN in words that were read."""
    found = model.predict_memory(images, Remembered(*masks[0], *masks[1], memory))
    hidden = masks[1].binary().bool().repeat_interleave(WORD, 1)
    return torch.where(hidden, (found - memory).square(), torch.nan)


@torch.no_grad()
def after_past(model, clips: Tensor, partners: Tensor, drawn: PairMask) -> Drawn:
    """The future frames of clips ``[B,3,T,H,W]`` after the past frames of ``partners``.

    Args:
        model: see :func:`mae_lib.models.worlds.siamese.siam_mwm`.
    """
    rows, seen = torch.arange(len(clips)), clips.clone()
    seen[rows, :, drawn.first] = frame_at(partners, drawn.first)
    return _drawn(model, model.predict(seen, drawn), frame_at(clips, drawn.second),
                  Mask(drawn.visible, drawn.hidden))


def partner_ratios(draw: Draw, regions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Error of hidden pixels with the true partner over that with a stranger's, by region.

    Args:
        draw: ``(frames [B], whose partners [B]) -> Drawn``; the same masks for the same frames.
        regions: bool ``[N,H,W]`` each. One without a hidden pixel has NaN.

    Raises:
        ValueError: fewer than two frames, of which none is a stranger.
    """
    count = len(next(iter(regions.values())))
    total = {name: np.zeros(2) for name in regions}
    for i in range(0, count, BATCH):
        rows = np.arange(i, min(i + BATCH, count))
        both = [draw(rows, whose) for whose in (rows, strangers(count)[rows])]
        for name, region in regions.items():
            inside = both[0].hidden.numpy() & region[rows]
            total[name] += [part.errors.numpy()[inside].sum() for part in both]
    return {name: true / other if other else float("nan") for name, (true, other) in total.items()}


def strangers(count: int) -> np.ndarray:
    """For each of ``count`` moments another one, int64 ``[count]``: half of them further on.

    Raises:
        ValueError: fewer than two.
    """
    if count < 2:
        raise ValueError(f"count must be at least 2 for moments to have strangers, got {count}")
    return (np.arange(count) + count // 2) % count


def _drawn(model, prediction: Tensor, images: Tensor, mask: Mask) -> Drawn:
    pixels = to_pixels(prediction, images, model).pixels
    hidden = hidden_pixels(mask, model.encoder.grid, model.config["patch"])[:, 0]
    return Drawn(pixels, (pixels - images).square().sum(1), hidden)
