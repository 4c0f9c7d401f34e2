"""Features of frozen encoders, computed once an image, and the baselines they must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mae_lib.data.files.crops import loop_free_box
from mae_lib.data.images import ImageSet
from mae_lib.models.patches import patchify
from mae_lib.training.distributed import shared

POOLS = ("cls", "mean", "cls+mean")


@dataclass(frozen=True, eq=False)
class FeatureBank:
    """Features of a set of images.

    Args:
        X: float ``[N, V, D]``: V views of each image, the first is the image as it is.
        y: labels, integer ``[N]``.
        ids: ``[N]``, what tells an image from all others, in other banks too.

    Raises:
        ValueError: shapes that do not fit, an empty bank, NaN or infinity, an id twice.
    """

    X: np.ndarray
    y: np.ndarray
    ids: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.X)
        if self.X.ndim != 3 or 0 in self.X.shape:
            raise ValueError(f"X must have shape [N,V,D], none of them 0, got {list(self.X.shape)}")
        if self.y.shape != (count,) or self.ids.shape != (count,):
            raise ValueError(f"y and ids must have shape [{count}], "
                             f"got {list(self.y.shape)} and {list(self.ids.shape)}")
        if not np.isfinite(self.X).all():
            raise ValueError("X must be finite, got NaN or infinity")
        if len(np.unique(self.ids)) != count:
            raise ValueError(f"ids must be unique, got {len(np.unique(self.ids))} for {count}")

    def __len__(self) -> int:
        return len(self.X)

    @property
    def image(self) -> np.ndarray:
        """Features of the images as they are, ``[N, D]``."""
        return self.X[:, 0]

    def columns(self, which: slice) -> FeatureBank:
        """The same images with some of the features: one half of ``"cls+mean"``, for example."""
        return FeatureBank(self.X[:, :, which], self.y, self.ids)


def extract_features(encoder, images: ImageSet, pool: str = "cls", *, views: int = 1,
                     seed: int = 0, batch: int = 256,
                     ids: Sequence | None = None) -> FeatureBank:
    """Features after the encoder's final norm, all patches visible.

    The processes of a job share the work by batches; each gets the whole bank.

    Args:
        pool: ``"cls"``, ``"mean"`` of the patch tokens, or ``"cls+mean"`` side by side.
        views: the image itself and ``views - 1`` random crops of it.
        seed: of the crops; the crops of an image depend on seed, view and place in the set only.
        ids: identifiers, one an image; fingerprint of the set and place in it if None.

    Raises:
        ValueError: unknown pool; ``"cls"`` of an encoder without a class token; ``views < 1``.
    """
    if pool not in POOLS:
        raise ValueError(f"pool must be one of {', '.join(POOLS)}, got {pool!r}")
    if views < 1:
        raise ValueError(f"views must be at least 1, got {views}")

    def part(start: int, view: int) -> np.ndarray:
        return _features(encoder, _view(images, slice(start, start + batch), view, seed), pool)

    starts = range(0, len(images), batch)
    X = [np.concatenate(shared(partial(part, view=v), starts)) for v in range(views)]
    return _bank(np.stack(X, axis=1), images, ids)


def raw_pixels(images: ImageSet, *, patch: int | None = None,
               ids: Sequence | None = None) -> FeatureBank:
    """Features that nothing was learnt for: a baseline for every probe.

    Args:
        patch: mean over patches of the raw patch vectors, ``3 * patch**2`` numbers; if None all
            pixels, one channel of them where the three are equal.
    """
    pixels = images.images if patch is None else None
    if patch is not None:
        X = [patchify(images.batch(slice(i, i + 1024)), patch).mean(1).numpy()
             for i in range(0, len(images), 1024)]
        return _bank(np.concatenate(X)[:, None], images, ids)
    if (pixels == pixels[:, :1]).all():
        pixels = pixels[:, :1]
    X = pixels.reshape(len(images), -1).astype(np.float32) / 255
    return _bank(X[:, None], images, ids)


def _bank(X: np.ndarray, images: ImageSet, ids: Sequence | None) -> FeatureBank:
    if ids is None:
        ids = [f"{images.fingerprint[:16]}:{i}" for i in range(len(images))]
    return FeatureBank(X, images.labels, np.asarray(ids))


@torch.no_grad()
def _features(encoder, x: Tensor, pool: str) -> np.ndarray:
    encoded = encoder(x.to(encoder.mean.device))
    if "cls" in pool and encoded.cls is None:
        raise ValueError(f"pool must be 'mean' for an encoder without a class token, got {pool!r}")
    parts = {"cls": encoded.cls, "mean": encoded.patches.mean(1)}
    return torch.cat([parts[name] for name in pool.split("+")], dim=1).float().cpu().numpy()


def _view(images: ImageSet, rows: slice, view: int, seed: int) -> Tensor:
    x = images.batch(rows)
    if view == 0:
        return x
    draws = np.random.default_rng([seed, view]).random((len(images), 5))[rows].tolist()
    return torch.stack([random_crop(image, draw) for image, draw in zip(x, draws, strict=True)])


def random_crop(image: Tensor, draw: Sequence[float]) -> Tensor:
    """Random resized crop and flip of He et al.'s linear probe: bicubic, flipped every other time.

    Args:
        image: ``[3,H,W]`` in [0, 1].
        draw: five uniform numbers in [0, 1).
    """
    height, width = image.shape[1:]
    top, left, h, w = loop_free_box(height, width, draw[:4])
    crop = image[None, :, top:top + h, left:left + w]
    view = F.interpolate(crop, (height, width), mode="bicubic", antialias=True).clamp(0, 1)[0]
    return view.flip(-1) if draw[4] < 0.5 else view
