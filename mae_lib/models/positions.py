"""Weights that belong to a grid of patches, carried over to another grid or another patch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mae_lib.models.patches import sincos_2d
from mae_lib.models.weights import TOLERANCE

Grid = tuple[int, int]


def is_fixed(positions: Tensor, grid: Grid) -> bool:
    """Whether float32 positions ``[1, L (+1), D]`` are the sines and cosines of MAE for this grid,
    be it after a stay in half precision."""
    width = positions.shape[2]
    if width % 4:
        return False
    fixed = sincos_2d(width, grid, class_token=positions.shape[1] > grid[0] * grid[1])
    return any((positions - fixed.to(kept).float()).abs().max().item() <= TOLERANCE
               for kept in (torch.float32, torch.float16, torch.bfloat16))


def moved_positions(positions: Tensor, old: Grid, new: Grid, *,
                    antialias: bool = False) -> tuple[Tensor, str]:
    """Positions for another grid, and how they were found: fixed ones are computed for it,
    trained ones interpolated by :func:`resample_positions`."""
    way = f"from {old[0]}x{old[1]} to {new[0]}x{new[1]} patches"
    if is_fixed(positions, old):
        class_token = positions.shape[1] > old[0] * old[1]
        return (sincos_2d(positions.shape[2], new, class_token=class_token),
                f"{way}: fixed, computed anew")
    return (resample_positions(positions, old, new, antialias=antialias),
            f"{way}: trained, interpolated")


def resample_positions(positions: Tensor, old: Grid, new: Grid, *,
                       antialias: bool = False) -> Tensor:
    """Position embeddings of a grid from those of another, bicubic; the class token's stays.

    Without ``antialias`` as MAE's fine-tuning at another resolution does it
    (facebookresearch/mae: util/pos_embed.py), with it as timm (timm: layers/pos_embed.py).

    Args:
        positions: ``[1, L (+1), D]``, the class token's, if any, first.
        old, new: rows and columns.

    Returns:
        ``[1, L' (+1), D]``; ``positions`` itself if the grids are the same.

    Raises:
        ValueError: positions that are not those of ``old``.
    """
    patches = old[0] * old[1]
    prefix = positions.shape[1] - patches
    if positions.ndim != 3 or prefix not in (0, 1):
        raise ValueError(f"positions must have shape [1,{patches} (+1),D] for a grid of "
                         f"{old[0]}x{old[1]}, got {list(positions.shape)}")
    if old == new:
        return positions
    table = positions[:, prefix:].float().unflatten(1, old).permute(0, 3, 1, 2)
    table = F.interpolate(table, size=new, mode="bicubic", align_corners=False,
                          antialias=antialias)
    table = table.flatten(2).transpose(1, 2).to(positions.dtype)
    return torch.cat([positions[:, :prefix], table], dim=1)


def resample_patches(weight: Tensor, patch: int) -> Tensor:
    """Patch projection for patches of another size (Beyer et al. 2023, FlexiViT).

    Its answer to an enlarged patch is that of the old projection to the patch; for a smaller
    patch the nearest in least squares.

    Args:
        weight: ``[D, 3, p, p]``.

    Returns:
        ``[D, 3, patch, patch]``.
    """
    old = weight.shape[-1]
    if old == patch:
        return weight
    each = torch.eye(old * old).reshape(old * old, 1, old, old)
    resize = F.interpolate(each, size=(patch, patch), mode="bicubic", align_corners=False,
                           antialias=True).flatten(1)  # [old pixels, new pixels]
    inverse = torch.linalg.pinv(resize.double()).T.float()
    return (weight.float().flatten(2) @ inverse).unflatten(2, (patch, patch)).to(weight.dtype)
