"""Methods of masked image modelling, each a short composition of the same parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from mae_lib.models.decoder import Decoder
from mae_lib.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoded, Encoder, take
from mae_lib.models.losses import masked_mse
from mae_lib.models.masks import (
    CUTS,
    Mask,
    block_mask,
    grid_mask,
    random_mask,
    unit_mask,
    visible_count,
)
from mae_lib.models.patches import patch_grid
from mae_lib.models.targets import TARGETS

# Widths, depths and heads: He et al. 2022 for the ViT family; the first two are ours.
_MAE_DECODER = {"decoder_width": 512, "decoder_depth": 8, "decoder_heads": 16}
PRESETS = {
    "toy": {"size": 32, "patch": 4, "width": 32, "depth": 2, "heads": 4,
            "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2},
    "laptop": {"size": 32, "patch": 4, "width": 96, "depth": 4, "heads": 3,
               "decoder_width": 48, "decoder_depth": 2, "decoder_heads": 3},
    "vit_small_patch16": {"patch": 16, "width": 384, "depth": 12, "heads": 6, **_MAE_DECODER},
    "vit_base_patch8": {"patch": 8, "width": 768, "depth": 12, "heads": 12, **_MAE_DECODER},
    "vit_base_patch16": {"patch": 16, "width": 768, "depth": 12, "heads": 12, **_MAE_DECODER},
    "vit_base_patch32": {"patch": 32, "width": 768, "depth": 12, "heads": 12, **_MAE_DECODER},
    "vit_large_patch16": {"patch": 16, "width": 1024, "depth": 24, "heads": 16, **_MAE_DECODER},
    "vit_huge_patch14": {"patch": 14, "width": 1280, "depth": 32, "heads": 16, **_MAE_DECODER},
}


SAMPLINGS = ("random", "block", "grid")
GRID_RATIO = 0.75


class MaskedAutoencoder(nn.Module):
    """Hide patches, encode the rest, predict a target for what was hidden.

    Args:
        encoder, decoder: the two networks.
        sampler: ``(batch, generator) -> Mask``.
        show: ``(encoder, patches, mask) -> tokens``, what the encoder sees of a masked image.
        target: ``[B, H, n] -> [B, H, n]``, what is to be predicted, from standardised patches.
        loss: ``(prediction, target, mask) -> scalar``, of the hidden patches ``[B, H, n]``.
        config: JSON-able settings from which the same model can be built again.
    """

    def __init__(self, encoder: Encoder, decoder: nn.Module, sampler: Callable[..., Mask], *,
                 show: Callable[[Encoder, Tensor, Mask], Tensor],
                 target: Callable[[Tensor], Tensor],
                 loss: Callable[[Tensor, Tensor, Mask], Tensor], config: dict | None = None):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.sampler, self.show, self.target, self.loss = sampler, show, target, loss
        self.config = dict(config or {})

    def sample_mask(self, batch: int, generator: torch.Generator | None = None) -> Mask:
        """Masks for a batch, on the CPU."""
        return self.sampler(batch, generator=generator)

    def forward(self, images: Tensor, mask: Mask) -> Tensor:
        """The training loss (a scalar) of images ``[B,3,H,W]`` in [0, 1]."""
        patches = self.encoder.patches(images)
        prediction = self.decoder(self._encode(patches, mask), mask)
        return self.loss(prediction, self.target(take(patches, mask.hidden)), mask)

    def predict(self, images: Tensor, mask: Mask) -> Tensor:
        """Predicted patch vectors ``[B, L, n]`` in units of the target, visible patches included.

        The mask may hide nothing: this is the read-out without masking of Kong et al., figure 5.
        """
        return self.decoder.everywhere(self._encode(self.encoder.patches(images), mask), mask)

    def _encode(self, patches: Tensor, mask: Mask) -> Encoded:
        return self.encoder.encode(self.show(self.encoder, patches, mask))


def drop_hidden(encoder: Encoder, patches: Tensor, mask: Mask) -> Tensor:
    """The encoder sees visible patches only, hidden ones are dropped (MAE)."""
    return encoder.embed(patches, mask.visible)


def mae(preset: str = "vit_base_patch16", *, ratio: float = 0.75, unit: int | None = None,
        cut: str = "official", sampling: str = "random", target: str = "pixel",
        seed: int | None = None,
        size: int | tuple[int, int] | None = None, mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD, **overrides: int) -> MaskedAutoencoder:
    """Masked autoencoder (He et al., CVPR 2022).

    Args:
        preset: a key of ``PRESETS``, from ``"toy"`` to ``"vit_huge_patch14"``.
        ratio: share of patches that are hidden in training.
        unit: side of a masking unit in pixels, a multiple of the patch; the patch if None.
        cut: what happens to the last masking unit, see :func:`mae_lib.models.masks.unit_mask`.
        sampling: ``"random"``, or ``"block"`` or ``"grid"``, which know no units (Table 1f).
        target: ``"pixel"`` or ``"normalised"`` (per-patch normalised pixels).
        seed: of the initial weights; the global generator if None.
        size: image side in pixels; the preset's, or 224.
        mean, std: standardisation of each channel, in [0, 1] units.
        overrides: any of patch, width, depth, heads, decoder_width, decoder_depth, decoder_heads.

    Raises:
        ValueError: unknown preset, sampling, target or override; ratio or unit that cannot be met.
    """
    shape = _shape(preset, size, overrides)
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}")
    grid = patch_grid(shape["size"], shape["patch"])
    sampler = _sampler(grid, shape["patch"], ratio, unit, cut, sampling)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        encoder, decoder = _networks(shape, grid, mean, std)
    config = {"preset": preset, **shape, "ratio": ratio, "unit": unit or shape["patch"],
              "cut": cut, "target": target, "mean": [float(m) for m in mean],
              "std": [float(s) for s in std]}
    if sampling != "random":
        config["sampling"] = sampling
    return MaskedAutoencoder(encoder, decoder, sampler, show=drop_hidden, target=TARGETS[target],
                             loss=masked_mse, config=config)


def _shape(preset: str, size, overrides: dict) -> dict:
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    shape = {"size": 224, **PRESETS[preset]}
    if unknown := set(overrides) - set(shape):
        raise ValueError(f"overrides must be among {', '.join(shape)}, "
                         f"got {', '.join(sorted(unknown))}")
    shape.update(overrides)
    return shape if size is None else {**shape, "size": size}


def _sampler(grid: tuple[int, int], patch: int, ratio: float, unit: int | None, cut: str,
             sampling: str):
    visible_count(grid[0] * grid[1], ratio)  # refuse a ratio that cannot be met before training
    for name, value, known in (("cut", cut, CUTS), ("sampling", sampling, SAMPLINGS)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    if sampling != "random":
        return _without_units(sampling, grid, patch, ratio, unit)
    if unit is None or unit == patch:
        return partial(random_mask, grid=grid, ratio=ratio)
    if unit < 1 or unit % patch:
        raise ValueError(f"unit must be a multiple of the patch ({patch} pixels), got {unit}")
    sampler = partial(unit_mask, grid=grid, ratio=ratio, unit=unit // patch, cut=cut)
    sampler(1, generator=torch.Generator())  # refuse a unit that cannot be met before training
    return sampler


def _without_units(sampling: str, grid: tuple[int, int], patch: int, ratio: float,
                   unit: int | None):
    if unit not in (None, patch):
        raise ValueError(f"unit must be the patch ({patch} pixels) for sampling {sampling!r}, "
                         f"got {unit}")
    if sampling == "block":
        return partial(block_mask, grid=grid, ratio=ratio)
    if ratio != GRID_RATIO:
        raise ValueError(f"ratio must be {GRID_RATIO} for sampling 'grid', got {ratio}")
    sampler = partial(grid_mask, grid=grid)
    sampler(1)  # refuse odd sides before training
    return sampler


def _networks(shape: dict, grid: tuple[int, int], mean, std) -> tuple[Encoder, Decoder]:
    encoder = Encoder(shape["size"], shape["patch"], shape["width"], shape["depth"],
                      shape["heads"], mean=mean, std=std)
    decoder = Decoder(shape["width"], grid, 3 * shape["patch"] ** 2, shape["decoder_width"],
                      shape["decoder_depth"], shape["decoder_heads"])
    return encoder, decoder
