"""What MAE-ST and VideoMAE have to predict for a hidden tubelet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mae_lib.models.losses import masked_mse
from mae_lib.models.masks import Mask

EPS = 1e-6


class ChannelNormalised(nn.Module):
    """VideoMAE's target: each channel of a tubelet less its mean, over its standard deviation.

    Mean and unbiased deviation run over the pixels of one tubelet in [0, 1]; 1e-6 is added to the
    deviation, outside the root.

    Args:
        std: by which the encoder standardises each channel.
    """

    def __init__(self, std: Sequence[float]):
        super().__init__()
        self.register_buffer("eps", EPS / torch.tensor(std), persistent=False)

    def forward(self, patches: Tensor) -> Tensor:
        """``[B, H, n]`` to ``[B, H, n]``, the channel fastest, from standardised pixels."""
        cells = patches.unflatten(-1, (-1, 3))
        centred = cells - cells.mean(-2, keepdim=True)
        variance = centred.square().sum(-2, keepdim=True) / (cells.shape[-2] - 1)
        return (centred / (variance.sqrt() + self.eps)).flatten(-2)


def predicted_frames(frames: int, slices: int) -> list[int]:
    """The frames that MAE-ST predicts, one a time slice: evenly spread from the first to the last.

    ``floor(linspace(0, frames - 1, slices))`` without rounding: of 16 frames and 8 slices
    0, 2, 4, 6, 8, 10, 12 and 15.
    """
    return [i * (frames - 1) // max(slices - 1, 1) for i in range(slices)]


class OneFrameLoss(nn.Module):
    """MAE-ST's loss: squared error over one frame of each hidden tubelet.

    Which frame it is depends on the time slice, and so on the mask, which a target does not see.

    Args:
        frames: of a clip.
        grid: time slices, rows and columns of tubelets.
        target: ``[B, H, n] -> [B, H, n]``, from the standardised pixels of that frame.
    """

    def __init__(self, frames: int, grid: tuple[int, int, int],
                 target: Callable[[Tensor], Tensor]):
        super().__init__()
        self.time, self.places, self.target = frames // grid[0], grid[1] * grid[2], target
        chosen = torch.tensor(predicted_frames(frames, grid[0]))
        self.register_buffer("offset", chosen % self.time, persistent=False)

    def forward(self, prediction: Tensor, tubes: Tensor, mask: Mask) -> Tensor:
        """Args:
            prediction: of one frame, ``[B, H, n]``.
            tubes: hidden tubelets, ``[B, H, time * n]``.
        """
        return masked_mse(prediction, self.target(self.frame_of(tubes, mask.hidden)), mask)

    def frame_of(self, tubes: Tensor, index: Tensor) -> Tensor:
        """The predicted frame ``[B, H, n]`` of the tubelets ``index [B, H]``."""
        cells = tubes.unflatten(-1, (self.time, -1))
        offset = self.offset[index // self.places][..., None, None]
        return cells.gather(2, offset.expand(-1, -1, 1, cells.shape[-1])).squeeze(2)
