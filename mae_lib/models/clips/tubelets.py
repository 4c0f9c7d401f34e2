"""Clips cut into tubelets and back: a tubelet is a patch over a few frames.

Tubelets come in the order (time, row, column). The vector of one runs over (frame in the tubelet,
row in the patch, column in the patch, channel), the channel fastest.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mae_lib.models.patches import patch_grid, patchify, unpatchify

Grid = tuple[int, int, int]


def clip_grid(frames: int, size: int | tuple[int, int], time: int, patch: int) -> Grid:
    """Time slices, rows and columns of tubelets in a clip.

    Args:
        frames: of the clip.
        size: side of a frame, or height and width, in pixels.
        time: frames of a tubelet.
        patch: side of a tubelet in pixels.

    Raises:
        ValueError: a clip shorter than a tubelet; frames or sides that do not divide.
    """
    if frames < time:
        raise ValueError(f"frames must be at least the {time} of a tubelet, got {frames}")
    if time < 1 or frames % time:
        raise ValueError(f"time must divide the frames of a clip, got tubelets of {time} "
                         f"for {frames} frames")
    return frames // time, *patch_grid(size, patch)


def tubelets(clips: Tensor, time: int, patch: int) -> Tensor:
    """Cut clips ``[B, C, T, H, W]`` into tubelets ``[B, L, time * patch * patch * C]``.

    Raises:
        ValueError: as :func:`clip_grid`.
    """
    batch, _, frames, *size = clips.shape
    slices, rows, cols = clip_grid(frames, tuple(size), time, patch)
    patches = patchify(clips.transpose(1, 2).flatten(0, 1), patch)
    cells = patches.reshape(batch, slices, time, rows * cols, -1)
    return cells.transpose(2, 3).reshape(batch, slices * rows * cols, -1)


def untubelets(vectors: Tensor, time: int, patch: int, grid: Grid) -> Tensor:
    """Put tubelets ``[B, L, time * patch * patch * C]`` back together as ``[B, C, T, H, W]``.

    Raises:
        ValueError: the number or the length of the vectors does not fit.
    """
    slices, rows, cols = grid
    batch, count, length = vectors.shape
    if count != slices * rows * cols or length % (time * patch**2):
        raise ValueError(f"vectors must have shape [B,{slices * rows * cols},{time * patch**2}*C], "
                         f"got {list(vectors.shape)}")
    cells = vectors.reshape(batch, slices, rows * cols, time, -1).transpose(2, 3)
    frames = unpatchify(cells.reshape(-1, rows * cols, length // time), patch, (rows, cols))
    return frames.unflatten(0, (batch, slices * time)).transpose(1, 2)


class TubeletEmbed(nn.Module):
    """One linear map per tubelet, kept as a convolution's weight for the published names."""

    def __init__(self, time: int, patch: int, width: int):
        super().__init__()
        self.proj = nn.Conv3d(3, width, (time, patch, patch), (time, patch, patch))

    def forward(self, vectors: Tensor) -> Tensor:
        weight = self.proj.weight.permute(0, 2, 3, 4, 1).flatten(1)  # (frame, row, column, channel)
        return F.linear(vectors, weight, self.proj.bias)
