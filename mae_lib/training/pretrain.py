"""The pretraining loop: deterministic in its seed, resumable at any moment."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mae_lib.data.images import ImageSet, fingerprint
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.training.checkpoints import Progress, load_checkpoint, save_checkpoint
from mae_lib.training.distributed import local, shard, watching_peers, whole, world
from mae_lib.training.interrupts import deferred_interrupt
from mae_lib.training.schedule import Recipe
from mae_lib.training.step import (
    TrainStep,
    adamw,
    compile_step,
    device_count,
    grad_scaler,
    pick_backend,
    training_device,
)
from mae_lib.training.stream import Masks, Steps, batch_index, mask_generator, stream

__all__ = ["CHECK_EVERY", "History", "Masks", "NonFiniteLoss", "batch_index", "mask_generator",
           "own_masks", "pretrain"]
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
             progress: bool = True, micro: int | None = None, precision: str = "float32",
             sharded: bool = False, workers: int = 0) -> History:
    """Train ``method`` in place, in this process or together with all others of its job.

    The order of the images, their random views and the masks are functions of (seed, step), drawn
    for the global batch, of which each process takes its rows. So a run that was killed and started
    again with the same ``checkpoint`` folder goes on as if nothing had happened: on the CPU it ends
    with the same bits, and with another number of processes with the same losses but for rounding.
    Ctrl-C or SIGTERM, in any process, lets all finish the step and saves.

    Parts of a batch count by their number of images. A loss whose images weigh differently, as
    :func:`mae_lib.models.margins.margin_mse`, is near that of one process then, not the same.

    Args:
        images: or any set that :class:`mae_lib.training.stream.Steps` can show.
        masks: ``(indices of images [B], generator) -> Mask``, for masks that depend on the images;
            the method's own sampler if None.
        checkpoint: folder for checkpoints that all processes see, none are written if None.
        every_seconds: time between two checkpoints.
        progress: show a bar with loss, images/s and time left, in a terminal or a notebook.
        micro: images a device and forward pass at most; gradients of several passes add up.
        precision: see :func:`mae_lib.training.step.compile_step`.
        sharded: spread weights and moments over the processes, for a model that a device cannot
            hold (FSDP2); step by step then, not compiled.
        workers: processes that prepare images from files.

    Raises:
        NonFiniteLoss: the loss, or a weight, is no longer a number, in any process.
        ValueError: images of another size, a checkpoint of another run, or a batch that cannot be
            divided.
        PeerLost: another process of the job has ended.
    """
    if images.size != method.encoder.size:
        raise ValueError(f"images must be {method.encoder.size[0]}x{method.encoder.size[1]} "
                         f"pixels for this encoder, got {images.size[0]}x{images.size[1]}")
    sharded = sharded and world().size > 1
    backend = _backend(backend, device, recipe.steps, sharded)
    device = training_device(backend, device)
    rows, passes = world().split(recipe.batch, micro, device_count(backend))
    trained = shard(copy.deepcopy(method).to(device)) if sharded else method.to(device)
    optimizer, scaler = adamw(trained.train(), recipe, backend), grad_scaler(precision, device)
    run = _Run(trained, optimizer, _identity(method, images, recipe, seed, backend, precision),
               checkpoint, every_seconds, scaler)
    step = compile_step(trained, optimizer, backend, clip=recipe.clip, passes=passes,
                        precision=precision, scaler=scaler)
    start, begun = run.step, time.perf_counter()
    batches = stream(Steps(images, recipe.batch, seed, masks or own_masks(method), rows), start,
                     recipe.steps, workers=workers, device=device)
    with watching_peers(run.kept):
        _train(run, step, batches, recipe, progress)
    if sharded:
        method.load_state_dict({name: whole(w) for name, w in trained.state_dict().items()})
    method.to("cpu").eval()
    seconds = time.perf_counter() - begun
    return History(run.losses.numpy(), seconds, (recipe.steps - start) * recipe.batch / seconds)


def _train(run: _Run, step: TrainStep, batches: Iterator, recipe: Recipe, progress: bool) -> None:
    job, start = world(), run.step
    with deferred_interrupt() as interrupted, \
            tqdm(total=recipe.steps * recipe.batch, initial=start * recipe.batch, unit="img",
                 unit_scale=True, disable=not (progress and job.first and _watched())) as bar:
        for i, (pictures, mask) in enumerate(batches, start):
            run.record(step(pictures, mask, recipe.rate(i)))
            bar.update(recipe.batch)
            stop, last = job.any(interrupted()), i + 1 == recipe.steps
            if stop or last or (i + 1) % CHECK_EVERY == 0:
                bar.set_postfix(loss=f"{run.look():.4f}", refresh=False)
                run.save_if_due(now=stop or last)
            if stop:
                raise KeyboardInterrupt


def _backend(backend: str, device: torch.device | str, steps: int, sharded: bool) -> str:
    if not sharded:
        return pick_backend(backend, device, steps)
    if backend not in ("auto", "eager"):
        raise ValueError(f"backend must be 'eager' or 'auto' for a sharded model, got {backend!r}")
    return "eager"


def _identity(method, images, recipe: Recipe, seed: int, backend: str, precision: str) -> dict:
    """What makes a run this run; not how many processes and passes share it."""
    in_memory = isinstance(images, ImageSet)
    data = fingerprint(images.images.tobytes()) if in_memory else images.fingerprint
    mixed = {} if precision == "float32" else {"precision": precision}
    variant = getattr(method, "variant", "")
    other = {"method": [type(method).__name__, variant]} if variant else {}
    return {"config": method.config, "recipe": asdict(recipe), "seed": seed, "data": data,
            "backend": backend, **mixed, **other}


def own_masks(method: MaskedAutoencoder) -> Masks:
    """The sampler of a method, whatever the images."""
    return lambda index, generator: method.sample_mask(len(index), generator)


def _watched() -> bool:
    """Whether someone sees a progress bar: in a terminal or a notebook, not in a log file."""
    return "ipykernel" in sys.modules or sys.stderr.isatty()


class _Run:
    """Losses so far and when the last checkpoint was written."""

    def __init__(self, method, optimizer, identity, folder, every_seconds, scaler):
        self.method, self.optimizer, self.identity = method, optimizer, identity
        self.folder, self.every_seconds, self.scaler = folder, every_seconds, scaler
        found = load_checkpoint(folder, method, optimizer, identity) if folder else None
        self.step, self.losses, state = found or Progress(0, torch.empty(0))
        if state:
            scaler.load_state_dict(state)
        self.job, self.pending = world(), []
        self.saved_at, self.last_good = time.monotonic(), self.step if found else None
        if self.job.any(self.job.mean(torch.tensor(float(self.step))) != self.step):
            raise ValueError(f"checkpoint must be a folder that all processes see, got {folder}, "
                             f"where process {self.job.rank} finds step {self.step}")

    def record(self, loss: torch.Tensor) -> None:
        self.pending.append(loss)

    def look(self) -> float:
        """Wait for the pending losses, keep them, and return their mean.

        One by one: on XLA stacking them would be one more graph to compile.
        """
        losses = self.job.mean(torch.stack([loss.cpu() for loss in self.pending]))
        if not losses.isfinite().all():
            first = int((~losses.isfinite()).nonzero()[0])
            self._fail(f"loss became {losses[first].item()}", self.step + first)
        self.losses = torch.cat([self.losses, losses])
        self.step += len(losses)
        self.pending = []
        return losses.mean().item()

    def save_if_due(self, *, now: bool) -> None:
        """Save if it is time; never weights that are not finite, though the loss still was."""
        due = now or time.monotonic() - self.saved_at > self.every_seconds
        if not self.job.any(due):
            return
        finite = all(local(p.detach()).cpu().isfinite().all() for p in self.method.parameters())
        if self.job.any(not finite):
            self._fail("weights became NaN or infinite", self.step - 1)
        if self.folder is not None:
            save_checkpoint(self.folder, self.method, self.optimizer,
                            Progress(self.step, self.losses, self.scaler.state_dict()),
                            self.identity)
            self.last_good = self.step
        self.saved_at = time.monotonic()

    def kept(self) -> str:
        """What there is to go on from, in words."""
        if self.last_good is None:
            return "there is no checkpoint"
        return f"the last good checkpoint is step {self.last_good} in {self.folder}"

    def _fail(self, what: str, step: int) -> None:
        raise NonFiniteLoss(f"{what} at step {step}; {self.kept()}; try a smaller lr or set clip")
