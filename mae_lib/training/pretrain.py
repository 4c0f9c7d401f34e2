"""The pretraining loop: deterministic in its seed, resumable at any moment."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mae_lib.data.images import ImageSet, fingerprint
from mae_lib.models.masks import Mask
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.training.checkpoints import Progress, load_checkpoint, save_checkpoint
from mae_lib.training.interrupts import deferred_interrupt
from mae_lib.training.schedule import Recipe
from mae_lib.training.step import adamw, compile_step, pick_backend, training_device

Masks = Callable[[np.ndarray, torch.Generator], Mask]
CHECK_EVERY = 50  # steps between looks at the loss: each look waits for the device


class NonFiniteLoss(RuntimeError):
    """Loss or weights became NaN or infinite; the message names step and last good checkpoint."""


@dataclass(frozen=True)
class History:
    """Loss of every step ``[steps]``, and the seconds and images/s of this session."""

    losses: np.ndarray
    seconds: float
    images_per_second: float


def pretrain(method: MaskedAutoencoder, images: ImageSet, recipe: Recipe, *, seed: int = 0,
             masks: Masks | None = None, backend: str = "auto", device: torch.device | str = "cpu",
             checkpoint: str | Path | None = None, every_seconds: float = 60.0,
             progress: bool = True) -> History:
    """Train ``method`` in place.

    The order of the images is a function of (seed, epoch) and the masks of (seed, step), so a run
    that was killed and started again with the same ``checkpoint`` folder goes on as if nothing had
    happened: on the CPU it ends with the same bits. Ctrl-C lets the step finish and saves.

    Args:
        masks: ``(indices of images [B], generator) -> Mask``, for masks that depend on the images;
            the method's own sampler if None.
        checkpoint: folder for checkpoints, none are written if None.
        every_seconds: time between two checkpoints.
        progress: show a bar with loss, images/s and time left, in a terminal or a notebook.

    Raises:
        NonFiniteLoss: the loss, or a weight, is no longer a number.
        ValueError: images of another size, or a checkpoint of another run.
    """
    if images.size != method.encoder.size:
        raise ValueError(f"images must be {method.encoder.size[0]}x{method.encoder.size[1]} "
                         f"pixels for this encoder, got {images.size[0]}x{images.size[1]}")
    masks = masks or own_masks(method)
    backend = pick_backend(backend, device, recipe.steps)
    method.to(training_device(backend, device)).train()
    optimizer = adamw(method, recipe, backend)
    identity = {"config": method.config, "recipe": asdict(recipe), "seed": seed,
                "data": fingerprint(images.images.tobytes()), "backend": backend}
    run = _Run(method, optimizer, identity, checkpoint, every_seconds)
    step = compile_step(method, optimizer, backend, clip=recipe.clip)
    start, begun = run.step, time.perf_counter()
    with deferred_interrupt() as interrupted, \
            tqdm(total=recipe.steps * recipe.batch, initial=start * recipe.batch, unit="img",
                 unit_scale=True, disable=not (progress and _watched())) as bar:
        for i in range(start, recipe.steps):
            index = batch_index(len(images), recipe.batch, seed, i)
            mask = masks(index, mask_generator(seed, i))
            run.record(step(images.batch(index), mask, recipe.rate(i)))
            bar.update(recipe.batch)
            stop, last = interrupted(), i + 1 == recipe.steps
            if stop or last or (i + 1) % CHECK_EVERY == 0:
                bar.set_postfix(loss=f"{run.look():.4f}", refresh=False)
                run.save_if_due(now=stop or last)
            if stop:
                raise KeyboardInterrupt
    method.to("cpu").eval()
    seconds = time.perf_counter() - begun
    return History(run.losses.numpy(), seconds, (recipe.steps - start) * recipe.batch / seconds)


def own_masks(method: MaskedAutoencoder) -> Masks:
    """The sampler of a method, whatever the images."""
    return lambda index, generator: method.sample_mask(len(index), generator)


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


def _watched() -> bool:
    """Whether someone sees a progress bar: in a terminal or a notebook, not in a log file."""
    return "ipykernel" in sys.modules or sys.stderr.isatty()


class _Run:
    """Losses so far and when the last checkpoint was written."""

    def __init__(self, method, optimizer, identity, folder, every_seconds):
        self.method, self.optimizer, self.identity = method, optimizer, identity
        self.folder, self.every_seconds = folder, every_seconds
        found = load_checkpoint(folder, method, optimizer, identity) if folder else None
        self.step, self.losses = found or Progress(0, torch.empty(0))
        self.pending: list[torch.Tensor] = []
        self.saved_at, self.last_good = time.monotonic(), self.step if found else None

    def record(self, loss: torch.Tensor) -> None:
        self.pending.append(loss)

    def look(self) -> float:
        """Wait for the pending losses, keep them, and return their mean.

        One by one: on XLA stacking them would be one more graph to compile.
        """
        losses = torch.stack([loss.cpu() for loss in self.pending])
        if not losses.isfinite().all():
            first = int((~losses.isfinite()).nonzero()[0])
            self._fail(f"loss became {losses[first].item()}", self.step + first)
        self.losses = torch.cat([self.losses, losses])
        self.step += len(losses)
        self.pending = []
        return losses.mean().item()

    def save_if_due(self, *, now: bool) -> None:
        """Save if it is time; never weights that are not finite, though the loss still was."""
        if not (now or time.monotonic() - self.saved_at > self.every_seconds):
            return
        if not all(p.detach().cpu().isfinite().all() for p in self.method.parameters()):
            self._fail("weights became NaN or infinite", self.step - 1)
        if self.folder is not None:
            save_checkpoint(self.folder, self.method, self.optimizer,
                            Progress(self.step, self.losses), self.identity)
            self.last_good = self.step
        self.saved_at = time.monotonic()

    def _fail(self, what: str, step: int) -> None:
        kept = (f"the last good checkpoint is step {self.last_good} in {self.folder}"
                if self.last_good is not None else "there is no checkpoint")
        raise NonFiniteLoss(f"{what} at step {step}; {kept}; try a smaller lr or set clip")
