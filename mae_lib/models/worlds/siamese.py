"""SiamMAE in MWM style, as the talk by D. Kim names it: masks over features of the future frame.

The talk says "CNN output masking" and no more. Here both frames pass through MWM's stem, the past
one is seen whole, and of the future one's tokens 0.95 are dropped, 3 of 64 stay (methods.md, 6.3).
All else is SiamMAE.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mae_lib.models.clips.cross import PairDecoder, PairMask
from mae_lib.models.clips.presets import seeded, shape_of
from mae_lib.models.clips.siamese import SiamMAE, frame_at
from mae_lib.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoded, take
from mae_lib.models.losses import masked_mse
from mae_lib.models.masks import Mask
from mae_lib.models.patches import patch_grid
from mae_lib.models.targets import TARGETS
from mae_lib.models.worlds.presets import PAIRS
from mae_lib.models.worlds.stem import world_encoder


class FeatureSiamMAE(nn.Module):
    """SiamMAE whose masks cover what its encoder's stem makes of a frame.

    Args:
        base: whose networks, frames, masks and target are used; it is trained in place.
    """

    def __init__(self, base: SiamMAE):
        super().__init__()
        self.encoder, self.decoder = base.encoder, base.decoder
        self.target, self.frames, self.config = base.target, base.frames, base.config
        self._sample = base.sample_mask

    def sample_mask(self, batch: int, generator: torch.Generator | None = None) -> PairMask:
        """Frames and masks for a batch, on the CPU."""
        return self._sample(batch, generator)

    def forward(self, clips: Tensor, drawn: PairMask) -> Tensor:
        """The training loss (a scalar) of clips ``[B,3,T,H,W]`` in [0, 1]."""
        past, future = self._patches(clips, drawn)
        prediction = self.decoder(*self._encode(past, future, drawn), drawn)
        hidden = self.target(take(future, drawn.hidden))
        return masked_mse(prediction, hidden, Mask(drawn.visible, drawn.hidden))

    def predict(self, clips: Tensor, drawn: PairMask) -> Tensor:
        """Predicted patches ``[B, L, n]`` of the future frame in units of the target, visible
        patches included."""
        past, future = self._patches(clips, drawn)
        return self.decoder.everywhere(*self._encode(past, future, drawn), drawn)

    def _patches(self, clips: Tensor, drawn: PairMask) -> tuple[Tensor, Tensor]:
        if clips.ndim != 5 or clips.shape[2] != self.frames:
            raise ValueError(f"clips must have shape [B,3,{self.frames},{self.encoder.size[0]},"
                             f"{self.encoder.size[1]}], got {list(clips.shape)}")
        return tuple(self.encoder.patches(frame_at(clips, index))
                     for index in (drawn.first, drawn.second))

    def _encode(self, past: Tensor, future: Tensor, drawn: PairMask) -> tuple[Encoded, Encoded]:
        seen = ((past, drawn.shown), (future, drawn.visible))
        return tuple(self.encoder.encode(take(self.encoder.embed(patches), index))
                     for patches, index in seen)


def siam_mwm(preset: str = "mwm", *, stem: bool = True, padding: str = "zeros",
             decoder: str = "cross-self", ratio: float = 0.95, past_ratio: float = 0.0,
             target: str = "normalised", past_positions: bool = True, seed: int | None = None,
             mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD,
             **overrides) -> FeatureSiamMAE:
    """SiamMAE in MWM style with its networks.

    Args:
        preset: a key of :data:`mae_lib.models.worlds.presets.PAIRS`.
        stem, padding: see :func:`mae_lib.models.worlds.autoencoder.mwm`.
        overrides: any of size, frames, gap, patch, width, depth, heads, decoder_width,
            decoder_depth, decoder_heads. Gap: fewest and most frames between the two.

    All else, and errors, as in :func:`mae_lib.models.clips.siamese.siam_mae`.
    """
    shape = shape_of(PAIRS, preset, overrides)
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}")
    grid = patch_grid(shape["size"], shape["patch"])
    gap = tuple(shape["gap"] or (1, shape["frames"] - 1))
    with seeded(seed):
        encoder = world_encoder(shape, mean, std, stem=stem, padding=padding)
        network = PairDecoder(shape["width"], grid, 3 * shape["patch"] ** 2,
                              shape["decoder_width"], shape["decoder_depth"],
                              shape["decoder_heads"], kind=decoder, past_positions=past_positions)
    config = {"method": "siam_mwm", "preset": preset, **shape, "gap": list(gap), "stem": stem,
              "padding": padding, "decoder": decoder, "ratio": ratio, "past_ratio": past_ratio,
              "target": target, "past_positions": past_positions,
              "mean": [float(m) for m in mean], "std": [float(s) for s in std]}
    return FeatureSiamMAE(SiamMAE(encoder, network, frames=shape["frames"], gap=gap, ratio=ratio,
                                  past_ratio=past_ratio, target=TARGETS[target], config=config))
