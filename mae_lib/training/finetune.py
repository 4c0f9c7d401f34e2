"""Fine-tuning: the encoder of a masked autoencoder trained on as a classifier.

The recipe is He et al.'s (appendix A.1 and their FINETUNE.md): AdamW whose rate shrinks toward the
first layers. From an untrained encoder the same call is the arm "from scratch".
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mae_lib.data.images import ImageSet
from mae_lib.models.classifier import Classifier
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.training.augment import Augment
from mae_lib.training.distributed import shared
from mae_lib.training.supervised import fit_classifier

NOT_DECAYED = ("encoder.pos_embed", "encoder.cls_token")


@dataclass(frozen=True)
class FinetuneConfig:
    """How to fine-tune; the defaults are for a small model on small images.

    Args:
        epochs: passes over the training images.
        base_lr: peak rate for 256 images a step; the rate is proportional to ``batch``.
        layer_decay: factor on the rate from each layer to the one below; 1 for none.
        drop_path, pool: see :class:`mae_lib.models.classifier.Classifier`.
        warmup: share of the steps.
        smoothing: share of the probability that is spread over all classes.
        augment: what is done to the images. An arm to compare with needs the same.
        seed: of the head and of the order of the images.
    """

    epochs: int = 30
    batch: int = 32
    base_lr: float = 8e-3
    min_lr: float = 1e-6
    weight_decay: float = 0.05
    layer_decay: float = 0.75
    drop_path: float = 0.0
    warmup: float = 0.05
    smoothing: float = 0.1
    pool: str = "mean"
    augment: Augment | None = Augment(flip=True, shift=2)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must lie in (0, 1], got {self.layer_decay}")

    @property
    def lr(self) -> float:
        """Peak learning rate of the last layer."""
        return self.base_lr * self.batch / 256


# ViT-B on ImageNet; its random resized crops and RandAugment (rand-m9-mstd0.5-inc1) are not here.
VIT_BASE = FinetuneConfig(epochs=100, batch=1024, base_lr=5e-4, layer_decay=0.65, drop_path=0.1,
                          augment=Augment(flip=True, erase=0.25, mixup=0.8, cutmix=1.0))


@dataclass(frozen=True, eq=False)
class FinetuneResult:
    """Accuracy in [0, 1], ``correct [Nt]`` and ``logits [Nt, K]`` in the order of the test images,
    the loss of every step, and the classifier itself."""

    accuracy: float
    correct: np.ndarray
    logits: np.ndarray
    losses: np.ndarray
    classifier: Classifier


def finetune(model: MaskedAutoencoder, train: ImageSet, test: ImageSet,
             config: FinetuneConfig | None = None, *, device: torch.device | str = "cpu",
             progress: bool = True, workers: int = 0) -> FinetuneResult:
    """Train a classifier from the encoder of ``model``, which stays as it is, and test it.

    The processes of a job share the work; ``workers`` of each prepare images from files.

    Accuracy is that of the last step: none is chosen by looking at ``test``.

    Raises:
        ValueError: sets that share their images or differ in their classes, a class without
            training images, images that do not fit the encoder.
    """
    config = config or FinetuneConfig()
    check_sets(train, test, model.encoder.size)
    classifier = Classifier(model.encoder, len(train.classes), config.pool,
                            drop_path=config.drop_path, seed=config.seed)
    groups = layer_groups(classifier, config.weight_decay, config.layer_decay)
    losses = fit_classifier(classifier, train, epochs=config.epochs, lr=config.lr,
                            batch=config.batch, seed=config.seed, warmup=config.warmup,
                            min_lr=config.min_lr, groups=groups, augment=config.augment,
                            smoothing=config.smoothing, device=device, progress=progress,
                            workers=workers)
    logits = predict_logits(classifier, test)
    correct = logits.argmax(1) == test.labels
    return FinetuneResult(float(correct.mean()), correct, logits, losses, classifier)


def layer_groups(classifier: Classifier, weight_decay: float, layer_decay: float) -> list[dict]:
    """AdamW groups, two a layer: matrices with weight decay; vectors, positions and class token
    without. ``lr_scale`` is 1 for the head and shrinks by ``layer_decay`` a layer below."""
    top = classifier.encoder.depth + 1
    groups: dict[tuple[int, float], list] = defaultdict(list)
    for name, parameter in classifier.named_parameters():
        plain = parameter.ndim <= 1 or name in NOT_DECAYED
        groups[layer_of(name, top), 0.0 if plain else weight_decay].append(parameter)
    return [{"params": parameters, "weight_decay": decay, "lr_scale": layer_decay ** (top - layer)}
            for (layer, decay), parameters in groups.items()]


def layer_of(name: str, top: int) -> int:
    """0 for patch embedding, class token and positions, j + 1 for block j, ``top`` for the rest."""
    if re.match(r"encoder\.(cls_token|pos_embed|patch_embed)", name):
        return 0
    block = re.match(r"encoder\.blocks\.(\d+)\.", name)
    return int(block[1]) + 1 if block else top


@torch.no_grad()
def predict_logits(model: nn.Module, images: ImageSet, batch: int = 256) -> np.ndarray:
    """Logits ``[N, K]`` of a whole set, by a model on the CPU in eval mode.

    The processes of a job share the work by batches; each gets all logits.
    """
    return torch.cat(shared(lambda i: model(images.batch(slice(i, i + batch))),
                            range(0, len(images), batch))).numpy()


def check_sets(train: ImageSet, test: ImageSet, size: tuple[int, int]) -> None:
    """Raise ValueError if a classifier trained on ``train`` says nothing about ``test``."""
    for name, images in (("train", train), ("test", test)):
        if images.size != tuple(size):
            raise ValueError(f"{name} must hold images of {size[0]}x{size[1]} pixels, "
                             f"got {images.size[0]}x{images.size[1]}")
    if train.fingerprint == test.fingerprint:
        raise ValueError("train and test must not share images, got one set twice")
    if train.classes != test.classes:
        raise ValueError(f"train and test must have the same classes, got {len(train.classes)} "
                         f"and {len(test.classes)}, or other names")
    for name, images in (("train", train), ("test", test)):
        if missing := set(range(len(train.classes))) - set(np.unique(images.labels).tolist()):
            raise ValueError(f"{name} must hold every class, got none of {sorted(missing)}")
