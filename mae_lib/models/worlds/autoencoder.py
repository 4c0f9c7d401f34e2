"""MWM's autoencoder (Seo et al., CoRL 2022): a frame and its reward from masked features.

After the official code, mwm/common/mae.py; sizes and options are those of methods.md, section 6.1.
Optimiser and schedule are not part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mae_lib.models.clips.presets import seeded, shape_of
from mae_lib.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder
from mae_lib.models.masks import Mask, visible_count
from mae_lib.models.patches import patch_grid, sincos_2d
from mae_lib.models.targets import TARGETS
from mae_lib.models.worlds.groups import (
    GroupDecoder,
    check_options,
    joined,
    part_mask,
    scored_mse,
)
from mae_lib.models.worlds.presets import WORLDS
from mae_lib.models.worlds.stem import mask_features, world_encoder


class Rewarded(NamedTuple):
    """Indices of visible ``[B, K]`` and hidden ``[B, H]`` tokens, and points ``[B]``."""

    visible: Tensor
    hidden: Tensor
    rewards: Tensor


class WorldAutoencoder(nn.Module):
    """Hide features of a frame, predict its patches and, from one more token, the reward.

    The reward's token is a mask token that is always there. The loss is the error of the patches
    plus that of the reward, which is predicted as :func:`symlog`.

    Args:
        encoder: with a stem or without one; what it makes of a frame is masked.
        decoder: of the group ``"frame"`` and, if the reward is wanted, ``"reward"``.
        sampler: ``(batch, generator) -> Mask``.
        target: ``[B, L, n] -> [B, L, n]``, what is to be predicted, from standardised patches.
        scored: ``"all"`` patches (MWM) or ``"hidden"`` ones.
        config: JSON-able settings from which the same model can be built again.
    """

    def __init__(self, encoder: Encoder, decoder: GroupDecoder, sampler: Callable[..., Mask], *,
                 target: Callable[[Tensor], Tensor], scored: str = "all",
                 config: dict | None = None):
        super().__init__()
        self.encoder, self.decoder, self.sampler = encoder, decoder, sampler
        self.target, self.scored, self.config = target, scored, dict(config or {})

    def sample_mask(self, batch: int, generator: torch.Generator | None = None,
                    rewards: Tensor | None = None) -> Mask | Rewarded:
        """Masks for a batch, on the CPU, beside rewards ``[B]`` if given."""
        mask = self.sampler(batch, generator=generator)
        if rewards is None:
            return mask
        if tuple(rewards.shape) != (batch,):
            raise ValueError(f"rewards must have shape [{batch}], got {list(rewards.shape)}")
        return Rewarded(*mask, rewards)

    def forward(self, images: Tensor, drawn: Mask | Rewarded) -> Tensor:
        """The training loss (a scalar) of images ``[B,3,H,W]`` in [0, 1]."""
        patches, mask = self.encoder.patches(images), Mask(*drawn[:2])
        found = self._decoded(patches, mask)
        loss = scored_mse(found["frame"], self.target(patches), mask, self.scored)
        if "reward" not in found:
            return loss
        if not hasattr(drawn, "rewards"):
            raise ValueError("drawn must hold the rewards that a model with reward=True predicts, "
                             "got a mask alone; see mae_lib.models.worlds.groups.beside")
        return loss + (found["reward"].flatten() - symlog(drawn.rewards.to(loss))).square().mean()

    def predict(self, images: Tensor, drawn: Mask | Rewarded) -> Tensor:
        """Predicted patch vectors ``[B, L, n]`` in units of the target, visible ones included."""
        return self._decoded(self.encoder.patches(images), Mask(*drawn[:2]))["frame"]

    def predict_reward(self, images: Tensor, drawn: Mask | Rewarded) -> Tensor:
        """Predicted points ``[B]``.

        Raises:
            ValueError: a model without a reward token.
        """
        if "reward" not in self.decoder.counts:
            raise ValueError("reward must be True for a model that predicts points, got False")
        found = self._decoded(self.encoder.patches(images), Mask(*drawn[:2]))
        return symexp(found["reward"].flatten())

    def _decoded(self, patches: Tensor, mask: Mask) -> dict[str, Tensor]:
        latent = self.encoder.encode(mask_features(self.encoder, patches, mask))
        if "reward" in self.decoder.counts:
            nobody = torch.zeros(len(patches), 1, dtype=torch.long, device=patches.device)
            mask = joined([mask, Mask(nobody[:, :0], nobody)], list(self.decoder.counts.values()))
        return self.decoder(latent, mask)


def symlog(x: Tensor) -> Tensor:
    """``sign(x) log(1 + |x|)``."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """The inverse of :func:`symlog`."""
    return x.sign() * x.abs().expm1()


def cropped_positions(width: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Fixed positions of a grid ``[L, width]`` and of one more token ``[1, width]``, cut out of a
    grid with one more row and column, whose last cell is the token's."""
    table = sincos_2d(width, (grid[0] + 1, grid[1] + 1), class_token=False)
    cells = table[0].unflatten(0, (grid[0] + 1, grid[1] + 1))
    return cells[:-1, :-1].flatten(0, 1), cells[-1, -1:]


def mwm(preset: str = "mwm", *, stem: bool = True, padding: str = "zeros", reward: bool = True,
        scored: str = "all", ratio: float = 0.75, target: str = "pixel", seed: int | None = None,
        mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD,
        **overrides: int) -> WorldAutoencoder:
    """MWM's autoencoder with its networks.

    Args:
        preset: a key of :data:`mae_lib.models.worlds.presets.WORLDS`.
        stem: convolutions; a patch projection otherwise, with which this is MAE.
        padding: of the stem, see :class:`mae_lib.models.worlds.stem.Stem`.
        reward: predict the reward, too. Training then needs rewards beside the masks, see
            :func:`mae_lib.models.worlds.groups.beside`.
        scored: ``"all"`` patches in the loss or ``"hidden"`` ones.
        ratio: share of tokens that are hidden in training; 0 hides none.
        target: ``"pixel"`` or ``"normalised"`` (per-patch normalised pixels).
        seed: of the initial weights; the global generator if None.
        mean, std: standardisation of each channel, in [0, 1] units.
        overrides: any of size, patch, width, depth, heads, decoder_width, decoder_depth,
            decoder_heads.

    Raises:
        ValueError: unknown preset, padding, scored, target or override; sides or widths that do not
            divide; a ratio that cannot be met, or that hides nothing where that alone is scored.
    """
    shape = shape_of(WORLDS, preset, overrides)
    grid = patch_grid(shape["size"], shape["patch"])
    check_options(target, scored, ratio)
    if ratio:
        visible_count(grid[0] * grid[1], ratio)  # refuse what cannot be met before training
    cells, last = cropped_positions(shape["decoder_width"], grid)
    groups = {"frame": cells, "reward": last} if reward else {"frame": cells}
    with seeded(seed):
        encoder = world_encoder(shape, mean, std, stem=stem, padding=padding)
        decoder = GroupDecoder(shape["width"], groups,
                               {"frame": 3 * shape["patch"] ** 2, "reward": 1},
                               *(shape[f"decoder_{name}"] for name in ("width", "depth", "heads")))
    config = {"method": "mwm", "preset": preset, **shape, "stem": stem, "padding": padding,
              "reward": reward, "scored": scored, "ratio": ratio, "target": target,
              "mean": [float(m) for m in mean], "std": [float(s) for s in std]}
    return WorldAutoencoder(encoder, decoder, partial(part_mask, grid=grid, ratio=ratio),
                            target=TARGETS[target], scored=scored, config=config)
