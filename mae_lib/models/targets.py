"""What a masked autoencoder has to predict for a hidden patch."""

from __future__ import annotations

from torch import Tensor

EPS = 1e-6


def pixels(patches: Tensor) -> Tensor:
    """The standardised pixels of the patch itself, ``[B, L, n]``."""
    return patches


def normalised_pixels(patches: Tensor, eps: float = EPS) -> Tensor:
    """Pixels less the patch's mean, over its standard deviation (He et al., section 3).

    Mean and unbiased variance run over all values of one patch, channels together; ``eps`` stands
    inside the root. Flat patches blow up the target with the official 1e-6: a larger value tames
    them.
    """
    mean, variance = statistics(patches)
    return (patches - mean) / (variance + eps).sqrt()


def statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of each patch, both ``[B, L, 1]``."""
    mean = patches.mean(-1, keepdim=True)
    squares = (patches - mean).square().sum(-1, keepdim=True)
    return mean, squares / (patches.shape[-1] - 1)


TARGETS = {"pixel": pixels, "normalised": normalised_pixels}
