"""The linear probe of He et al. where features of all views are too many to keep.

The frozen encoder sees a new random view of every image in every epoch, as in their appendix A.1;
what is learned is a head on the class token and one on the mean of the patch tokens, side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from mae_lib.data.protocols import Images
from mae_lib.evaluation.lars import new_head, new_optimizer
from mae_lib.models.masks import Mask
from mae_lib.training.distributed import gathered, world
from mae_lib.training.schedule import Recipe
from mae_lib.training.stream import Steps, batch_index, floats, stream

PARTS = ("cls", "mean")
SEEN = 256  # images at a time in the encoder


def fit_heads(encoder: nn.Module, train: Images, *, epochs: int = 90, base_lr: float = 0.1,
              batch: int = 16384, warmup: int = 10, seed: int = 0, workers: int = 0,
              checkpoint: str | Path | None = None, progress: bool = True
              ) -> dict[str, nn.Sequential]:
    """Heads by pool, ``"cls"`` and ``"mean"``: BatchNorm without parameters and a linear layer.

    LARS at a peak rate of ``base_lr * batch / 256`` after ``warmup`` epochs, then half a cosine to
    zero. Every process of a job sees its part of a batch through the encoder, and the features of
    the whole batch in the heads, so that one process and many learn the same.

    Args:
        encoder: frozen, on the device where it is to compute.
        train: random views where the set has them (``views``), else the images as they are.
        batch: cut down to the number of images if larger.
        workers: processes that decode.
        checkpoint: folder that keeps the heads after every epoch; a run that was stopped goes on.

    Raises:
        ValueError: numbers out of their range; a batch that the processes cannot share evenly.
    """
    if not 0 <= warmup < epochs:
        raise ValueError(f"warmup must lie in 0..epochs - 1 ({epochs - 1}), got {warmup}")
    batch = min(batch, len(train))
    steps = len(train) // batch  # an epoch's
    recipe = Recipe(views=epochs * steps * batch, batch=batch, lr=base_lr * batch / 256,
                    warmup=warmup / epochs)
    run = _Run(encoder, len(train.classes), seed, checkpoint)
    seen = _seen(encoder, train, recipe, seed, run.step, workers)
    with tqdm(total=recipe.steps, initial=run.step, desc="linear probe", unit="step",
              disable=not (progress and world().first)) as bar:
        for step, features in zip(range(run.step, recipe.steps), seen, strict=True):
            labels = train.labels[batch_index(len(train), batch, seed, step)]
            run.learn(features, torch.as_tensor(np.asarray(labels, np.int64)), recipe.rate(step))
            bar.update()
            if (step + 1) % steps == 0:
                run.save(step + 1)
    return {pool: run.heads[pool].eval() for pool in PARTS}


def _seen(encoder, train: Images, recipe: Recipe, seed: int, start: int,
          workers: int) -> Iterator[Tensor]:
    """Features ``[batch, 2 D]`` of the whole batch of each step: class token, then mean token."""
    rows, _ = world().split(recipe.batch)
    steps = Steps(train, recipe.batch, seed, _no_mask, rows)
    for x, _ in stream(steps, start, recipe.steps, workers=workers):
        yield gathered(torch.cat([both_tokens(encoder, part) for part in x.split(SEEN)]))


@torch.no_grad()
def both_tokens(encoder, x: Tensor) -> Tensor:
    """Class token and mean patch token ``[B, 2 D]`` on the CPU, all patches visible."""
    found = encoder(floats(x.to(encoder.mean.device)))
    return torch.cat([found.cls, found.patches.mean(1)], 1).float().cpu()


def _no_mask(index: np.ndarray, generator: torch.Generator) -> Mask:
    nothing = torch.empty(len(index), 0, dtype=torch.long)
    return Mask(nothing, nothing)


class _Run:
    """Heads in training, and the next step."""

    def __init__(self, encoder, classes: int, seed: int, folder: str | Path | None):
        generator = torch.Generator().manual_seed(seed)
        self.heads = nn.ModuleDict({pool: new_head(encoder.width, classes, generator)
                                    for pool in PARTS}).train()
        self.optimizers = {pool: new_optimizer(self.heads[pool][1], "lars") for pool in PARTS}
        self.file = None if folder is None else Path(folder, "heads.safetensors")
        self.step = 0
        if self.file is not None and self.file.is_file():
            self._load()

    def learn(self, features: Tensor, labels: Tensor, rate: float) -> None:
        for pool, part in zip(PARTS, features.chunk(2, 1), strict=True):
            optimizer = self.optimizers[pool]
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            F.cross_entropy(self.heads[pool](part), labels).backward()
            optimizer.step()

    def save(self, step: int) -> None:
        if self.file is None or not world().first:
            return
        tensors = {**self.heads.state_dict(), "step": torch.tensor(step), **self._momentum()}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part)
        part.replace(self.file)

    def _load(self) -> None:
        tensors = load_file(self.file)
        self.step = int(tensors.pop("step"))
        for name, state in self._states():
            state["momentum_buffer"] = tensors.pop(name)
        self.heads.load_state_dict(tensors)

    def _momentum(self) -> dict[str, Tensor]:
        return {name: state["momentum_buffer"] for name, state in self._states()}

    def _states(self) -> Iterator[tuple[str, dict]]:
        for pool, optimizer in self.optimizers.items():
            for name, parameter in self.heads[pool][1].named_parameters():
                yield f"momentum.{pool}.{name}", optimizer.state[parameter]


class Probed(nn.Module):
    """A head on a frozen encoder: images ``[B,3,H,W]`` in [0, 1] to logits ``[B, K]``."""

    def __init__(self, encoder: nn.Module, head: nn.Module, pool: str):
        super().__init__()
        self.encoder, self.head, self.place = encoder, head, PARTS.index(pool)

    def forward(self, images: Tensor) -> Tensor:
        features = both_tokens(self.encoder, images).chunk(2, 1)[self.place]
        return self.head(features)
