"""SiamMAE (Gupta et al., NeurIPS 2023): the future frame from a glimpse of it and from the past.

No official code exists; what the paper leaves open follows methods.md, section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mae_lib.models.clips.cross import PairDecoder, PairMask
from mae_lib.models.clips.presets import SIAM_MAE, seeded, shape_of
from mae_lib.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoded, Encoder, take
from mae_lib.models.losses import masked_mse
from mae_lib.models.masks import Mask, nothing_hidden, random_mask, visible_count
from mae_lib.models.patches import patch_grid
from mae_lib.models.targets import TARGETS


class SiamMAE(nn.Module):
    """Two frames through one encoder; of the future frame hidden patches are predicted.

    Args:
        encoder: of single frames.
        decoder: ``(past, future, drawn) -> [B, H, n]``.
        frames: of a clip.
        gap: fewest and most frames from past to future.
        ratio: share of the future frame's patches that are hidden.
        past_ratio: the same of the past frame: 0 shows it whole, ``ratio`` is the control with
            symmetric masks.
        target: ``[B, H, n] -> [B, H, n]``, what is to be predicted, from standardised patches.
        config: JSON-able settings from which the same model can be built again.

    Raises:
        ValueError: fewer than two frames; a gap that no clip has; a ratio that cannot be met.
    """

    def __init__(self, encoder: Encoder, decoder: PairDecoder, *, frames: int,
                 gap: tuple[int, int], ratio: float = 0.95, past_ratio: float = 0.0,
                 target: Callable[[Tensor], Tensor], config: dict | None = None):
        super().__init__()
        _check_gap(frames, gap)
        for share in (ratio, past_ratio) if past_ratio else (ratio,):
            visible_count(encoder.grid[0] * encoder.grid[1], share)
        self.encoder, self.decoder, self.target = encoder, decoder, target
        self.frames, self.gap, self.ratio, self.past_ratio = frames, gap, ratio, past_ratio
        self.config = dict(config or {})

    def sample_mask(self, batch: int, generator: torch.Generator | None = None) -> PairMask:
        """Frames and masks for a batch, on the CPU."""
        grid = self.encoder.grid
        future = random_mask(batch, grid, self.ratio, generator=generator)
        past = (random_mask(batch, grid, self.past_ratio, generator=generator) if self.past_ratio
                else nothing_hidden(batch, grid))
        return PairMask(*future, past.visible,
                        *frame_pairs(batch, self.frames, self.gap, generator=generator))

    def forward(self, clips: Tensor, drawn: PairMask) -> Tensor:
        """The training loss (a scalar) of clips ``[B,3,T,H,W]`` in [0, 1]."""
        past, future = self._frames(clips, drawn)
        hidden = take(self.encoder.patches(future), drawn.hidden)
        prediction = self.decoder(*self._encode(past, future, drawn), drawn)
        return masked_mse(prediction, self.target(hidden), Mask(drawn.visible, drawn.hidden))

    def predict(self, clips: Tensor, drawn: PairMask) -> Tensor:
        """Predicted patches ``[B, L, n]`` of the future frame in units of the target, visible
        patches included."""
        return self.decoder.everywhere(*self._encode(*self._frames(clips, drawn), drawn), drawn)

    def _frames(self, clips: Tensor, drawn: PairMask) -> tuple[Tensor, Tensor]:
        if clips.ndim != 5 or clips.shape[2] != self.frames:
            raise ValueError(f"clips must have shape [B,3,{self.frames},{self.encoder.size[0]},"
                             f"{self.encoder.size[1]}], got {list(clips.shape)}")
        return frame_at(clips, drawn.first), frame_at(clips, drawn.second)

    def _encode(self, past: Tensor, future: Tensor, drawn: PairMask) -> tuple[Encoded, Encoded]:
        return self.encoder(past, drawn.shown), self.encoder(future, drawn.visible)


def frame_pairs(batch: int, frames: int, gap: tuple[int, int], *,
                generator: torch.Generator | None = None,
                noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Numbers ``[B]`` of a past and a future frame: first the gap uniform, then the past frame.

    Args:
        gap: fewest and most frames between them, both may occur.
        noise: ``[B, 2]``, of gap and past frame. Drawn if not given.

    Raises:
        ValueError: fewer than two frames; a gap that no clip has; noise of another shape.
    """
    _check_gap(frames, gap)
    if noise is None:
        noise = torch.rand(batch, 2, generator=generator)
    if tuple(noise.shape) != (batch, 2):
        raise ValueError(f"noise must have shape [{batch},2], got {list(noise.shape)}")
    apart = gap[0] + (noise[:, 0] * (gap[1] - gap[0] + 1)).long()
    first = (noise[:, 1] * (frames - apart)).long()
    return first, first + apart


def frame_at(clips: Tensor, index: Tensor) -> Tensor:
    """One frame of each clip: ``[B,3,H,W]`` of ``[B,3,T,H,W]`` at ``index [B]``."""
    shape = (-1, clips.shape[1], 1, *clips.shape[3:])
    return clips.gather(2, index[:, None, None, None, None].expand(shape)).squeeze(2)


def siam_mae(preset: str = "vit_small_patch16", *, decoder: str = "cross-self",
             ratio: float = 0.95, past_ratio: float = 0.0, target: str = "normalised",
             past_positions: bool = True, seed: int | None = None,
             mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD,
             **overrides) -> SiamMAE:
    """SiamMAE with its networks.

    Args:
        preset: a key of :data:`mae_lib.models.clips.presets.SIAM_MAE`.
        decoder: ``"cross-self"``, ``"cross"`` or ``"joint"``, see
            :mod:`mae_lib.models.clips.cross`.
        ratio, past_ratio: see :class:`SiamMAE`.
        target: ``"pixel"`` or ``"normalised"`` (per-patch normalised pixels).
        past_positions: see :class:`mae_lib.models.clips.cross.PairDecoder`.
        seed: of the initial weights; the global generator if None.
        mean, std: standardisation of each channel, in [0, 1] units.
        overrides: any of size, frames, gap, patch, width, depth, heads, decoder_width,
            decoder_depth, decoder_heads. Gap: fewest and most frames between the two.

    Raises:
        ValueError: unknown preset, decoder, target or override; fewer than two frames; a gap that
            no clip has; sides that do not divide; a ratio that cannot be met.
    """
    shape = shape_of(SIAM_MAE, preset, overrides)
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}")
    grid = patch_grid(shape["size"], shape["patch"])
    gap = tuple(shape["gap"] or (1, shape["frames"] - 1))
    with seeded(seed):
        encoder = Encoder(shape["size"], shape["patch"], shape["width"], shape["depth"],
                          shape["heads"], mean=mean, std=std)
        network = PairDecoder(shape["width"], grid, 3 * shape["patch"] ** 2,
                              shape["decoder_width"], shape["decoder_depth"],
                              shape["decoder_heads"], kind=decoder, past_positions=past_positions)
    config = {"method": "siam_mae", "preset": preset, **shape, "gap": list(gap),
              "decoder": decoder, "ratio": ratio, "past_ratio": past_ratio, "target": target,
              "past_positions": past_positions, "mean": [float(m) for m in mean],
              "std": [float(s) for s in std]}
    return SiamMAE(encoder, network, frames=shape["frames"], gap=gap, ratio=ratio,
                   past_ratio=past_ratio, target=TARGETS[target], config=config)


def _check_gap(frames: int, gap: tuple[int, int]) -> None:
    if frames < 2:
        raise ValueError(f"frames must be at least 2, a past and a future one, got {frames}")
    if not 0 <= gap[0] <= gap[1] < frames:
        raise ValueError(f"gap must lie in 0..{frames - 1}, fewest first, for clips of {frames} "
                         f"frames, got {tuple(gap)}")
