"""How well are small objects drawn? Errors on what moves in a frame, by the size of what moves.

The claim is S-21, that a masked autoencoder misses small objects that are hidden as a whole. An
object is a connected set of pixels unlike the background (:mod:`mae_lib.data.atari.motion`). Its
error stands over that of the still pixels, so that it says how much harder an object is than the
rest of the same frames. Two causes are told apart: no token that is left saw the pixel, or one did
and the model drew something else all the same, as a loss over all pixels, of which a small object
has few, may have it (methods.md, section 6.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mae_lib.data.atari.motion import Components, background, components, moving
from mae_lib.data.images import ImageSet
from mae_lib.evaluation.pixels import grid_of
from mae_lib.evaluation.reconstruction import (
    hidden_pixels,
    reconstruct_masked,
    reconstruct_unmasked,
)
from mae_lib.evaluation.records import EvalRecord, not_tested, records_of
from mae_lib.models.masks import Mask, random_mask
from mae_lib.models.worlds.stem import sight

BATCH = 128
EDGES = tuple(2**k for k in range(11))  # pixels; the last bin holds all from 1024 on
CAUSES = {"": None, ", unseen": True, ", seen by a token": False}


def unseen_pixels(mask: Mask, grid: tuple[int, int], patch: int, *, stem: bool) -> Tensor:
    """Pixels that no visible token was computed from, bool ``[B, H, W]``.

    Args:
        stem: tokens are a stem's, which sees beyond its cell; else those of patches.
    """
    rows, cols = (sight(count, patch, stem=stem).to(mask.visible.device).float() for count in grid)
    shown = (1 - mask.binary()).unflatten(1, grid)
    return rows.T @ shown @ cols == 0


def object_errors(errors: np.ndarray, region: np.ndarray, found: Components) -> np.ndarray:
    """Mean error of the pixels of each object that lie in a region, NaN without any: ``[K]``.

    Args:
        errors: of every pixel, ``[N, H, W]``.
        region: bool ``[N, H, W]``.
        found: the objects.
    """
    first = np.searchsorted(found.frame, np.arange(len(errors)))[:, None, None]
    inside = region & (found.labels > 0)
    number = (first + found.labels - 1)[inside]
    total = np.bincount(number, errors[inside], minlength=len(found.area))
    count = np.bincount(number, minlength=len(found.area))
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def bin_names(edges: Sequence[int]) -> list[str]:
    """``"1 px"``, ``"2 to 3 px"`` and so on; the last bin is open.

    Raises:
        ValueError: edges that are not whole numbers from 1 on, each larger than the one before.
    """
    whole = all(isinstance(edge, int | np.integer) for edge in edges)
    if not len(edges) or not whole or edges[0] < 1 or (np.diff(edges) <= 0).any():
        raise ValueError("edges must be integers that rise, the first at least 1, "
                         f"got {list(edges)}")
    closed = [f"{low} px" if high == low + 1 else f"{low} to {high - 1} px"
              for low, high in zip(edges[:-1], edges[1:], strict=True)]
    return [*closed, f"{edges[-1]} px or more"]


def small_object_records(model, images: ImageSet, *, setting: dict, seed: int, split: str,
                         ratio: float = 0.75, edges: Sequence[int] = EDGES, threshold: int = 0,
                         behind: np.ndarray | None = None, mask_seed: int = 0) -> list[EvalRecord]:
    """Records of one model; one item an object with a pixel that is scored.

    What is scored are pixels of hidden cells of the grid, of patches and of features alike, so
    that the items of two models with one grid are the same objects under the same masks; with ratio
    0 every pixel, with nothing hidden. Protocol is ``"hidden cells, ratio 0.75"`` or ``"nothing
    hidden"``. Metrics, for each bin of areas:

    - ``"object error over background error, <bin>"``: mean squared error of the object's pixels,
      channels added up, over that of all still pixels of all frames;
    - the same with ``", unseen"``, pixels that no visible token saw, and ``", seen by a token"``,
      the others, both over the one background error; of patches all hidden pixels are unseen;
    - ``"object error over that of leaving it out, <bin>"``: the same error over that of the
      background at these pixels. 1 is an object that is missing, whatever its contrast; faint ones
      may lie far above, for which there is ``threshold``;
    - ``"share of its pixels unseen, <bin>"`` and ``"share of the frame, <bin>"``, its weight in a
      loss over all pixels; of all objects.

    A pixel is one that a stem sees if ``model.config["stem"]``. With a normalised target mean and
    spread of the original patches leak in.

    Args:
        edges: smallest area of each bin, in pixels; objects below the first are left out.
        threshold, behind: see :func:`mae_lib.data.atari.motion.moving`.

    Raises:
        ValueError: edges that do not rise; frames in which nothing stands still or all of it is
            drawn without error; a ratio that cannot be met.
    """
    names = bin_names(edges)
    behind = background(images.images) if behind is None else behind
    moves = moving(images.images, behind, threshold)
    found, (errors, region, unseen) = components(moves), _measure(model, images, ratio, mask_seed)
    ratios = _ratios(errors, region, unseen, moves, found)
    blank = np.square(images.images / 255.0 - behind / 255.0).sum(1)
    ratios["object error over that of leaving it out, {}"] = (
        object_errors(errors, region, found) / object_errors(blank, region, found))
    protocol = f"hidden cells, ratio {ratio:g}" if ratio else "nothing hidden"
    about = {"setting": setting, "seed": seed, "dataset": images.name, "split": split,
             "protocol": protocol}
    return _binned(ratios, found.area, edges, names, about)


def _measure(model, images: ImageSet, ratio: float, mask_seed: int) -> tuple[np.ndarray, ...]:
    """Squared errors, where they count, and which pixels no token sees, all ``[N, H, W]``."""
    generator, parts = torch.Generator().manual_seed(mask_seed), []
    for i in range(0, len(images), BATCH):
        x = images.batch(slice(i, i + BATCH))
        grid, patch = grid_of(x, model), model.config["patch"]
        if ratio:
            mask = random_mask(len(x), grid, ratio, generator=generator)
            drawn = reconstruct_masked(model, x, mask, paste=False).pixels
            region = hidden_pixels(mask, grid, patch)[:, 0]
            unseen = unseen_pixels(mask, grid, patch, stem=model.config.get("stem", False))
        else:
            drawn = reconstruct_unmasked(model, x).pixels
            region = torch.ones(x[:, 0].shape, dtype=torch.bool)
            unseen = ~region
        parts.append(((drawn - x).square().sum(1).double(), region, unseen))
    return tuple(torch.cat(part).numpy() for part in zip(*parts, strict=True))


def _ratios(errors: np.ndarray, region: np.ndarray, unseen: np.ndarray, moves: np.ndarray,
            found: Components) -> dict[str, np.ndarray]:
    """``{metric of a bin: value of each object [K], NaN without a pixel}``."""
    still = errors[region & ~moves]
    if not still.sum():
        raise ValueError("images must hold still pixels that are drawn with an error, "
                         f"got {len(still)} still pixels and no error")
    whole = np.ones_like(region)
    ratios = {"share of its pixels unseen, {}": object_errors(unseen, whole, found),
              "share of the frame, {}": found.area / region[0].size}
    for name, cause in CAUSES.items():
        pixels = region if cause is None else region & (unseen == cause)
        ratios[f"object error over background error, {{}}{name}"] = (
            object_errors(errors, pixels, found) / still.mean())
    return ratios


def _binned(ratios: dict[str, np.ndarray], area: np.ndarray, edges: Sequence[int],
            names: list[str], about: dict) -> list[EvalRecord]:
    place, found = np.searchsorted(edges, area, side="right") - 1, []
    for k, name in enumerate(names):
        for title, values in ratios.items():
            items, metric = values[(place == k) & ~np.isnan(values)], title.format(name)
            found += (records_of({metric: items}, **about) if len(items) else
                      [not_tested(f"no object of {name} has such a pixel", metric=metric, **about)])
    return found
