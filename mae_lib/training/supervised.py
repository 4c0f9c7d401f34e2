"""Training a classifier on labelled images: one loop, for scratch and for fine-tuning alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from mae_lib.data.images import ImageSet
from mae_lib.training.pretrain import (
    CHECK_EVERY,
    NonFiniteLoss,
    _watched,
    batch_index,
    mask_generator,
)
from mae_lib.training.schedule import Recipe, parameter_groups

Augmentation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


def fit_classifier(model: nn.Module, train: ImageSet, *, epochs: int, lr: float, batch: int = 128,
                   seed: int = 0, weight_decay: float = 0.05, warmup: float = 0.05,
                   min_lr: float = 0.0, groups: Sequence[dict] | None = None,
                   augment: Augmentation | None = None, smoothing: float = 0.0,
                   clip: float | None = None, device: torch.device | str = "cpu",
                   progress: bool = True) -> np.ndarray:
    """Train ``model`` in place with AdamW, warm-up and half a cosine; it ends in eval mode.

    Same model, images, arguments and number of threads, same weights: order, augmentation and
    dropout are functions of ``seed``, and the global generators are left as they were.

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
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)  # of dropout
        losses = _train(model, optimizer, recipe, train, seed, augment, smoothing, device, progress)
    model.to("cpu").eval()
    return losses


def _train(model, optimizer, recipe, train, seed, augment, smoothing, device,
           progress) -> np.ndarray:
    losses: list[Tensor] = []
    with tqdm(total=recipe.steps * recipe.batch, unit="img", unit_scale=True,
              disable=not (progress and _watched())) as bar:
        for i in range(recipe.steps):
            index = batch_index(len(train), recipe.batch, seed, i)
            images, targets = train.batch(index), _one_hot(train, index)
            if augment is not None:
                images, targets = augment(images, targets, mask_generator(seed, i))
            _set_rate(optimizer, recipe.rate(i))
            losses.append(_step(model, optimizer, images.to(device), targets.to(device), smoothing,
                                recipe.clip))
            bar.update(recipe.batch)
            if (i + 1) % CHECK_EVERY == 0 or i + 1 == recipe.steps:
                bar.set_postfix(loss=f"{_finite(losses, i):.4f}", refresh=False)
    return torch.stack(losses).cpu().numpy()


def _step(model, optimizer, images: Tensor, targets: Tensor, smoothing: float,
          clip: float | None) -> Tensor:
    logits = model(images)
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
    """Mean of the last losses; NonFiniteLoss if one of them is not a number."""
    last = torch.stack(losses[-CHECK_EVERY:])
    if not last.isfinite().all():
        raise NonFiniteLoss(f"loss became {last[~last.isfinite()][0].item()} at or before step "
                            f"{step}; try a smaller lr or set clip")
    return last.mean().item()
