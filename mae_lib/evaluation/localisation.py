"""How well attention finds the object of an image, against a mask that is known.

Head 0 of one model has nothing to do with head 0 of another, so what is compared between models
are means over the scores of all heads; the paper's own choices (the mean of the heads for the class
token, head 0 for an object token) are for pictures.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mae_lib.evaluation.attention import KEEP, mass_threshold, shares_of


def coverage(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Share of each cell that the object covers, ``[B,h,w]``, from boolean masks ``[B,H,W]``.

    Raises:
        ValueError: another shape or type; a grid that does not divide the pixels.
    """
    if masks.ndim != 3 or masks.dtype != torch.bool:
        raise ValueError(f"masks must be bool [B,H,W], got {masks.dtype} {list(masks.shape)}")
    height, width = masks.shape[1:]
    if height % grid[0] or width % grid[1]:
        raise ValueError(f"masks of {height}x{width} pixels must divide into the grid "
                         f"{grid[0]}x{grid[1]}")
    return F.avg_pool2d(masks[:, None].double(), (height // grid[0], width // grid[1]))[:, 0]


def why_not(masks: Tensor, grid: tuple[int, int], least: float = 0.02,
            most: float = 0.8) -> dict[str, Tensor]:
    """Images that no attention can be scored on, as ``{reason: bool [B]}``; each has one reason."""
    covered = coverage(masks, grid).flatten(1)
    share, cells = covered.mean(1), (covered >= 0.5).sum(1)
    found, left = {}, torch.ones(len(masks), dtype=torch.bool, device=masks.device)
    for reason, true in (("object too small", share < least), ("object too large", share > most),
                         ("no cell is mostly object", cells == 0),
                         ("every cell is mostly object", cells == covered.shape[1]),
                         ("object in one cell", (covered > 0).sum(1) < 2)):
        found[reason] = true & left
        left = left & ~true
    return found


def central_token(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """The patch whose centre is nearest to the object's centroid, ``[B]`` in 0..N-1.

    The paper picked tokens by hand; this one can be had again.

    Raises:
        ValueError: as :func:`coverage`; an empty mask.
    """
    if not coverage(masks, grid).flatten(1).any(1).all():
        raise ValueError("masks must hold an object each, got an empty one")
    row, column = (_centre(masks.sum(other)) for other in (2, 1))
    return (row * grid[0]).long() * grid[1] + (column * grid[1]).long()


def attention_scores(a: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """How well attention finds the object; a cell is object if the mask covers half of it.

    ``mass`` on the object and ``background``; ``lift``: mass over the object's share of the area;
    ``pointing``: is the strongest cell object; ``auroc`` of object cells; ``iou60``, ``recall60``:
    the cells with 60 % of the mass against the object's; ``entropy`` over log N; ``largest`` cell,
    and ``lift_without_largest``, the lift over all other cells (one cell may be a mere sink).
    Even attention has lift 1, auroc .5, entropy 1.

    Args:
        a: maps ``[B,h,w]`` or ``[B,...,h,w]`` (heads, tokens), of any sum.
        masks: where the object is, bool ``[B,H,W]``.

    Returns:
        Each score ``[B,...]``, float64.

    Raises:
        ValueError: maps that are negative or all 0; shapes that do not fit; masks that
            :func:`why_not` has a reason against (of any size but empty or full).
    """
    grid = tuple(a.shape[-2:])
    if a.ndim < 3 or len(a) != len(masks):
        raise ValueError(f"a must have shape [B,...,h,w] with one mask a B, "
                         f"got {list(a.shape)} and {len(masks)} masks")
    for reason, found in why_not(masks, grid, least=0, most=1).items():
        if found.any():
            raise ValueError(f"masks must leave something to score, got {reason} in "
                             f"{int(found.sum())} of {len(masks)} images")
    shares = shares_of(a)
    covered = _like(coverage(masks, grid).flatten(1), shares)
    return {**_masses(shares, covered), **_cells(shares, covered >= 0.5)}


def _centre(weight: Tensor) -> Tensor:
    """Centre of mass of ``[B,n]`` pixels along a side of length 1, ``[B]``."""
    places = torch.arange(weight.shape[1], device=weight.device) + 0.5
    return (weight * places).sum(1) / weight.sum(1) / weight.shape[1]


def _masses(shares: Tensor, covered: Tensor) -> dict[str, Tensor]:
    mass, area = (shares * covered).sum(-1), covered.mean(-1)
    largest, top = shares.max(-1)
    top_covered = covered.gather(-1, top[..., None])[..., 0]
    rest = (mass - largest * top_covered) / (1 - largest).clamp(min=1e-12)
    rest_area = (covered.sum(-1) - top_covered) / (covered.shape[-1] - 1)
    entropy = -torch.xlogy(shares, shares).sum(-1) / math.log(shares.shape[-1])
    return {"mass": mass, "background": 1 - mass, "lift": mass / area, "entropy": entropy,
            "largest": largest, "lift_without_largest": rest / rest_area}


def _cells(shares: Tensor, thing: Tensor) -> dict[str, Tensor]:
    kept = mass_threshold(shares[..., None, :], KEEP)[..., 0, :]
    both = (kept & thing).sum(-1)
    return {"pointing": thing.gather(-1, shares.argmax(-1, keepdim=True))[..., 0].double(),
            "auroc": _auroc(shares, thing), "iou60": both / (kept | thing).sum(-1).double(),
            "recall60": both / thing.sum(-1).double()}


def _auroc(scores: Tensor, positive: Tensor) -> Tensor:
    """Mann and Whitney: mean ranks, ties shared, of the positive cells."""
    ascending = scores.sort(dim=-1).values
    below, upto = (torch.searchsorted(ascending, scores, right=r) for r in (False, True))
    ranks, count = (below + upto + 1) / 2.0, positive.sum(-1).double()
    wins = (ranks * positive).sum(-1) - count * (count + 1) / 2
    return wins / (count * (positive.shape[-1] - count))


def _like(x: Tensor, shares: Tensor) -> Tensor:
    """``[B,N]`` repeated to the shape of ``[B,...,N]``."""
    return x.view(len(x), *[1] * (shares.ndim - 2), -1).expand(shares.shape)
