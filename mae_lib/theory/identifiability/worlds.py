"""Worlds with known c, s_m and s_mc, from which x_m and x_mc are mixed invertibly."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

DIM = 2  # of c, s_m and s_mc each
SLOPE = 0.3  # of the leaky ReLU between mixing layers
WORLDS = ("leaky", "linear", "s_m on c", "s_m on s_mc", "mean zero", "biased sign", "half of c")


class Sample(NamedTuple):
    """Latents and the two parts of an observation, each ``[n, dimension]``."""

    c: Tensor
    s_m: Tensor
    s_mc: Tensor
    x_m: Tensor
    x_mc: Tensor


World = Callable[[int, torch.Generator], Sample]


def world(name: str, seed: int) -> World:
    """A world by name; its mixing functions are drawn from ``seed``.

    ``leaky``: c and s_m standard normal, s_mc depends on c, three leaky-ReLU layers each side;
    ``linear``: one linear layer instead; ``s_m on c`` and ``s_m on s_mc``: s_m depends on them;
    ``mean zero``: x_m = (c s, s) with s of random sign, so that E[x_m | c] = 0; ``biased sign``:
    the sign is positive three times out of four; ``half of c``: x_mc holds one coordinate of c
    only.

    Raises:
        ValueError: another name.
    """
    generator = torch.Generator().manual_seed(seed)
    if name not in WORLDS:
        raise ValueError(f"name must be one of {', '.join(WORLDS)}, got {name!r}")
    layers = 1 if name == "linear" else 3
    mix_m, mix_mc = (mixing(2 * DIM, layers, generator) for _ in range(2))
    pull, push = torch.randn(2, DIM, DIM, generator=generator)

    def sample(n: int, rng: torch.Generator) -> Sample:
        c, noise_m, noise_mc, other = torch.randn(4, n, DIM, generator=rng)
        s_mc = noise_mc if name == "half of c" else _depending(c, pull, noise_mc)
        s_m, x_m = noise_m, None
        if name in ("s_m on c", "s_m on s_mc"):
            s_m = _depending(c if name == "s_m on c" else s_mc, push, noise_m)
        elif name in ("mean zero", "biased sign"):
            positive = 0.5 if name == "mean zero" else 0.75
            sign = 1 - 2 * (torch.rand(n, DIM, generator=rng) > positive).float()
            s_m = sign * (1 + 0.3 * noise_m.abs())
            x_m = torch.cat([c * s_m, s_m], 1)
        seen = torch.stack([c[:, 0], other[:, 0]], 1) if name == "half of c" else c
        return Sample(c, s_m, s_mc, mix_m(torch.cat([c, s_m], 1)) if x_m is None else x_m,
                      mix_mc(torch.cat([seen, s_mc], 1)))

    return sample


def _depending(on: Tensor, through: Tensor, noise: Tensor) -> Tensor:
    """A variable of about unit variance that depends on another."""
    return 0.7 * 1.4 * torch.tanh(on @ through) + 0.71 * noise


def mixing(size: int, layers: int, rng: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Square layers, each orthogonal times scales in [0.7, 1.3], leaky ReLU between: invertible."""
    matrices = []
    for _ in range(layers):
        rotation, _ = torch.linalg.qr(torch.randn(size, size, generator=rng))
        matrices.append(rotation * (0.7 + 0.6 * torch.rand(size, generator=rng)))

    def mix(x: Tensor) -> Tensor:
        for k, matrix in enumerate(matrices):
            x = (torch.nn.functional.leaky_relu(x, SLOPE) if k else x) @ matrix
        return x

    return mix
