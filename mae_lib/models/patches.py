"""Images cut into patches and back, and the fixed positions of the patches.

The vector of a patch runs over (row in the patch, column in the patch, channel), the channel
fastest: the order of the published MAE weights.
"""

from __future__ import annotations

import torch
from torch import Tensor


def patch_grid(size: int | tuple[int, int], patch: int) -> tuple[int, int]:
    """Rows and columns of patches in an image of ``size`` pixels.

    Raises:
        ValueError: ``patch`` does not divide the height and the width.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if patch < 1 or height % patch or width % patch:
        raise ValueError(f"patch must divide the image side, got patch {patch} "
                         f"for {height}x{width} pixels")
    return height // patch, width // patch


def patchify(images: Tensor, patch: int) -> Tensor:
    """Cut images into patches.

    Args:
        images: ``[B, C, H, W]``.
        patch: side of a patch in pixels.

    Returns:
        ``[B, L, patch * patch * C]``, patches in row-major order.
    """
    batch, channels = images.shape[:2]
    rows, cols = patch_grid(tuple(images.shape[2:]), patch)
    cells = images.reshape(batch, channels, rows, patch, cols, patch)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * cols, patch * patch * channels)


def unpatchify(patches: Tensor, patch: int, grid: tuple[int, int]) -> Tensor:
    """Put patches ``[B, L, patch * patch * C]`` back together as images ``[B, C, H, W]``.

    Raises:
        ValueError: the number or the length of the patches does not fit ``grid`` and ``patch``.
    """
    rows, cols = grid
    batch, count, length = patches.shape
    if count != rows * cols or length % patch**2:
        raise ValueError(f"patches must have shape [B,{rows * cols},{patch**2}*C], "
                         f"got {list(patches.shape)}")
    cells = patches.reshape(batch, rows, cols, patch, patch, length // patch**2)
    return cells.permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, rows * patch, cols * patch)


def sincos_1d(width: int, positions: Tensor) -> Tensor:
    """Sines, then cosines (not interleaved) of each position: float64 ``[N, width]``."""
    steps = torch.arange(width // 2, dtype=torch.float64) / (width / 2)
    angles = positions.double().flatten()[:, None] * 10000.0**-steps
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_2d(width: int, grid: tuple[int, int], *, class_token: bool = True) -> Tensor:
    """Fixed positions of a grid of patches (He et al., official code).

    The first half of a row encodes the patch's column, the second half its row; the class token,
    which comes first, has position zero. Computed in float64.

    Returns:
        float32 ``[1, L (+1), width]``.

    Raises:
        ValueError: ``width`` is not a multiple of four.
    """
    if width % 4:
        raise ValueError(f"width must be a multiple of 4 for 2-D positions, got {width}")
    row, col = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    table = torch.cat([sincos_1d(width // 2, col), sincos_1d(width // 2, row)], dim=1)
    if class_token:
        table = torch.cat([torch.zeros(1, width, dtype=torch.float64), table])
    return table.float()[None]
