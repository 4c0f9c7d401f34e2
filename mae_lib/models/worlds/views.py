"""Two views of one moment, encoded together: a variant of MWM that the talk by D. Kim only names.

Its slide "MWM + Multi-View" holds no text and no numbers. All details here are ours: the views
share the stem, each has a learned embedding in the encoder and in the decoder and a head of its
own, and the tokens of both are encoded side by side. A view may be hidden as a whole, so that the
other has to explain it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from mae_lib.models.clips.presets import seeded, shape_of
from mae_lib.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoded, Encoder, take
from mae_lib.models.masks import Mask, visible_count
from mae_lib.models.patches import patch_grid, sincos_2d
from mae_lib.models.targets import TARGETS
from mae_lib.models.worlds.groups import (
    GroupDecoder,
    check_options,
    group_vectors,
    joined,
    part_mask,
    scored_mse,
)
from mae_lib.models.worlds.presets import WORLDS
from mae_lib.models.worlds.stem import world_encoder

VIEWS = 2


class TwoViews(nn.Module):
    """Hide features of two views, predict the patches of both.

    Tokens are numbered through both views: those of the second follow those of the first.

    Args:
        encoder: of one view; the other goes through the same stem.
        decoder: of the groups ``"first"`` and ``"second"``.
        sampler: ``(batch, generator) -> Mask`` over the tokens of both views.
        target: ``[B, L, n] -> [B, L, n]``, what is to be predicted, from standardised patches.
        scored: ``"all"`` patches or ``"hidden"`` ones.
        config: JSON-able settings from which the same model can be built again.
    """

    def __init__(self, encoder: Encoder, decoder: GroupDecoder, sampler: Callable[..., Mask], *,
                 target: Callable[[Tensor], Tensor], scored: str = "all",
                 config: dict | None = None):
        super().__init__()
        self.encoder, self.decoder, self.sampler = encoder, decoder, sampler
        self.view_embed = group_vectors(VIEWS, encoder.width)
        self.target, self.scored, self.config = target, scored, dict(config or {})

    def sample_mask(self, batch: int, generator: torch.Generator | None = None) -> Mask:
        """Masks over the tokens of both views, on the CPU."""
        return self.sampler(batch, generator=generator)

    def forward(self, images: Tensor, mask: Mask) -> Tensor:
        """The training loss (a scalar) of views ``[B,2,3,H,W]`` in [0, 1]."""
        patches = self._patches(images)
        return scored_mse(self._decoded(patches, mask), self.target(patches), mask, self.scored)

    def predict(self, images: Tensor, mask: Mask) -> Tensor:
        """Predicted patch vectors ``[B, 2L, n]`` of both views in units of the target."""
        return self._decoded(self._patches(images), mask)

    def features(self, images: Tensor) -> Encoded:
        """Both views encoded together, nothing hidden: ``patches [B, 2L, D]``."""
        return self.encoder.encode(self._embedded(self._patches(images)))

    def _patches(self, images: Tensor) -> Tensor:
        """Standardised patch vectors ``[B, 2L, n]``."""
        if images.ndim != 5 or images.shape[1] != VIEWS:
            raise ValueError(f"images must have shape [B,{VIEWS},3,{self.encoder.size[0]},"
                             f"{self.encoder.size[1]}], got {list(images.shape)}")
        patches = self.encoder.patches(images.flatten(0, 1))
        return patches.unflatten(0, (-1, VIEWS)).flatten(1, 2)

    def _embedded(self, patches: Tensor) -> Tensor:
        """Tokens of both views ``[B, 2L, D]``, positions and embeddings of the views added."""
        views = patches.unflatten(1, (VIEWS, -1))
        tokens = self.encoder.embed(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        return (tokens + self.view_embed[:, None]).flatten(1, 2)

    def _decoded(self, patches: Tensor, mask: Mask) -> Tensor:
        latent = self.encoder.encode(take(self._embedded(patches), mask.visible))
        return torch.cat(list(self.decoder(latent, mask).values()), dim=1)


def view_mask(batch: int, grid: tuple[int, int], ratio: float, *, whole: bool = False,
              generator: torch.Generator | None = None) -> Mask:
    """A mask over the tokens of two views.

    Args:
        ratio: share of a view's tokens that are hidden, drawn for each view alone; 0 hides none.
        whole: hide one view, either with equal chance, and ``ratio`` of the other.
    """
    if not whole:
        both = [part_mask(batch, grid, ratio, generator=generator) for _ in range(VIEWS)]
        return joined(both, [grid[0] * grid[1]] * VIEWS)
    count = grid[0] * grid[1]
    visible, hidden = part_mask(batch, grid, ratio, generator=generator)
    shown = torch.randint(VIEWS, (batch, 1), generator=generator)
    every = torch.arange(count).expand(batch, -1)
    both = torch.cat([hidden + shown * count, every + (1 - shown) * count], dim=1)
    return Mask(visible + shown * count, both.sort(1).values)


def two_crops(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Two views ``[B,2,3,h,w]`` of images ``[B,3,H,W]``: the upper left and the lower right corner.

    They overlap unless the image is twice as large.

    Raises:
        ValueError: crops larger than the images.
    """
    if size[0] > images.shape[2] or size[1] > images.shape[3]:
        raise ValueError(f"size must be at most {images.shape[2]}x{images.shape[3]}, the images', "
                         f"got {size[0]}x{size[1]}")
    return torch.stack([images[..., :size[0], :size[1]], images[..., -size[0]:, -size[1]:]], dim=1)


def mwm_views(preset: str = "mwm", *, whole: bool = False, stem: bool = True,
              padding: str = "zeros", scored: str = "all", ratio: float = 0.75,
              target: str = "pixel", seed: int | None = None,
              mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD,
              **overrides: int) -> TwoViews:
    """The autoencoder of two views with its networks; no reward.

    Args:
        whole: hide one view as a whole, see :func:`view_mask`.

    All else, and errors, as in :func:`mae_lib.models.worlds.autoencoder.mwm`; ``size`` is a view's.
    """
    shape = shape_of(WORLDS, preset, overrides)
    grid = patch_grid(shape["size"], shape["patch"])
    check_options(target, scored, max(ratio, whole))
    if ratio:
        visible_count(grid[0] * grid[1], ratio)  # refuse what cannot be met before training
    table = sincos_2d(shape["decoder_width"], grid, class_token=False)[0]
    names = ("first", "second")
    with seeded(seed):
        encoder = world_encoder(shape, mean, std, stem=stem, padding=padding)
        decoder = GroupDecoder(shape["width"], dict.fromkeys(names, table),
                               dict.fromkeys(names, 3 * shape["patch"] ** 2),
                               *(shape[f"decoder_{name}"] for name in ("width", "depth", "heads")),
                               embeddings=True)
        config = {"method": "mwm_views", "preset": preset, **shape, "whole": whole, "stem": stem,
                  "padding": padding, "scored": scored, "ratio": ratio, "target": target,
                  "mean": [float(m) for m in mean], "std": [float(s) for s in std]}
        return TwoViews(encoder, decoder, partial(view_mask, grid=grid, ratio=ratio, whole=whole),
                        target=TARGETS[target], scored=scored, config=config)
