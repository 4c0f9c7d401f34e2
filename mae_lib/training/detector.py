"""Training a detector: one loop for a fine-tuned and for a frozen backbone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mae_lib.data.objects import ObjectSet
from mae_lib.training.distributed import replicated, watching_peers, world
from mae_lib.training.finetune import layer_of
from mae_lib.training.pretrain import CHECK_EVERY, _watched
from mae_lib.training.schedule import Recipe
from mae_lib.training.stream import batch_index, mask_generator
from mae_lib.training.supervised import _finite, _set_rate

ENCODER = "backbone.encoder."


@dataclass(frozen=True)
class DetectorConfig:
    """How to train a detector; the same for every model that is compared.

    The defaults were fixed on 21 November 2026 on validation scenes, from one model (seed 0, ratio
    .75) and the untrained encoder alone, before any other ratio was looked at. Rates and layer
    decay had been set beforehand and were not tuned.

    Args:
        epochs: passes over the training images.
        lr: peak rate of the new layers.
        encoder_lr: peak rate of the encoder's last block; each layer below has ``layer_decay``
            times that of the one above.
        warmup: share of the steps.
        clip: largest gradient norm, None for no clipping.
        flip: mirror every image, with its objects, with probability one half.
        frozen: leave the encoder as it is.
        seed: of the order of the images, their mirroring and the detector's sampling.
    """

    epochs: int = 6
    batch: int = 4
    lr: float = 1e-3
    encoder_lr: float = 2.5e-4
    layer_decay: float = 0.75
    weight_decay: float = 0.05
    warmup: float = 0.05
    clip: float | None = 1.0
    flip: bool = True
    frozen: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must lie in (0, 1], got {self.layer_decay}")
        if self.encoder_lr <= 0:
            raise ValueError(f"encoder_lr must be above 0, got {self.encoder_lr}")


def fit_detector(detector: nn.Module, train: ObjectSet, config: DetectorConfig | None = None, *,
                 device: torch.device | str = "cpu", progress: bool = True) -> np.ndarray:
    """Train ``detector`` in place with AdamW, warm-up and half a cosine; it ends in eval mode.

    Same detector, images, config and number of threads, same weights; the global generators are
    left as they were. The processes of a job share every batch; since a detector samples regions
    and averages over them, the losses are then near those of one process, not the same.

    Args:
        detector: as of :func:`mae_lib.evaluation.detection.build_mask_rcnn`.

    Returns:
        Sum of the losses at every step, float32 ``[steps]``.

    Raises:
        ValueError: a number out of its range.
        NonFiniteLoss: the loss is no longer a number.
    """
    config = config or DetectorConfig()
    recipe = Recipe(config.epochs * len(train), config.batch, config.lr, config.weight_decay,
                    (0.9, 0.999), config.warmup, clip=config.clip)
    detector.backbone.encoder.requires_grad_(not config.frozen)
    detector.to(device).train()
    optimizer = torch.optim.AdamW(detector_groups(detector, config), config.lr, recipe.betas,
                                  fused=True)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), \
            watching_peers(lambda: "training must begin again"):
        torch.manual_seed(config.seed + world().rank)  # the detector samples anchors and proposals
        losses = _train(detector, optimizer, recipe, train, config, device, progress)
    detector.to("cpu").eval()
    return losses


def detector_groups(detector: nn.Module, config: DetectorConfig) -> list[dict]:
    """AdamW groups by layer: ``lr_scale`` 1 for everything new, less for the encoder's layers,
    falling toward the first; weight decay for matrices only. Frozen weights are in no group."""
    top = detector.backbone.encoder.depth
    ratio = config.encoder_lr / config.lr
    groups: dict[tuple[float, float], list] = defaultdict(list)
    for name, parameter in detector.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = 1.0
        if name.startswith(ENCODER):
            layer = layer_of(name.removeprefix("backbone."), top)
            scale = ratio * config.layer_decay ** (top - layer)
        plain = parameter.ndim <= 1 or name.endswith(("pos_embed", "cls_token"))
        groups[scale, 0.0 if plain else config.weight_decay].append(parameter)
    return [{"params": parameters, "weight_decay": decay, "lr_scale": scale}
            for (scale, decay), parameters in groups.items()]


def mirrored(image: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """An image ``[3,H,W]`` and its objects, left and right exchanged."""
    left, top, right, bottom = target["boxes"].unbind(1)
    width = image.shape[-1]
    boxes = torch.stack([width - right, top, width - left, bottom], 1)
    return image.flip(-1), target | {"boxes": boxes, "masks": target["masks"].flip(-1)}


def _train(detector, optimizer, recipe: Recipe, train: ObjectSet, config: DetectorConfig, device,
           progress: bool) -> np.ndarray:
    losses: list[Tensor] = []
    rows, forward = world().split(recipe.batch)[0], replicated(detector)
    with tqdm(total=recipe.steps * recipe.batch, unit="img", unit_scale=True,
              disable=not (progress and world().first and _watched())) as bar:
        for i in range(recipe.steps):
            images, targets = _batch(train, config, i, rows)
            _set_rate(optimizer, recipe.rate(i))
            losses.append(_step(forward, optimizer, [x.to(device) for x in images],
                                [{name: x.to(device) for name, x in target.items()}
                                 for target in targets], config.clip))
            bar.update(recipe.batch)
            if (i + 1) % CHECK_EVERY == 0 or i + 1 == recipe.steps:
                bar.set_postfix(loss=f"{_finite(losses, i):.4f}", refresh=False)
    return world().mean(torch.stack(losses).cpu()).numpy()


def _batch(train: ObjectSet, config: DetectorConfig, step: int,
           rows: slice = slice(None)) -> tuple[list, list]:
    index = batch_index(len(train), config.batch, config.seed, step)[rows]
    chance = torch.rand(config.batch, generator=mask_generator(config.seed, step))[rows]
    pairs = [(image, train.target(i)) for image, i in zip(train.batch(index), index, strict=True)]
    if config.flip:
        pairs = [mirrored(*pair) if u < 0.5 else pair
                 for pair, u in zip(pairs, chance.tolist(), strict=True)]
    return [image for image, _ in pairs], [target for _, target in pairs]


def _step(detector, optimizer, images: list[Tensor], targets: list[dict],
          clip: float | None) -> Tensor:
    loss = sum(detector(images, targets).values())
    loss.backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(detector.parameters(), clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()
