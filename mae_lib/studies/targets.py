"""Zhang et al. (NeurIPS 2022) on real pictures: do two of them ever share what a mask hides?

No network and no training. Pictures are training pictures: it is these that an autoencoder sees.
Shared targets are counted among all of them. Nearest ones are looked for in ``PARTS`` disjoint
parts, each under masks of its own: the records of a part carry its number as their seed, so that
parts are to a verdict what training runs are elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from mae_lib.data.images import ImageSet, fingerprint
from mae_lib.evaluation.records import EvalRecord, to_value
from mae_lib.evaluation.relative_distance import (
    pair_means,
    ratio_under_one_mask,
    ratio_under_two_masks,
    relative_distance,
    zero_filled,
)
from mae_lib.evaluation.shared_targets import (
    ANOTHER,
    OWN,
    exact_sharing,
    hidden_patches,
    near_sharing,
    pair_count,
    shared_patches,
)
from mae_lib.evaluation.similarity import level
from mae_lib.models.masks import Grid, Mask, random_mask
from mae_lib.models.patches import patch_grid
from mae_lib.studies.sets import fingerprint_of_images, images_of, in_memory
from mae_lib.studies.settings import Setting
from mae_lib.studies.study import Study

PARTS = 5
SPREAD = 6  # standard deviations of a levelled picture that a byte spans
PAIRS, CHANCE = "pairs", "pairs of one class"
EVERYTHING, SINGLE, PIXELS = "all pictures", "single patches", "pixels"
HIDDEN, VISIBLE, LEVELLED = "targets", "views", "levelled targets"
TOLERANCE = 0.5  # of the mean distance, within which targets count as one
NEAREST, OF_ITS_CLASS = "nearest", "nearest is of its class"
NEAR_OWN, NEAR_ANOTHER = (f"{kind} within {TOLERANCE:g}" for kind in (OWN, ANOTHER))
ONE_MASK, TWO_MASKS = "pixels, one mask", "pixels, two masks"
DISTANCE, SQUARED, EXPECTED = "relative distance", "squared", "expected squared"
Values = Mapping[str, float]


def _targets(setting: Setting, if_stale: str, target_images: int, target_masks: int,
             ratios: tuple[float, ...]) -> dict:
    images = in_memory(images_of(setting, "train", target_images))
    if len(images) < 2 * PARTS:
        raise ValueError(f"target_images must be at least {2 * PARTS}, got {len(images)}")
    patch, count = setting.vit_patch, len(images)
    records = [_record(setting, SINGLE, count, name, float(items.mean()))
               for name, items in shared_patches(images, patch).items()]
    records.append(_record(setting, EVERYTHING, count, CHANCE, chance(images.labels)))
    for ratio in ratios:
        found = counted(images, ratio, target_masks, patch)
        records += [_record(setting, EVERYTHING, count, name, value, ratio)
                    for name, value in found.items()]
    for number, part in enumerate(parts(images)):
        for protocol, ratio, found in measured(part, ratios, target_masks, patch, number):
            records += [_record(setting, protocol, len(part), name, value, ratio, number)
                        for name, value in found.items()]
    return to_value(records)


def what(record: EvalRecord) -> str:
    """The protocol of a record without its ratio."""
    return record.protocol.partition(", ratio ")[0]


def counted(images: ImageSet, ratio: float, masks: int, patch: int) -> Values:
    """Pairs of pictures that share a target, of one class and of two, and all pairs, summed over
    masks."""
    hidden = hidden_patches(_grid(images, patch), ratio, masks)
    shared = exact_sharing(images, hidden, patch)
    return {**{name: float(shared[name].sum() / 2) for name in (OWN, ANOTHER)},
            PAIRS: float(masks * pair_count(images))}


def chance(labels: np.ndarray) -> float:
    """Share of all pairs of pictures that are of one class, ``labels [N]``."""
    counts = np.bincount(labels)
    return float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1)))


def parts(images: ImageSet) -> list[ImageSet]:
    """``PARTS`` disjoint sets of nearly the same size, drawn once and for all."""
    order = np.random.default_rng(0).permutation(len(images))
    return [images.subset(np.sort(some)) for some in np.array_split(order, PARTS)]


def measured(part: ImageSet, ratios: tuple[float, ...], masks: int, patch: int, seed: int
             ) -> Iterator[tuple[str, float | None, Values]]:
    """Protocol, ratio and numbers of one part: nearest targets, of levelled pictures too, nearest
    views, and the relative distance of pixels."""
    flat, grid = levelled(part), _grid(part, patch)
    means = pair_means(*_pixels(part))
    yield PIXELS, None, _distances(*_pixels(part))
    for ratio in ratios:
        hidden = hidden_patches(grid, ratio, masks, seed)
        yield HIDDEN, ratio, _nearest(part, hidden, patch)
        yield LEVELLED, ratio, _nearest(flat, hidden, patch)
        yield VISIBLE, ratio, _nearest(part, others(hidden, grid), patch)
        kept = 1 - hidden.shape[1] / (grid[0] * grid[1])
        for protocol, same, expected in (
                (ONE_MASK, True, ratio_under_one_mask(means)),
                (TWO_MASKS, False, ratio_under_two_masks(means, kept))):
            found = _masked_distances(part, ratio, patch, seed, same=same)
            yield protocol, ratio, {**found, EXPECTED: expected}


def levelled(images: ImageSet) -> ImageSet:
    """Pictures without their mean colour, all at one contrast, in bytes around 128; see
    :func:`mae_lib.evaluation.similarity.level`. What lies ``SPREAD`` / 2 standard deviations or
    more from the mean is cut off."""
    mean, std = (torch.tensor(numbers) for numbers in images.standardisation())
    x = level(images.batch(slice(None)), mean, std)
    z = (x - mean[:, None, None]) / std[:, None, None]
    pixels = (z / SPREAD + 0.5).clamp(0, 1).mul(255).round().byte().numpy()
    return replace(images, images=pixels, name=f"{images.name}, levelled",
                   fingerprint=fingerprint("levelled", images.fingerprint))


def others(patches: np.ndarray, grid: Grid) -> np.ndarray:
    """The patches ``[M, L - H]`` that are not among these, ``[M, H]``."""
    every = np.arange(grid[0] * grid[1])
    return np.stack([np.setdiff1d(every, row) for row in patches])


def _masked_distances(images: ImageSet, ratio: float, patch: int, seed: int, *, same: bool
                      ) -> Values:
    """Of pictures whose hidden pixels are 0, the mean colour, under one random mask for all or a
    mask for each."""
    grid, generator = _grid(images, patch), torch.Generator().manual_seed(seed)
    mask = random_mask(1 if same else len(images), grid, ratio, generator=generator)
    mask = Mask(*(indices.expand(len(images), -1) for indices in mask))
    pixels, labels = _pixels(images)
    whole = torch.from_numpy(pixels).reshape(images.images.shape)
    return _distances(zero_filled(whole, mask, patch), labels)


def _distances(pixels: np.ndarray, labels: np.ndarray) -> Values:
    return {DISTANCE: relative_distance(pixels, labels).ratio,
            SQUARED: relative_distance(pixels, labels, squared=True).ratio}


def _pixels(images: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """Standardised pixels ``[N, 3HW]``, and classes."""
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in images.standardisation())
    return ((images.batch(slice(None)) - mean) / std).flatten(1).numpy(), images.labels


def _grid(images: ImageSet, patch: int) -> Grid:
    return patch_grid(images.size, patch)


def _nearest(images: ImageSet, patches: np.ndarray, patch: int) -> Values:
    found = near_sharing(images, patches, patch, tolerances=(TOLERANCE,))
    return {name: float(items.mean()) for name, items in found.items()}


def _record(setting: Setting, protocol: str, count: int, metric: str, value: float,
            ratio: float | None = None, seed: int = 0) -> EvalRecord:
    about = {"preset": setting.preset} | ({} if ratio is None else {"ratio": ratio})
    name = protocol if ratio is None else f"{protocol}, ratio {ratio:g}"
    return EvalRecord(about, seed, setting.dataset, "train", name, metric, value, count)


def _fingerprints(setting: Setting, arguments: dict) -> dict[str, str]:
    return {"target": fingerprint_of_images(setting, "train", arguments["target_images"])}


TARGETS = Study("targets", _targets, (
    "mae_lib.evaluation.relative_distance", "mae_lib.evaluation.shared_targets",
    "mae_lib.evaluation.similarity"), fields=("dataset", "preset"), data=_fingerprints)
