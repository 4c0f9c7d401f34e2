"""How alike representations are: of two models, and of one under occlusion.

Kong and Zhang 2023, figure 1, compare full with masked views of an image by linear CKA.

Pooled tokens follow the mean colour of an image, so that networks that have learnt nothing come out
nearly alike. Hence images are levelled unless asked otherwise, and an untrained network belongs
beside every number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mae_lib.data.images import ImageSet
from mae_lib.evaluation.cka import (
    BATCH,
    MinibatchCKA,
    batches_of,
    checked,
    cka_matrix,
    linear_cka,
)
from mae_lib.models.encoder import Encoded, take
from mae_lib.models.masks import visible_count
from mae_lib.models.patches import patch_grid, patchify

REPRESENTATIONS = ("mean", "cls", "cls+mean", "tokens")
__all__ = ["MinibatchCKA", "PooledPixels", "block_features", "cka_matrix", "cross_model_cka",
           "level", "linear_cka", "occlusion_cka", "occlusion_masks", "occlusion_retrieval",
           "occlusion_summary", "retrieved"]


def cross_model_cka(a, b, images: ImageSet, representation: str = "mean", *,
                    levelled: bool = True, batch: int = BATCH) -> np.ndarray:
    """Every block of one encoder against every block of another, ``[blocks_a, blocks_b]``.

    All patches are visible; ``"mean"`` or ``"cls"``, further arguments as in
    :func:`block_features`.
    """
    _one_row_an_image(representation)
    kind = {"levelled": levelled, "batch": batch}
    left, right = (block_features(e, images, representation, **kind) for e in (a, b))
    return cka_matrix([*left, *right], batch)[:len(left), len(left):]


def occlusion_cka(encoder, images: ImageSet, ratios: Sequence[float], draws: int = 3,
                  representation: str = "mean", *, levelled: bool = True, seed: int = 0,
                  batch: int = BATCH) -> np.ndarray:
    """Features of full images against those of images without some patches, after each block.

    Hidden patches are dropped, the class token stays. ``"tokens"`` compares the tokens that both
    views have, rows being (image, token). Masks as in :func:`occlusion_masks`.

    Returns:
        float64 ``[ratios, blocks, draws]``; 1 at ratio 0.
    """
    kind = {"levelled": levelled, "batch": batch}
    full = block_features(encoder, images, representation, **kind)
    found = np.empty((len(ratios), len(full), draws))
    for r, ratio in enumerate(ratios):
        for d, shown in enumerate(occlusion_masks(len(images), encoder.grid, ratio, draws, seed)):
            if representation == "tokens":
                full = block_features(encoder, images, "tokens", read=shown, **kind)
            masked = block_features(encoder, images, representation, visible=shown, **kind)
            found[r, :, d] = [_in_batches(X, Y, len(images), batch)
                              for X, Y in zip(full, masked, strict=True)]
    return found


def occlusion_retrieval(encoder, images: ImageSet, ratios: Sequence[float], draws: int = 3,
                        representation: str = "mean", *, levelled: bool = True, seed: int = 0,
                        batch: int = BATCH) -> np.ndarray:
    """Whether the last block's feature of a masked image is nearest to that of the image itself.

    Among the features of all full images; by chance for one image in N.

    Returns:
        bool ``[ratios, draws, N]``.
    """
    _one_row_an_image(representation)
    kind = {"levelled": levelled, "batch": batch}
    full = block_features(encoder, images, representation, **kind)[-1]
    return np.array([[retrieved(block_features(encoder, images, representation, visible=shown,
                                               **kind)[-1], full)
                      for shown in occlusion_masks(len(images), encoder.grid, ratio, draws, seed)]
                     for ratio in ratios])


def retrieved(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Which of ``queries [n,d]`` are nearer to their own of ``keys [n,d]`` than to all others.

    By cosine similarity, each side centred first, as in CKA. A tie is a miss.
    """
    queries, keys = checked(queries, keys)
    if queries.shape != keys.shape:
        raise ValueError(f"queries and keys must be features of one length, "
                         f"got {queries.shape[1]} and {keys.shape[1]}")
    sides = [X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)
             for X in (queries, keys)]
    similarity = sides[0] @ sides[1].T
    own = similarity.diagonal().copy()
    np.fill_diagonal(similarity, -np.inf)
    return own > similarity.max(1)


def occlusion_summary(cka: np.ndarray, ratios: Sequence[float],
                      control: np.ndarray | None = None) -> dict[str, np.ndarray | float]:
    """``auc [ratios]``, the mean over blocks and draws of ``cka [ratios, blocks, draws]``.

    And ``slope`` of the auc per unit of ratio (least squares); with ``control``, the same array of
    an untrained network, also ``excess [ratios]``, the auc over that of the control.
    """
    auc = np.asarray(cka).mean((1, 2))
    found = {"auc": auc, "slope": float(np.polyfit(ratios, auc, 1)[0])}
    return found if control is None else found | {"excess": auc - np.asarray(control).mean((1, 2))}


@torch.no_grad()
def block_features(encoder, images: ImageSet, representation: str = "mean", *,
                   visible: Tensor | None = None, read: Tensor | None = None,
                   levelled: bool = False, batch: int = BATCH) -> list[np.ndarray]:
    """Features after each block (the residual stream, no final norm), float32 ``[N,D]``.

    Args:
        representation: ``"mean"`` of the patch tokens, ``"cls"``, ``"cls+mean"`` side by side,
            or ``"tokens"``, all patch tokens one below the other, ``[N * K, D]``.
        visible: patches that the encoder is shown, ``[N,K]``; all if None.
        read: of these, the places of those that ``"tokens"`` keeps, ``[N,K]``.
        levelled: remove each image's mean colour and contrast, see :func:`level`.

    Raises:
        ValueError: unknown representation; ``"cls"`` of an encoder without a class token.
    """
    if representation not in REPRESENTATIONS:
        raise ValueError(f"representation must be one of {', '.join(REPRESENTATIONS)}, "
                         f"got {representation!r}")
    if "cls" in representation and encoder.cls_token is None:
        raise ValueError(f"representation must be 'mean' or 'tokens' for an encoder without a "
                         f"class token, got {representation!r}")
    parts, depth, first = [], range(encoder.depth), int(encoder.cls_token is not None)
    for rows in batches_of(len(images), batch):
        x = images.batch(rows).to(encoder.mean.device)
        x = level(x, encoder.mean, encoder.std) if levelled else x
        shown, kept = (None if m is None else m[rows].to(x.device) for m in (visible, read))
        blocks = encoder(x, shown, blocks=depth).blocks
        parts.append([_read(blocks[i], first, representation, kept) for i in depth])
    return [torch.cat(block).float().cpu().numpy() for block in zip(*parts, strict=True)]


def level(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images without their mean colour, all at one contrast, in the units of a model.

    Standardised with the model's ``mean [3]`` and ``std [3]``, each channel of each image has mean
    0 and each image mean square 1 afterwards; values may leave [0, 1]. A flat image stays flat.
    """
    mean, std = mean[:, None, None], std[:, None, None]
    z = (x - mean) / std
    z = z - z.mean((2, 3), keepdim=True)
    return mean + std * z / z.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-4)


def occlusion_masks(count: int, grid: tuple[int, int], ratio: float, draws: int = 3,
                    seed: int = 0) -> Tensor:
    """Visible patches of every image, int64 ``[draws, count, K]``, ascending.

    They depend on nothing else, so that all models are shown the same; what is visible at one ratio
    is visible at all smaller ones.
    """
    patches = grid[0] * grid[1]
    kept = patches if ratio == 0 else visible_count(patches, ratio)
    noise = torch.rand(draws, count, patches, generator=torch.Generator().manual_seed(seed))
    return noise.argsort(2)[..., :kept].sort(2).values


class PooledPixels:
    """Raw patch vectors in the place of an encoder with one block: the baseline without a network.

    Standardised with ``mean`` and ``std``, which only matters where images are not levelled.
    """

    depth, cls_token = 1, None

    def __init__(self, size: int, patch: int, mean: Sequence[float] = (0.0, 0.0, 0.0),
                 std: Sequence[float] = (1.0, 1.0, 1.0)):
        self.patch, self.grid = patch, patch_grid((size, size), patch)
        self.mean, self.std = torch.tensor(mean), torch.tensor(std)

    def __call__(self, x: Tensor, visible: Tensor | None = None, *, blocks=()) -> Encoded:
        patches = patchify((x - self.mean[:, None, None]) / self.std[:, None, None], self.patch)
        patches = patches if visible is None else take(patches, visible)
        return Encoded(None, patches, {i: patches for i in blocks}, {})


def _one_row_an_image(representation: str) -> None:
    if representation == "tokens":
        raise ValueError("representation must be 'mean' or 'cls' here, got 'tokens'")


def _read(block: Tensor, first: int, representation: str, kept: Tensor | None) -> Tensor:
    patches = block[:, first:]
    if representation == "tokens":
        return (patches if kept is None else take(patches, kept)).flatten(0, 1)
    parts = {"cls": block[:, 0], "mean": patches.mean(1)}
    return torch.cat([parts[name] for name in representation.split("+")], 1)


def _in_batches(X: np.ndarray, Y: np.ndarray, images: int, batch: int) -> float:
    """CKA over batches of whole images, of which each may have several rows."""
    rows, found = len(X) // images, MinibatchCKA()
    for some in batches_of(images, batch):
        some = slice(some.start * rows, some.stop * rows)
        found.update(X[some], Y[some])
    return found.value()
