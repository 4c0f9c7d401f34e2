"""U-MAE (Zhang et al., NeurIPS 2022): MAE with a term that keeps the features of images apart.

MAE's loss alone allows features that are nearly the same for all images. The added term is the mean
squared cosine between them; two other measures of how evenly they are spread stand beside it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae_lib.models.encoder import Encoded, take
from mae_lib.models.masks import Mask
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.models.transformer import EPS

WEIGHT = 0.01  # lambda of the official script; the option's own default is 0
FEATURES = ("class", "mean")
SHARPNESS = 2.0  # of the Gaussian potential: t of Wang and Isola


class UMAE(nn.Module):
    """MAE's loss plus ``weight`` times the uniformity of the features of the *masked* images.

    The official code also trains a linear classifier on these features, detached from the graph. It
    is left out: no gradient of it reaches the encoder, so that it changes nothing but a printed
    accuracy.

    The mean runs over the images of one forward pass, as the exact loss does in a single process
    and pass. Split over processes or passes, every part has a mean of its own, in which an image's
    cosine of 1 with itself weighs more.

    Args:
        autoencoder: whose encoder, decoder, sampler, target and loss are used; it is trained in
            place.
        weight: lambda, of the uniformity.
        feature: ``"class"`` token, or ``"mean"`` of the patch tokens that the encoder is shown.
        normed_twice: one more LayerNorm after the encoder's last, as released: for the class token
            the encoder's last itself, for the mean another one, with weights of its own.

    Raises:
        ValueError: a negative weight; unknown feature, or the class token of an encoder that has
            none.
    """

    def __init__(self, autoencoder: MaskedAutoencoder, weight: float = WEIGHT,
                 feature: str = "class", normed_twice: bool = True):
        super().__init__()
        if weight < 0:
            raise ValueError(f"weight must not be negative, got {weight}")
        if feature not in FEATURES:
            raise ValueError(f"feature must be one of {', '.join(FEATURES)}, got {feature!r}")
        if feature == "class" and autoencoder.encoder.cls_token is None:
            raise ValueError("feature must be 'mean' for an encoder without a class token, "
                             f"got {feature!r}")
        self.encoder, self.decoder = autoencoder.encoder, autoencoder.decoder
        self.sampler, self.show = autoencoder.sampler, autoencoder.show
        self.target, self.loss = autoencoder.target, autoencoder.loss
        self.weight, self.feature, self.normed_twice = weight, feature, normed_twice
        if feature == "mean" and normed_twice:
            self.fc_norm = nn.LayerNorm(self.encoder.width, eps=EPS)
        self.config = autoencoder.config
        self.variant = f"{weight=}, {feature=}, {normed_twice=}"

    def sample_mask(self, batch: int, generator: torch.Generator | None = None) -> Mask:
        """Masks for a batch, on the CPU."""
        return self.sampler(batch, generator=generator)

    def forward(self, images: Tensor, mask: Mask) -> Tensor:
        """The training loss (a scalar) of images ``[B,3,H,W]`` in [0, 1]."""
        patches = self.encoder.patches(images)
        latent = self._encode(patches, mask)
        wanted = self.target(take(patches, mask.hidden))
        error = self.loss(self.decoder(latent, mask), wanted, mask)
        return error + self.weight * uniformity(self._read(latent))

    def predict(self, images: Tensor, mask: Mask) -> Tensor:
        """As :meth:`mae_lib.models.methods.MaskedAutoencoder.predict`."""
        return self.decoder.everywhere(self._encode(self.encoder.patches(images), mask), mask)

    def features(self, images: Tensor, mask: Mask) -> Tensor:
        """What is kept apart, ``[B, D]``: features of the masked images, not of whole ones."""
        return self._read(self._encode(self.encoder.patches(images), mask))

    def _encode(self, patches: Tensor, mask: Mask) -> Encoded:
        return self.encoder.encode(self.show(self.encoder, patches, mask))

    def _read(self, latent: Encoded) -> Tensor:
        x = latent.cls if self.feature == "class" else latent.patches.mean(1)
        if not self.normed_twice:
            return x
        return self.encoder.norm(x) if self.feature == "class" else self.fc_norm(x)


def uniformity(features: Tensor) -> Tensor:
    """Mean squared cosine of all pairs of features ``[N, D]``, each with itself included.

    At least max(1/N, 1/D), at most 1, where all lie on one line (Zhang et al., equation of the loss
    and official code). In float32 at least, under autocast too: squares of small cosines would
    vanish in float16.

    Raises:
        ValueError: features of another shape, or none.
    """
    return _cosines(features, 1).square().mean()


def uniformity_of_others(features: Tensor) -> Tensor:
    """The same mean over pairs of different images: (N * uniformity - 1) / (N - 1).

    Raises:
        ValueError: fewer than two features.
    """
    cosines, count = _cosines(features, 2), len(features)
    return _without_itself(cosines, 0.0).square().sum() / (count * (count - 1))


def gaussian_uniformity(features: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """Log of the mean Gaussian potential exp(-t |u - v|^2) of pairs of different features of
    ``[N, D]``, brought to length 1 (Wang and Isola, ICML 2020).

    In [-4t, 0]; 0 where all are the same. Unlike the mean squared cosine it tells a feature from
    its opposite.

    Raises:
        ValueError: fewer than two features; ``sharpness`` t that is not above 0.
    """
    if sharpness <= 0:
        raise ValueError(f"sharpness must be above 0, got {sharpness}")
    cosines, count = _cosines(features, 2), len(features)
    exponents = _without_itself(2 * sharpness * (cosines - 1), -torch.inf)
    return exponents.flatten().logsumexp(0) - math.log(count * (count - 1))


def _cosines(features: Tensor, least: int) -> Tensor:
    """Gram matrix ``[N, N]`` of the features at length 1; those of length 0 stay 0."""
    if features.ndim != 2 or len(features) < least:
        raise ValueError(f"features must have shape [N,D] with N at least {least}, "
                         f"got {list(features.shape)}")
    with torch.autocast(features.device.type, enabled=False):
        exact = features.to(torch.promote_types(features.dtype, torch.float32))
        unit = F.normalize(exact, dim=1)
        return unit @ unit.T


def _without_itself(pairs: Tensor, filler: float) -> Tensor:
    """``[N, N]`` with another diagonal: to subtract it from a sum would cancel small terms."""
    itself = torch.eye(len(pairs), dtype=torch.bool, device=pairs.device)
    return pairs.masked_fill(itself, filler)
