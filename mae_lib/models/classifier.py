"""A vision transformer that names what it sees, on the encoder of a masked autoencoder."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mae_lib.models.encoder import Encoder
from mae_lib.models.transformer import EPS, Block

POOLS = ("mean", "cls")
HEAD_STD = 2e-5  # so small that the encoder hardly moves before the head has found its way


class Classifier(nn.Module):
    """A copy of an encoder, all of it to be trained, with a linear head (He et al., appendix A.1).

    Positions are trained as well, from the fixed ones. ``encoder`` itself stays as it is.

    Args:
        encoder: where to start from; trained or not.
        classes: number of logits.
        pool: ``"mean"`` of the patch tokens, with a LayerNorm of its own in place of the encoder's
            last; or ``"cls"``, the class token after the encoder's last LayerNorm.
        drop_path: chance to skip a branch of the last block, rising linearly from 0 at the first.
        seed: of the head; the global generator if None.

    Raises:
        ValueError: unknown pool; ``"cls"`` of an encoder without class token; a chance outside
            [0, 1); fewer than two classes.
    """

    def __init__(self, encoder: Encoder, classes: int, pool: str = "mean", *,
                 drop_path: float = 0.0, seed: int | None = None):
        super().__init__()
        _check(encoder, classes, pool, drop_path)
        self.pool, self.encoder = pool, copy.deepcopy(encoder)
        self.encoder.requires_grad_()
        self.fc_norm = nn.Identity()
        if pool == "mean":
            self.encoder.norm, self.fc_norm = nn.Identity(), nn.LayerNorm(encoder.width, eps=EPS)
        if drop_path:
            rates = torch.linspace(0, drop_path, encoder.depth).tolist()
            self.encoder.blocks = nn.ModuleList(map(StochasticBlock, self.encoder.blocks, rates))
        self.head = nn.Linear(encoder.width, classes)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        nn.init.trunc_normal_(self.head.weight, std=HEAD_STD, a=-2 * HEAD_STD, b=2 * HEAD_STD,
                              generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, classes]`` of images ``[B,3,H,W]`` in [0, 1]."""
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """What the head sees, ``[B, D]``."""
        encoded = self.encoder(images)
        return encoded.cls if self.pool == "cls" else self.fc_norm(encoded.patches.mean(1))


class StochasticBlock(nn.Module):
    """A block whose branches are skipped at random in training (Huang et al. 2016)."""

    def __init__(self, block: Block, rate: float):
        super().__init__()
        self.norm1, self.attn, self.rate = block.norm1, block.attn, rate
        self.norm2, self.mlp = block.norm2, block.mlp

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._sometimes(self.attn(self.norm1(x)))
        return x + self._sometimes(self.mlp(self.norm2(x)))

    def _sometimes(self, branch: Tensor) -> Tensor:
        """Zero for whole images, the others scaled so that the mean stays."""
        if not (self.training and self.rate):
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.rate
        return branch * kept / (1 - self.rate)


def _check(encoder: Encoder, classes: int, pool: str, drop_path: float) -> None:
    if pool not in POOLS:
        raise ValueError(f"pool must be one of {', '.join(POOLS)}, got {pool!r}")
    if pool == "cls" and encoder.cls_token is None:
        raise ValueError("pool must be 'mean' for an encoder without a class token, got 'cls'")
    if not 0 <= drop_path < 1:
        raise ValueError(f"drop_path must lie in [0, 1), got {drop_path}")
    if classes < 2:
        raise ValueError(f"classes must be at least 2, got {classes}")
