"""The batches of a run, each a function of seed and step alone, from memory or from files.

One process sees its own rows of every global batch. Images that must be decoded are prepared ahead
by worker processes of PyTorch's ``DataLoader``; whichever does it, the numbers are the same.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from mae_lib.data.protocols import view_seeds
from mae_lib.models.masks import Mask
from mae_lib.training.distributed import world

Masks = Callable[[np.ndarray, torch.Generator], Mask]


@dataclass(frozen=True)
class Steps:
    """What one process sees of a run: ``steps[i]`` is images ``[b,3,H,W]`` and masks of step i.

    Images are float32 in [0, 1], or bytes where the set can give them: a quarter to pass on, which
    :func:`mae_lib.training.step.compile_step` makes floats of on the device.

    Args:
        images: a set with ``batch(index)``; if it has ``views(index, seeds)`` too, or the same as
            bytes, ``view_pixels(index, seeds)``, every image is seen in a random view of its own.
        batch: size of the global batch.
        masks: ``(indices [batch], generator) -> Mask``, drawn for the global batch; or any named
            tuple of tensors with a row an image, for a method that wants more than a mask.
        rows: of the global batch, this process's.
    """

    images: object
    batch: int
    seed: int
    masks: Masks
    rows: slice

    def __getitem__(self, step: int) -> tuple[Tensor, Mask]:
        index = batch_index(len(self.images), self.batch, self.seed, step)
        drawn = self.masks(index, mask_generator(self.seed, step))
        return (pictures(self.images, self.batch, self.seed, step, self.rows),
                drawn._make(part[self.rows] for part in drawn))

    def given(self, step: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Mask]:
        """The same with images that came in an order of their own, so that masks cannot ask for
        which they are."""
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        drawn = self.masks(places, mask_generator(self.seed, step))
        return images, drawn._make(part[self.rows] for part in drawn)


def pictures(images, batch: int, seed: int, step: int, rows: slice) -> Tensor:
    """Images ``[b,3,H,W]`` of some rows of a global batch, in random views if the set has any."""
    index = batch_index(len(images), batch, seed, step)[rows]
    views = getattr(images, "view_pixels", getattr(images, "views", None))
    return images.batch(index) if views is None else views(index,
                                                           view_seeds(seed, step, batch)[rows])


def floats(images: Tensor) -> Tensor:
    """Images as they are, or in [0, 1] where they come as bytes."""
    return images.float().div_(255.0) if images.dtype == torch.uint8 else images


def stream(steps, start: int, stop: int, *, workers: int = 0,
           device: torch.device | str = "cpu") -> Iterator[tuple]:
    """``steps[start]`` to ``steps[stop - 1]``, of :class:`Steps` or others that train on images.

    Images in memory are cut out when asked for. Files are decoded by ``workers`` processes, two
    steps ahead each, into pinned memory for a GPU. A set that cannot be read in any order offers
    ``parts(batch, seed, start=, rank=, world=, workers=)`` instead: an endless iterator over images
    and labels, the rows ``rank`` of ``world`` equal parts of each global batch.
    """
    order, images, here = range(start, stop), steps.images, world()
    if hasattr(images, "parts"):
        parts = images.parts(steps.batch, steps.seed, start=start, rank=here.rank, world=here.size,
                             workers=workers)
        return (steps.given(i, *part) for i, part in zip(order, parts, strict=False))
    if workers and hasattr(images, "views"):
        return _ahead(steps, order, workers, torch.device(device))
    return (steps[i] for i in order)


def _ahead(steps, order: range, workers: int, device: torch.device) -> Iterator[tuple]:
    """One item is one step, so that nothing is collated and workers need no seeds of their own.

    Forked, because masks may come from any function; workers compute on the CPU alone.
    """
    loader = torch.utils.data.DataLoader(
        _Answers(steps), batch_size=None, sampler=order, num_workers=workers,
        worker_init_fn=_leave_ctrl_c, pin_memory=device.type == "cuda",
        multiprocessing_context="fork")
    for answer in loader:
        if isinstance(answer, Exception):
            raise answer
        yield answer


class _Answers(torch.utils.data.Dataset):
    """Steps, or what was wrong with one: the loader would bury its sentence in a traceback."""

    def __init__(self, steps):
        self.steps = steps

    def __getitem__(self, i: int):
        try:
            return self.steps[i]
        except (OSError, RuntimeError, ValueError) as error:
            return error


def _leave_ctrl_c(_) -> None:
    """Ctrl-C reaches all processes of a terminal; the step that it lets finish needs its batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def batch_index(images: int, batch: int, seed: int, step: int) -> np.ndarray:
    """Which images step ``step`` sees: a slice of endless reshuffled passes over all of them."""
    places = np.arange(step * batch, (step + 1) * batch)
    first, last = places[0] // images, places[-1] // images
    orders = np.concatenate([_order(images, seed, int(e)) for e in range(first, last + 1)])
    return orders[places - first * images]


@lru_cache(maxsize=2)
def _order(images: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(images)


def mask_generator(seed: int, step: int) -> torch.Generator:
    """The source of the masks of one step.

    PyTorch's CPU generator keeps the low 32 bits of a seed only. Steps of seed 0 take the first of
    them; other seeds start at multiples of 2**32 over the golden ratio, far from each other.
    """
    return torch.Generator().manual_seed((seed * 0x9E3779B1 + step) % 2**32)
