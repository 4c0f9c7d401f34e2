"""Masked autoencoders without images: an encoder of x_mc, a decoder of x_m, and three losses."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from mae_lib.theory.identifiability.worlds import DIM, World

WIDTH, BATCH, RATE = 64, 512, 2e-3
LOSSES = ("mse", "energy", "invertible")
SEES = ("code", "magnitude", "projection")


class Estimator(nn.Module):
    """Encoder and decoder of a code of ``size`` numbers.

    Args:
        inputs, outputs: dimensions of x_mc and x_m.
        loss: ``"mse"``: squared error, a decoder of the code alone; ``"energy"``: the decoder takes
            random numbers too and is to match the law of x_m given x_mc; ``"invertible"``: the
            same with coupling flows on both sides, so that Assumption 2 holds by construction.
        sees: what of the code reaches the decoder: all, its magnitude, or its first coordinate.
    """

    def __init__(self, inputs: int, outputs: int, size: int, loss: str, sees: str = "code"):
        super().__init__()
        if loss not in LOSSES or sees not in SEES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)} and sees one of "
                             f"{', '.join(SEES)}, got {loss!r} and {sees!r}")
        self.size, self.loss_name, self.sees = size, loss, sees
        self.random = 0 if loss == "mse" else (outputs - size if loss == "invertible" else DIM)
        if loss == "invertible":
            self.encoder, self.decoder = Flow(inputs), Flow(outputs)
        else:
            self.encoder, self.decoder = mlp(inputs, size), mlp(size + self.random, outputs)

    def encode(self, x_mc: Tensor) -> Tensor:
        """The code ``[n, size]``."""
        return self.encoder(x_mc)[:, :self.size]

    def decode(self, code: Tensor, rng: torch.Generator) -> Tensor:
        """One draw of x_m for each code."""
        if self.sees == "magnitude":
            code = code.abs()
        elif self.sees == "projection":
            code = code * (torch.arange(self.size) == 0)
        noise = torch.randn(len(code), self.random, generator=rng)
        return self.decoder(torch.cat([code, noise], 1))

    def loss(self, x_m: Tensor, x_mc: Tensor, rng: torch.Generator) -> Tensor:
        """Squared error, or the energy score, whose minimum is the true conditional law."""
        code = self.encode(x_mc)
        one = self.decode(code, rng)
        if self.loss_name == "mse":
            return (one - x_m).square().sum(1).mean()
        other = self.decode(code, rng)
        near = _length(x_m - one) + _length(x_m - other) - _length(one - other)
        return near.mean() / 2


class Flow(nn.Module):
    """Four affine coupling layers with fixed rotations between them: invertible."""

    def __init__(self, size: int, depth: int = 4):
        super().__init__()
        self.half = size // 2
        self.conditions = nn.ModuleList(mlp(self.half, 2 * (size - self.half))
                                        for _ in range(depth))
        rotations = torch.linalg.qr(torch.randn(depth, size, size)).Q
        self.register_buffer("rotations", rotations)

    def forward(self, x: Tensor) -> Tensor:
        for rotation, condition in zip(self.rotations, self.conditions, strict=True):
            fixed, moved = (x @ rotation).split([self.half, x.shape[1] - self.half], 1)
            scale, shift = condition(fixed).chunk(2, 1)
            x = torch.cat([fixed, moved * torch.exp(torch.tanh(scale)) + shift], 1)
        return x


def mlp(inputs: int, outputs: int) -> nn.Sequential:
    """Two hidden layers."""
    sizes = [inputs, WIDTH, WIDTH, outputs]
    layers = [layer for a, b in itertools.pairwise(sizes)
              for layer in (nn.Linear(a, b), nn.LeakyReLU(0.1))]
    return nn.Sequential(*layers[:-1])


def fit(estimator: Estimator, world: World, steps: int, seed: int) -> list[float]:
    """Train in place on fresh samples, Adam and a cosine; the loss of every step."""
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(estimator.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        sample = world(BATCH, rng)
        loss = estimator.loss(sample.x_m, sample.x_mc, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def _length(x: Tensor) -> Tensor:
    return (x.square().sum(1) + 1e-12).sqrt()
