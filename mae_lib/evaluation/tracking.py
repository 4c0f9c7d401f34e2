"""Scores of labels that were followed through a clip, against masks that are known.

Masks are scored as in DAVIS: J, intersection over union, and F, the agreement of contours; points
as in JHMDB: PCK, the share that is near enough. Marks are those of
:class:`mae_lib.data.menagerie.Clips`: 0, or 1 + part + 8 * object.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mae_lib.data.menagerie.tables import PARTS

ALPHAS = (0.1, 0.2)
BOX = 0.6  # of a box's diagonal: JHMDB's unit of length
PEAK = 5  # cells that locate a point, as in the public code for JHMDB
TOLERANCE = 0.008  # of the image's diagonal: DAVIS's tolerance for contours


def tracking_scores(soft: Tensor, marks: Tensor, grid: tuple[int, int]) -> dict[str, Tensor]:
    """Scores of clips, each ``[B]``, the mean over all frames but the first; NaN for a clip in
    which there is nothing to score.

    ``j``, ``f`` and their mean ``j&f`` of the objects that show in the first frame; ``pck@0.1``
    and ``pck@0.2`` of the centroids of their parts, where these show then and now: the share of
    them that is found within so much of ``BOX`` of the diagonal of the object's box.

    Args:
        soft: labels ``[B, T, L, K]`` of the cells of every frame, one for each mark.
        marks: ``[B, T, H, W]``, below K.
    """
    size = tuple(marks.shape[-2:])
    return {**_mask_scores(soft, marks, grid, size), **_point_scores(soft, marks, grid, size)}


def mark_count(marks: Tensor) -> int:
    """How many marks there are if none of an object's parts is left out, at least one object's."""
    return 1 + PARTS * max(int(_objects_of(marks).max()), 1)


def label_map(soft: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The strongest label of each pixel, int64 ``[..., H, W]``, of soft labels ``[..., L, K]``:
    labels are interpolated between the centres of cells first."""
    planes = soft.transpose(-1, -2).unflatten(-1, grid)
    full = F.interpolate(planes.flatten(0, -4), size, mode="bilinear", align_corners=False)
    return full.argmax(1).unflatten(0, soft.shape[:-2])


def region_similarity(found: Tensor, truth: Tensor) -> Tensor:
    """DAVIS's J ``[...]``: intersection over union of masks, bool ``[..., H, W]``; 1 if both are
    empty."""
    both, either = (found & truth).sum((-2, -1)), (found | truth).sum((-2, -1))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def contour_accuracy(found: Tensor, truth: Tensor) -> Tensor:
    """DAVIS's F ``[...]``: the harmonic mean of the shares of either mask's contour that come near
    the other's, of masks, bool ``[..., H, W]``; 1 if both are without contour, 0 if one is.

    Near is within ``TOLERANCE`` of the image's diagonal, rounded up to whole pixels.
    """
    reach = math.ceil(TOLERANCE * math.hypot(*truth.shape[-2:]))
    one, other = _contour(found), _contour(truth)
    precision = _share(one, _dilated(other, reach))
    recall = _share(other, _dilated(one, reach))
    lines = one.flatten(-2).any(-1) | other.flatten(-2).any(-1)
    mean = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return torch.where(lines, mean, 1.0)


def centroids(weights: Tensor) -> Tensor:
    """Row and column of the centre of mass ``[..., 2]`` of weights ``[..., H, W]``, where the
    middle of the first pixel is 0, 0; NaN where all weights are 0."""
    height, width = weights.shape[-2:]
    rows, cols = (torch.arange(n, device=weights.device, dtype=torch.float32)
                  for n in (height, width))
    sums = torch.stack([weights.sum(-1) @ rows, weights.sum(-2) @ cols], dim=-1)
    return sums / weights.sum((-2, -1))[..., None]


def located(soft: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Where the points are, ``[..., K, 2]`` as in :func:`centroids` in pixels, of soft labels
    ``[..., L, K]``: the mean of the ``PEAK`` strongest cells of each, weighted by its strength."""
    strength = soft.transpose(-1, -2)
    weight, index = strength.topk(min(PEAK, strength.shape[-1]), dim=-1)
    cells = torch.zeros_like(strength).scatter(-1, index, weight).unflatten(-1, grid)
    scale = torch.tensor([size[0] / grid[0], size[1] / grid[1]], device=soft.device)
    return (centroids(cells) + 0.5) * scale - 0.5


def _mask_scores(soft: Tensor, marks: Tensor, grid: tuple[int, int],
                 size: tuple[int, int]) -> dict[str, Tensor]:
    nothing, things = soft[..., :1], soft[..., 1:].unflatten(-1, (-1, PARTS)).sum(-1)
    objects = things.shape[-1]
    found = label_map(torch.cat([nothing, things], dim=-1), grid, size)[:, 1:]
    number = 1 + torch.arange(objects)[:, None, None, None]
    found, truth = found[:, None] == number, _objects_of(marks)[:, None] == number
    there = truth[:, :, 0].flatten(2).any(2)  # [B, objects], in the first frame
    j, f = (score(found, truth[:, :, 1:]).mean(2) for score in (region_similarity,
                                                               contour_accuracy))
    scores = {"j": j, "f": f, "j&f": (j + f) / 2}
    return {name: _mean_where(score, there) for name, score in scores.items()}


def _point_scores(soft: Tensor, marks: Tensor, grid: tuple[int, int],
                  size: tuple[int, int]) -> dict[str, Tensor]:
    planes = F.one_hot(marks.long(), soft.shape[-1])[..., 1:].movedim(-1, 2).float()
    truth = centroids(planes[:, 1:])  # [B, T - 1, points, 2]
    away = (located(soft[:, 1:, :, 1:], grid, size) - truth).norm(dim=-1).nan_to_num(math.inf)
    showing = planes.flatten(3).any(3)
    scored = (showing[:, :1] & showing[:, 1:]).flatten(1)
    unit = BOX * _diagonals(planes[:, 1:]).repeat_interleave(PARTS, dim=2)
    return {f"pck@{alpha:g}": _mean_where((away <= alpha * unit).float().flatten(1), scored)
            for alpha in ALPHAS}


def _diagonals(planes: Tensor) -> Tensor:
    """Diagonal of the box of each object ``[..., objects]``, of its parts ``[..., parts, H, W]``;
    0 without any."""
    shown = planes.unflatten(-3, (-1, PARTS)).any(-3)
    sides = []
    for other in (-1, -2):
        line = shown.any(other).float()
        places = torch.arange(line.shape[-1], dtype=torch.float32)
        last = torch.where(line > 0, places, -math.inf).amax(-1)
        first = torch.where(line > 0, places, math.inf).amin(-1)
        sides.append((last - first + 1).clamp(min=0))
    return torch.hypot(*sides)


def _objects_of(marks: Tensor) -> Tensor:
    """1 + number of the object behind each mark, 0 where there is none."""
    return torch.where(marks > 0, (marks.long() - 1) // PARTS + 1, 0)


def _mean_where(values: Tensor, true: Tensor) -> Tensor:
    """Mean over the last dimension where ``true``; NaN where it never is."""
    return torch.where(true, values, 0.0).sum(-1) / true.sum(-1)


def _contour(masks: Tensor) -> Tensor:
    """Pixels that differ from the next in the row, in the column or in both, as in DAVIS's code."""
    height, width = masks.shape[-2:]
    flat = masks.reshape(-1, 1, height, width).float()
    padded = F.pad(flat, (0, 1, 0, 1), mode="replicate")
    here, right, below, both = (padded[:, 0, i:i + height, j:j + width]
                                for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    return ((here != right) | (here != below) | (here != both)).reshape(masks.shape)


def _dilated(lines: Tensor, reach: int) -> Tensor:
    """Pixels within ``reach`` of a pixel of ``lines``, bool ``[..., H, W]``."""
    away = torch.arange(-reach, reach + 1, device=lines.device)
    disk = (away[:, None] ** 2 + away**2 <= reach**2).float()
    flat = lines.reshape(-1, 1, *lines.shape[-2:]).float()
    counts = F.conv2d(flat, disk[None, None], padding=reach)
    return (counts > 0.5).reshape(lines.shape)


def _share(lines: Tensor, area: Tensor) -> Tensor:
    """Share of the pixels of ``lines`` that lie in ``area``; 0 without pixels."""
    return (lines & area).sum((-2, -1)) / lines.sum((-2, -1)).clamp(min=1)
