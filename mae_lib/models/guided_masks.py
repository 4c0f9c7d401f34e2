"""Masks that follow a given grouping of the patches (Kong et al. 2023, section 3.6).

By the theory, a mask that hides groups as a whole leaves only what stands above them to be shared
with the visible part, and one that hides a share of every group makes the groups themselves shared.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mae_lib.models.masks import Mask, mask_from_binary, mask_from_order, visible_count

POLICIES = ("random", "whole", "split", "anti", "shuffled")


def guided_mask(groups: Tensor, ratio: float, policy: str, *, parents: Tensor | None = None,
                generator: torch.Generator | None = None) -> Mask:
    """One mask an image; all hide the same number of patches.

    Args:
        groups: integer ids ``[B, L]``, from 0, of the low-level group of each patch.
        ratio: share of patches to hide.
        policy: ``"whole"`` hides whole groups in random order, the last one in part; ``"split"``
            does so but spares one group of every high-level group, whose patches are hidden at
            random once all others are; ``"anti"`` hides the same share of every group, to the patch
            below or above. Controls: ``"random"`` does not look at the groups, ``"shuffled"`` is
            ``"whole"`` with the groups of the next image of the batch.
        parents: integer ids ``[B, L]`` of the high-level groups, for ``"split"``; a low-level group
            lies in one of them.

    Raises:
        TypeError: groups that are no integers.
        ValueError: unknown policy, ratio that cannot be met, ``"split"`` without parents, shapes
            that differ, negative ids.
    """
    groups = _ids("groups", groups)
    batch, patches = groups.shape
    visible = visible_count(patches, ratio)
    if policy == "anti":
        return _anti(groups, patches - visible, generator)
    if policy in ("whole", "shuffled"):
        late = _places(groups if policy == "whole" else groups.roll(-1, 0), generator)
    elif policy == "split":
        late = _split(groups, _parents(parents, groups), generator)
    elif policy == "random":
        late = torch.zeros(batch, patches)
    else:
        raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {policy!r}")
    late = late + torch.rand(batch, patches, generator=generator)  # in any order inside a group
    return mask_from_order(late.argsort(1, descending=True), visible)


def _places(groups: Tensor, generator) -> Tensor:
    """Place ``[B, L]`` of each patch's group in a random order of the groups of its image."""
    return _order(groups, generator).gather(1, groups)


def _order(groups: Tensor, generator) -> Tensor:
    """A random order of all group ids, another one for each image: places ``[B, G]``."""
    count = int(groups.max()) + 1
    return torch.rand(len(groups), count, generator=generator).argsort(1).argsort(1)


def _split(groups: Tensor, parents: Tensor, generator) -> Tensor:
    """As :func:`_places`, but the last group of every high-level group comes after all others."""
    order = _order(groups, generator)
    place, count = order.gather(1, groups), order.shape[1]
    last = torch.full((len(groups), int(parents.max()) + 1), -1)
    last = last.scatter_reduce(1, parents, place, "amax")
    return torch.where(place == last.gather(1, parents), count, place)


def _anti(groups: Tensor, hidden: int, generator) -> Mask:
    """Systematic sampling: ``hidden`` evenly spaced places, of patches lined up group by group."""
    batch, patches = groups.shape
    inside = torch.rand(batch, patches, generator=generator)
    line = (_places(groups, generator) + inside).argsort(1)
    start = torch.randint(patches, (batch, 1), generator=generator)
    steps = (torch.arange(patches + 1) * hidden + start) // patches
    return mask_from_binary(torch.zeros_like(line).scatter(1, line, steps.diff(dim=1)))


def _ids(name: str, ids: Tensor) -> Tensor:
    ids = torch.as_tensor(ids)
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise TypeError(f"{name} must be integers, got {ids.dtype}")
    if ids.ndim != 2 or ids.numel() == 0 or ids.min() < 0:
        raise ValueError(f"{name} must be ids [B, L] from 0, got shape {list(ids.shape)}"
                         + (f" with {ids.min()}" if ids.numel() else ""))
    return ids.long()


def _parents(parents: Tensor | None, groups: Tensor) -> Tensor:
    if parents is None:
        raise ValueError("parents must be given for policy 'split', got None")
    parents = _ids("parents", parents)
    if parents.shape != groups.shape:
        raise ValueError(f"parents must have the shape of groups {list(groups.shape)}, "
                         f"got {list(parents.shape)}")
    return parents
