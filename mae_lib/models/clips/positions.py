"""Positions of tubelets: learned and separable (MAE-ST), or one fixed sinusoid (VideoMAE).

Both are modules that are called without arguments and give ``[1, L, D]``, tubelets in the order
(time, row, column), with a row for the class token in front if there is one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mae_lib.models.clips.tubelets import Grid
from mae_lib.models.patches import sincos_1d


class SeparablePositions(nn.Module):
    """One learned vector for the place plus one for the time (Feichtenhofer et al., section 3).

    Args:
        class_token: whether the class token has a vector of its own.
    """

    def __init__(self, width: int, grid: Grid, *, class_token: bool = True):
        super().__init__()
        self.space = nn.Parameter(torch.zeros(1, grid[1] * grid[2], width))
        self.time = nn.Parameter(torch.zeros(1, grid[0], width))
        self.cls = nn.Parameter(torch.zeros(1, 1, width)) if class_token else None
        for table in self.parameters():
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self) -> Tensor:
        """The sums, ``[1, L (+1), D]``."""
        table = (self.time[:, :, None] + self.space[:, None]).flatten(1, 2)
        return table if self.cls is None else torch.cat([self.cls, table], dim=1)


class SinusoidPositions(nn.Module):
    """Sine and cosine, interleaved, of a tubelet's number in the clip (VideoMAE's code).

    Fixed and computed in float64; time, row and column are not told apart.

    Raises:
        ValueError: an odd width.
    """

    def __init__(self, width: int, grid: Grid):
        super().__init__()
        if width % 2:
            raise ValueError(f"width must be even for sinusoids, got {width}")
        waves = sincos_1d(width, torch.arange(grid[0] * grid[1] * grid[2]))
        table = waves.unflatten(1, (2, -1)).transpose(1, 2).flatten(1)
        self.register_buffer("table", table.float()[None], persistent=False)

    def forward(self) -> Tensor:
        """The table, ``[1, L, D]``."""
        return self.table
