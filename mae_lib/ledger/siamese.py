"""The verdict on equations 3 to 8 of Kong and Zhang (CVPR 2023): MAE's loss as that of a siamese
network, and R-MAE's loss as a bound on it.

All errors are means over the numbers of the patches in one region, where the paper has sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mae_lib.ledger.verdicts import Verdict, exact, weakest
from mae_lib.models.masks import mask_from_order, random_mask
from mae_lib.models.methods import MaskedAutoencoder, mae
from mae_lib.models.siamese import RMAE, SECOND, TwoMasks, region_error

TOLERANCE = 1e-10
SMALL = {"size": 16, "width": 16, "depth": 1, "heads": 2, "decoder_width": 8, "decoder_depth": 1,
         "decoder_heads": 2}
RATIOS = (0.25, 0.5, 0.75)
IMAGES, PATCHES, LENGTH = 4, 16, 12


class Terms(NamedTuple):
    """The three errors that equations 3 to 8 consist of, all over the same patches.

    ``mae``: of the first decoding against the picture (equation 3); ``distance``: of both decodings
    (equations 5 and 7); ``residual``: of the second decoding against the picture (the constraint of
    equation 7).
    """

    mae: float
    distance: float
    residual: float

    def relaxed(self, weight: float) -> float:
        """R-MAE's loss at lambda ``weight`` (equation 8)."""
        return self.distance + weight * self.residual

    def bound(self, weight: float) -> float:
        """What R-MAE's loss says MAE's is at most: (1 + 1/lambda) times it, nothing at 0.

        For vectors a and b ``|a + b|^2 <= (1 + 1/l) (|a|^2 + l |b|^2)``, with equality where
        a = l b; here a is the difference of the decodings, b that of the second and the picture.
        """
        return (1 + 1 / weight) * self.relaxed(weight) if weight else float("inf")


class Case(NamedTuple):
    """One draw: ``solved``, with a second decoder that meets the constraint of equation 7; and
    R-MAE's loss ``relaxed`` at lambda ``weight`` beside ``mae``, MAE's over the same patches."""

    solved: Terms
    mae: float
    relaxed: float
    weight: float


def terms(one: Tensor, two: Tensor, target: Tensor, region: Tensor) -> Terms:
    """The errors of two decodings of the same pictures.

    Args:
        one, two, target: ``[B, L, n]``, from what T1 shows, from what T2 shows, and the picture.
        region: ``[B, L]``, 1 for patches that count.
    """
    pairs = (one, target), (one, two), (two, target)
    return Terms(*(float(region_error(a, b, region)) for a, b in pairs))


def equations_hold(draws: int, seed: int) -> Verdict:
    """O-5: where the constraint is met equation 7 is equation 3, to 1e-10; and MAE's loss is at
    most (1 + 1/lambda) times R-MAE's, for random networks and for random predictions."""
    found = list(cases(draws, seed))
    apart = [abs(c.solved.distance - c.solved.mae) for c in found]
    above = [c.mae - (1 + 1 / c.weight) * c.relaxed for c in found]
    return weakest({name: exact(int((np.array(part) > TOLERANCE).sum()), len(part))
                    for name, part in (("equation 7 is equation 3", apart),
                                       ("bound by R-MAE", above))})


def cases(draws: int, seed: int) -> Iterator[Case]:
    """For each draw a network with random weights and a set of random predictions, in float64.

    Lambda lies between a thousandth and a thousand; a quarter to three quarters of the patches are
    hidden; the second view is each of those that R-MAE knows.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    network = mae("toy", seed=seed, **SMALL).double().requires_grad_(False)
    for _ in range(draws):
        yield _of_network(network, _weight(rng), rng, generator)
        yield _of_predictions(_weight(rng), rng, generator)


def _weight(rng: np.random.Generator) -> float:
    return float(10 ** rng.uniform(-3, 3))


def _of_network(network: MaskedAutoencoder, weight: float, rng: np.random.Generator,
                generator: torch.Generator) -> Case:
    """Random weights and images; the constraint is met by a linear decoder of more numbers than
    there are images, which least squares can give no residual."""
    _redraw(network, float(rng.uniform(0.1, 0.5)), generator)
    network.sampler = partial(random_mask, grid=network.encoder.grid,
                              ratio=float(rng.choice(RATIOS)))
    siamese = RMAE(network, str(rng.choice(SECOND)), weight)
    x = torch.rand(IMAGES, 3, SMALL["size"], SMALL["size"], dtype=torch.float64,
                   generator=generator)
    masks = siamese.sample_mask(IMAGES, generator)
    one, target = network.predict(x, masks.first), network.target(network.encoder.patches(x))
    solved = terms(one, _solved(network, x, masks, target), target, masks.first.binary())
    bounded = region_error(one, target, masks.compared)
    return Case(solved, float(bounded), float(siamese(x, masks)), weight)


def _of_predictions(weight: float, rng: np.random.Generator, generator: torch.Generator) -> Case:
    """Random numbers in the place of predictions; often the bound is all but met."""
    draw = partial(torch.randn, IMAGES, PATCHES, LENGTH, dtype=torch.float64, generator=generator)
    target, one = draw(), 10 ** float(rng.uniform(-1, 1)) * draw()
    order = torch.rand(IMAGES, PATCHES, generator=generator).argsort(1)
    region = mask_from_order(order, int(rng.integers(1, PATCHES))).binary()
    exactly = torch.where(region[..., None] > 0, target, draw())  # outside it may say anything
    tight = (one + weight * target) / (1 + weight)
    found = terms(one, tight + float(rng.choice([0, 1e-6, 1e-2, 1])) * draw(), target, region)
    return Case(terms(one, exactly, target, region), found.mae, found.relaxed(weight), weight)


def _redraw(network: MaskedAutoencoder, scale: float, generator: torch.Generator) -> None:
    """New weights, all normal; fixed positions stay."""
    for name, parameter in network.named_parameters():
        if not name.endswith("pos_embed"):
            parameter.normal_(0, scale, generator=generator)


def _solved(network: MaskedAutoencoder, images: Tensor, masks: TwoMasks, target: Tensor) -> Tensor:
    """What the linear decoder of least error says after T2, the complement of T1: ``[B, L, n]``."""
    hidden = masks.first.hidden
    codes = network.encoder(images, hidden).patches.flatten(1)
    return (codes @ torch.linalg.lstsq(codes, target.flatten(1)).solution).view_as(target)
