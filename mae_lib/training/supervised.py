"""Training a classifier on labelled images: one loop, for scratch and for fine-tuning alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from mae_lib.data.images import ImageSet
from mae_lib.training.distributed import replicated, watching_peers, world
from mae_lib.training.pretrain import CHECK_EVERY, NonFiniteLoss, _watched
from mae_lib.training.schedule import Recipe, parameter_groups
from mae_lib.training.stream import batch_index, floats, mask_generator, pictures, stream

Augmentation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


def fit_classifier(model: nn.Module, train: ImageSet, *, epochs: int, lr: float, batch: int = 128,
                   seed: int = 0, weight_decay: float = 0.05, warmup: float = 0.05,
                   min_lr: float = 0.0, groups: Sequence[dict] | None = None,
                   augment: Augmentation | None = None, smoothing: float = 0.0,
                   clip: float | None = None, device: torch.device | str = "cpu",
                   progress: bool = True, workers: int = 0) -> np.ndarray:
    """Train ``model`` in place with AdamW, warm-up and half a cosine; it ends in eval mode.

    Same model, images, arguments and number of threads, same weights: order, augmentation and
    dropout are functions of ``seed``, and the global generators are left as they were. The
    processes of a job share every batch; dropout alone then differs from that of one process.

    Args:
        model: images float32 ``[B,3,H,W]`` in [0, 1] to logits ``[B, K]``, one a class or more.
        epochs: passes over ``train``; every step takes a whole batch, across their borders.
        lr: peak learning rate, absolute.
        warmup: share of the steps.
        groups: parameter groups for AdamW instead of those of
            :func:`mae_lib.training.schedule.parameter_groups`; a group's ``lr_scale`` multiplies
            the rate.
        augment: ``(images, probabilities, generator) -> (images, probabilities)``, for example
            :class:`mae_lib.training.augment.Augment`.
        smoothing: share of the probability that is spread over all classes.
        clip: largest gradient norm.
        workers: processes that prepare images from files.

    Returns:
        Loss of every step, float32 ``[steps]``.

    Raises:
        ValueError: a number out of its range; a model with fewer logits than classes.
        NonFiniteLoss: the loss is no longer a number.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must lie in [0, 1), got {smoothing}")
    recipe = Recipe(epochs * len(train), batch, lr, weight_decay, (0.9, 0.999), warmup, min_lr,
                    clip)
    model.to(device).train()
    groups = list(groups or parameter_groups(model, weight_decay))
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=recipe.betas, fused=True)
    rows, _ = world().split(batch)
    batches = stream(_Labelled(train, recipe.batch, seed, augment, rows), 0, recipe.steps,
                     workers=workers, device=device)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), \
            watching_peers(lambda: "training must begin again"):
        torch.manual_seed(seed + world().rank)  # of dropout
        losses = _train(model, optimizer, recipe, batches, smoothing, device, progress)
    model.to("cpu").eval()
    return losses


@dataclass(frozen=True)
class _Labelled:
    """Images and class probabilities of each step, as far as this process trains on them."""

    images: ImageSet
    batch: int
    seed: int
    augment: Augmentation | None
    rows: slice

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Mixtures are of images anywhere in a batch, so that it is augmented as a whole."""
        used = self.rows if self.augment is None else slice(0, self.batch)
        images = pictures(self.images, self.batch, self.seed, step, used)
        index = batch_index(len(self.images), self.batch, self.seed, step)
        targets = _one_hot(self.images, index[used])
        if self.augment is None:
            return images, targets
        images, targets = self.augment(floats(images), targets, mask_generator(self.seed, step))
        return images[self.rows], targets[self.rows]

    def given(self, step: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        raise ValueError("train must be images that can be read in any order, got a stream: "
                         "mixtures and labels are of a whole batch")


def _train(model, optimizer, recipe, batches, smoothing, device, progress) -> np.ndarray:
    losses: list[Tensor] = []
    forward = replicated(model)
    with tqdm(total=recipe.steps * recipe.batch, unit="img", unit_scale=True,
              disable=not (progress and world().first and _watched())) as bar:
        for i, (images, targets) in enumerate(batches):
            _set_rate(optimizer, recipe.rate(i))
            losses.append(_step(forward, optimizer, images.to(device, non_blocking=True),
                                targets.to(device, non_blocking=True), smoothing, recipe.clip))
            bar.update(recipe.batch)
            if (i + 1) % CHECK_EVERY == 0 or i + 1 == recipe.steps:
                bar.set_postfix(loss=f"{_finite(losses, i):.4f}", refresh=False)
    return world().mean(torch.stack(losses).cpu()).numpy()


def _step(model, optimizer, images: Tensor, targets: Tensor, smoothing: float,
          clip: float | None) -> Tensor:
    logits = model(floats(images))
    if logits.ndim != 2 or logits.shape[1] < targets.shape[1]:
        raise ValueError(f"model must return logits [B,{targets.shape[1]}] for so many classes, "
                         f"got {list(logits.shape)}")
    targets = F.pad(targets, (0, logits.shape[1] - targets.shape[1]))
    loss = F.cross_entropy(logits, targets, label_smoothing=smoothing)
    loss.backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def _one_hot(train: ImageSet, index: np.ndarray) -> Tensor:
    labels = torch.as_tensor(np.asarray(train.labels[index], dtype=np.int64))
    return F.one_hot(labels, len(train.classes)).float()


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def _finite(losses: list[Tensor], step: int) -> float:
    """Mean of the last losses; NonFiniteLoss if one of them is not a number in any process."""
    last = world().mean(torch.stack(losses[-CHECK_EVERY:]).cpu())
    if not last.isfinite().all():
        raise NonFiniteLoss(f"loss became {last[~last.isfinite()][0].item()} at or before step "
                            f"{step}; try a smaller lr or set clip")
    return last.mean().item()
