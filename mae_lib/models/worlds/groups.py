"""Tokens of several groups side by side: their masks, and a decoder with a head for each group.

A group is what one head predicts: the patches of a frame or of one view, the reward, the console's
memory. Tokens are numbered through all groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor, nn

from mae_lib.models.encoder import Encoded, take
from mae_lib.models.losses import masked_mse
from mae_lib.models.masks import Mask, nothing_hidden, random_mask
from mae_lib.models.targets import TARGETS
from mae_lib.models.transformer import EPS, Block, initialise

SCORED = ("all", "hidden")


class GroupDecoder(nn.Module):
    """MAE's decoder over several groups; with one group it is that decoder.

    All groups share the mask token. The class token has position zero.

    Args:
        encoder_width: D of the encoder, which has a class token.
        positions: fixed, of the tokens of each group, ``[L, width]``.
        outputs: length of what is predicted for a token of each group.
        embeddings: add a learned vector to all tokens of a group.
    """

    def __init__(self, encoder_width: int, positions: Mapping[str, Tensor],
                 outputs: Mapping[str, int], width: int, depth: int, heads: int, *,
                 embeddings: bool = False):
        super().__init__()
        self.counts = {name: len(table) for name, table in positions.items()}
        self.embed = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        table = torch.cat([torch.zeros(1, width), *positions.values()])
        self.pos_embed = nn.Parameter(table[None], requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.heads = nn.ModuleDict({name: nn.Linear(width, outputs[name]) for name in positions})
        self.apply(initialise)
        nn.init.normal_(self.mask_token, std=0.02)
        self.group_embed = group_vectors(len(positions), width) if embeddings else None
        group = [torch.full([count], k) for k, count in enumerate(self.counts.values())]
        self.register_buffer("group", torch.cat(group), persistent=False)

    def forward(self, latent: Encoded, mask: Mask) -> dict[str, Tensor]:
        """What is predicted for every token, visible or hidden: ``{group: [B, L, outputs]}``."""
        x, table = self.embed(latent.tokens), self._positions()
        x = torch.cat([x[:, :1] + self.pos_embed[:, :1], x[:, 1:] + table[mask.visible],
                       self.mask_token + table[mask.hidden]], dim=1)
        for block in self.blocks:
            x = block(x)
        places = torch.cat([mask.visible, mask.hidden], dim=1).argsort(1)
        found = take(self.norm(x)[:, 1:], places).split(list(self.counts.values()), dim=1)
        return {name: head(tokens) for (name, head), tokens
                in zip(self.heads.items(), found, strict=True)}

    def _positions(self) -> Tensor:
        """Of all tokens but the class token, ``[T, width]``."""
        if self.group_embed is None:
            return self.pos_embed[0, 1:]
        return self.pos_embed[0, 1:] + self.group_embed[self.group]


def group_vectors(groups: int, width: int) -> nn.Parameter:
    """A learned vector for each group, ``[groups, width]``, at first normal with deviation .02."""
    return nn.Parameter(torch.empty(groups, width).normal_(std=0.02))


def part_mask(batch: int, grid: tuple[int, int], ratio: float, *,
              generator: torch.Generator | None = None) -> Mask:
    """A random mask of one group, of which 0 hides nothing and 1 hides all."""
    if ratio in (0, 1):
        visible, hidden = nothing_hidden(batch, grid)
        return Mask(hidden, visible) if ratio else Mask(visible, hidden)
    return random_mask(batch, grid, ratio, generator=generator)


def joined(masks: Sequence[Mask], counts: Sequence[int]) -> Mask:
    """One mask over the tokens of all groups, of which there are ``counts``, from a mask each."""
    starts = list(accumulate((0, *counts[:-1])))
    return Mask(*(torch.cat([part + start for part, start in zip(parts, starts, strict=True)], 1)
                  for parts in zip(*masks, strict=True)))


def scored_mse(prediction: Tensor, target: Tensor, mask: Mask, scored: str) -> Tensor:
    """Mean squared error over ``"all"`` tokens (MWM) or over the ``"hidden"`` ones (MAE).

    Args:
        prediction, target: of all tokens of a group, ``[B, L, n]``.
        mask: of that group.
    """
    if scored == "all":
        return (prediction - target).square().mean()
    return masked_mse(take(prediction, mask.hidden), take(target, mask.hidden), mask)


def check_options(target: str, scored: str, *ratios: float) -> None:
    """Raise ValueError unless target and ``scored`` are known and leave something to score."""
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}")
    if scored not in SCORED:
        raise ValueError(f"scored must be one of {', '.join(SCORED)}, got {scored!r}")
    if scored == "hidden" and 0 in ratios:
        raise ValueError("ratio must be above 0 where hidden tokens alone are scored, got 0")


def beside(method: nn.Module, values: np.ndarray | Tensor) -> Callable:
    """Where masks come from in :func:`mae_lib.training.pretrain.pretrain` if a method wants more
    than frames: ``(indices of frames, generator) -> masks`` with the rows of ``values`` that belong
    to these frames, rewards ``[N]`` or memory ``[N, 128]``."""
    rows = torch.as_tensor(values)
    return lambda index, generator: method.sample_mask(len(index), generator, rows[index])
