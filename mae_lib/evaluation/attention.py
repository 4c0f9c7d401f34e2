"""Where a frozen encoder looks: its attention as matrices, as maps, and as a distance.

Kong et al. 2023, figures 6 and 7 and appendix C.4, after Caron et al. 2021 (DINO): whole images in
their natural order, no masking, usually the last block. Whether a map finds the object is scored
in :mod:`mae_lib.evaluation.localisation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from mae_lib.data.images import check_images

Head = int | Literal["mean", "all"]
TOLERANCE = 1e-4  # of the sums of rows
KEEP = 0.6  # DINO's share of the mass


@torch.no_grad()
def attention_maps(encoder, images: Tensor, blocks: Sequence[int] = (-1,)) -> dict[int, Tensor]:
    """Attention matrices ``{block: [B, heads, T, T]}``, T the class token, if any, and N patches.

    Args:
        images: float ``[B,3,H,W]`` in [0, 1].
        blocks: which; negative numbers count from the last.

    Raises:
        TypeError, ValueError: images as in :func:`check_images`; a block that is not there.
    """
    check_images(images)
    for block in blocks:
        if not -encoder.depth <= block < encoder.depth:
            raise ValueError(f"blocks must lie in {-encoder.depth}..{encoder.depth - 1}, "
                             f"got {block}")
    places = [block % encoder.depth for block in blocks]
    found = encoder(images.to(encoder.mean.device), attention=places).attention
    return {block: found[place].to(images.device)
            for block, place in zip(blocks, places, strict=True)}


def cls_map(A: Tensor, grid: tuple[int, int], head: Head = "mean") -> Tensor:
    """Attention of the class token to the patches, ``[B,h,w]`` (``[B,heads,h,w]`` for all heads).

    Maps are rows of ``A`` as they are: without the class token's column they sum to less than one.

    Raises:
        ValueError: ``A`` is no attention over ``grid``; it has no class token; no such head.
    """
    if _prefix(A, grid) == 0:
        raise ValueError("A must have a class token, got patches only")
    return _heads(A[:, :, 0, 1:], head).unflatten(-1, grid)


def token_map(A: Tensor, token: Tensor, grid: tuple[int, int], head: Head = 0) -> Tensor:
    """Attention of one patch an image, ``token [B]`` in 0..N-1, shaped as in :func:`cls_map`.

    Raises:
        ValueError: as :func:`cls_map`; a token outside the grid, or not one an image.
    """
    patches = grid[0] * grid[1]
    if token.shape != A.shape[:1] or token.min() < 0 or token.max() >= patches:
        raise ValueError(f"token must hold {len(A)} numbers in 0..{patches - 1}, "
                         f"got {token.tolist()}")
    maps = token_maps(A, grid, head)
    index = torch.arange(len(A), device=A.device)
    return maps[index, token] if maps.ndim == 4 else maps[index, :, token]


def token_maps(A: Tensor, grid: tuple[int, int], head: Head = "all") -> Tensor:
    """Attention of every patch: ``[B,N,h,w]``, or ``[B,heads,N,h,w]`` for all heads."""
    prefix = _prefix(A, grid)
    return _heads(A[:, :, prefix:, prefix:], head).unflatten(-1, grid)


def mean_map(A: Tensor, grid: tuple[int, int], head: Head = "mean") -> Tensor:
    """Mean attention of all patches, shaped as in :func:`cls_map`.

    MAE never asks anything of the class token, so its map needs this one beside it.
    """
    return token_maps(A, grid, head).mean(-3)


def shares_of(a: Tensor) -> Tensor:
    """Maps ``[...,h,w]`` as float64 ``[...,N]`` that sum to one.

    Raises:
        ValueError: a map that is negative, not finite or all 0.
    """
    flat = a.flatten(-2).double()
    total = flat.sum(-1, keepdim=True)
    if not (flat >= 0).all() or not (total > 0).all() or not total.isfinite().all():
        raise ValueError("a must hold finite attention, none of it negative and no map all 0, "
                         f"got values from {flat.min():.4g} to {flat.max():.4g}")
    return flat / total


def mass_threshold(a: Tensor, keep: float = KEEP) -> Tensor:
    """The fewest cells of ``a [...,h,w]`` that together hold a share ``keep`` of it, as booleans.

    Raises:
        ValueError: ``keep`` outside (0, 1]; maps as in :func:`shares_of`.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep must lie in (0, 1], got {keep}")
    ascending, order = shares_of(a).sort(dim=-1, stable=True)
    kept = ascending.cumsum(-1) > 1 - keep
    return torch.empty_like(kept).scatter_(-1, order, kept).view(a.shape)


def attention_distance(A: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """Mean distance from a patch to where it looks, ``[B, heads]`` in pixels.

    Attention to the class token is left out and the rest sums to one again. Even attention over a
    square grid comes to .50 to .52 of the side.
    """
    prefix = _prefix(A, grid)
    rows, columns = torch.meshgrid(*(torch.arange(n, device=A.device) for n in grid), indexing="ij")
    places = patch * torch.stack([rows, columns], -1).flatten(0, 1).to(A)
    apart = torch.linalg.vector_norm(places[:, None] - places, dim=-1)
    shares = A[:, :, prefix:, prefix:]
    return (shares * apart).sum(-1).div(shares.sum(-1)).mean(-1)


def _heads(rows: Tensor, head: Head) -> Tensor:
    if head == "all":
        return rows
    if head == "mean":
        return rows.mean(1)
    if not isinstance(head, int) or not 0 <= head < rows.shape[1]:
        raise ValueError(f"head must be 'mean', 'all' or lie in 0..{rows.shape[1] - 1}, "
                         f"got {head!r}")
    return rows[:, head]


def _prefix(A: Tensor, grid: tuple[int, int]) -> int:
    """Number of tokens before the patches, 0 or 1; checks that ``A`` is attention over them."""
    prefix = A.shape[-1] - grid[0] * grid[1]
    if A.ndim != 4 or A.shape[2] != A.shape[3] or prefix not in (0, 1):
        raise ValueError(f"A must have shape [B,heads,T,T], T the {grid[0]}x{grid[1]} patches and "
                         f"at most a class token, got {list(A.shape)}")
    worst = (A.sum(-1) - 1).abs().max().item()
    if not worst <= TOLERANCE:
        raise ValueError(f"A must have rows that sum to 1, got one off by {worst:.4g}")
    return prefix
