"""Contrastive learning between two views: C-MAE (Kong and Zhang, CVPR 2023) and MoCo v3.

C-MAE keeps MAE's masks as the two views, T1 = what is visible and T2 = what is hidden, and replaces
the decoder by a comparison of features (equations 9 to 11). MoCo v3 (Chen et al., ICCV 2021) is the
same network with crops and colours as views and without masks, so that both are one class here; no
library's composes with steps that resume to the bit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae_lib.models.encoder import Encoded, Encoder
from mae_lib.models.masks import Mask, nothing_hidden
from mae_lib.models.methods import MaskedAutoencoder, drop_hidden
from mae_lib.models.simmim import MaskTokens
from mae_lib.models.transformer import initialise
from mae_lib.models.views import Augmentation, Drawn

TEMPERATURE, MOMENTUM = 0.2, 0.996
HIDDEN = 8 / 3  # of the heads, in encoder widths: 2048 for 768
PLACES = ("token", "class", "mean", "token and class")
COMPARISONS = ("infonce", "byol")


class Paired(NamedTuple):
    """A mask (the second view has its complement) and the numbers of two views of each image."""

    visible: Tensor
    hidden: Tensor
    crop: Tensor
    colour: Tensor
    rectangle: Tensor


class Contrastive(nn.Module):
    """An encoder that learns to tell the second view of an image from the first.

    The online encoder, projector and predictor look at one view; the target encoder and projector,
    moving averages without gradient, at the other.

    Args:
        base: its encoder, sampler and config are used; the encoder is trained in place.
        augment: of both views, drawn for each by itself.
        masked: the views are a mask and its complement; else both are whole.
        shown: ``"mask tokens"``, a learned token stands in for what is hidden, or ``"dropped"``.
        place: what is compared: ``"token"``, each patch token with that at its place; ``"class"``;
            ``"mean"`` of the patch tokens; ``"token and class"`` (Table 3).
        comparison: ``"infonce"``, or ``"byol"``, which needs no other images.
        symmetric: compare the other way round, too, and take the mean.
        scale: factor on the loss; 2 * temperature in MoCo v3.
        momentum: share of the old weights that the target keeps in a step.
        seed: of the heads' weights; the global generator if None.

    Raises:
        ValueError: an unknown word; tokens to compare that one of the views does not have; a
            momentum outside [0, 1]; a temperature that is not above 0.
    """

    def __init__(self, base: MaskedAutoencoder, augment: Augmentation, *, masked: bool = True,
                 shown: str = "mask tokens", place: str = "token", comparison: str = "infonce",
                 symmetric: bool = False, scale: float = 1.0, temperature: float = TEMPERATURE,
                 momentum: float = MOMENTUM, seed: int | None = None):
        super().__init__()
        _check(shown, place, comparison, masked, momentum, temperature)
        self.sampler, self.config, self.augment = base.sampler, base.config, augment
        self.masked, self.place, self.comparison = masked, place, comparison
        self.symmetric, self.scale = symmetric, scale
        self.temperature, self.momentum = temperature, momentum
        self.variant = (f"{comparison} of {place}, {shown}, {augment}, {masked=}, {symmetric=}, "
                        f"{scale=}, {temperature=}, {momentum=}")
        self.encoder = base.encoder
        width = self.encoder.width
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.default_generator.manual_seed(seed)
            self.show = _Dropped() if shown == "dropped" else MaskTokens(width)
            for parameter in self.show.parameters():
                nn.init.normal_(parameter, std=0.02)
            self.projector, self.predictor = (Head(width, norm=comparison == "byol")
                                              for _ in range(2))
        self.target = nn.ModuleDict({name: copy.deepcopy(getattr(self, name))
                                     for name in ("encoder", "show", "projector")})
        self.target.requires_grad_(False)

    def sample_mask(self, batch: int, generator: torch.Generator | None = None) -> Paired:
        """Masks and views of a batch, on the CPU."""
        mask = (self.sampler(batch, generator=generator) if self.masked
                else nothing_hidden(batch, self.encoder.grid))
        return Paired(*mask, *self.augment.draw(batch, 2, generator))

    def forward(self, images: Tensor, drawn: Paired) -> Tensor:
        """The training loss (a scalar) of images ``[B,3,H,W]`` in [0, 1].

        Raises:
            ValueError: InfoNCE of a single image, which has nothing to be told from.
        """
        if self.comparison == "infonce" and len(images) < 2:
            raise ValueError("images must be a batch of at least 2 for InfoNCE, which tells each "
                             f"from the others, got {len(images)}")
        views = self._views(images, drawn)
        loss = self._loss(views[0], views[1])
        if self.symmetric:
            loss = (loss + self._loss(views[1], views[0])) / 2
        return self.scale * loss

    @torch.no_grad()
    def after_step(self) -> None:
        """The target follows: momentum * old + (1 - momentum) * online, after the optimizer."""
        for name, module in self.target.items():
            for old, new in zip(module.parameters(), getattr(self, name).parameters(),
                                strict=True):
                old.lerp_(new, 1 - self.momentum)

    def _views(self, images: Tensor, drawn: Paired) -> list[tuple[Tensor, Mask]]:
        numbers, first = Drawn(*drawn[2:]), Mask(*drawn[:2])
        masks = first, (Mask(*first[::-1]) if self.masked else first)
        return [(self.encoder.patches(self.augment(images, numbers, view)), mask)
                for view, mask in enumerate(masks)]

    def _loss(self, seen: tuple[Tensor, Mask], other: tuple[Tensor, Mask]) -> Tensor:
        query = self.predictor(self.projector(self._read(self.encoder, self.show, *seen)))
        with torch.no_grad():
            key = self.target["projector"](self._read(self.target["encoder"], self.target["show"],
                                                      *other))
        if self.comparison == "byol":
            return byol(query, key)
        return infonce(query, key, self.temperature)

    def _read(self, encoder: Encoder, show: Callable, patches: Tensor, mask: Mask) -> Tensor:
        return _placed(encoder.encode(show(encoder, patches, mask)), self.place)


class _Dropped(nn.Module):
    """Shows the encoder visible patches only."""

    def forward(self, encoder: Encoder, patches: Tensor, mask: Mask) -> Tensor:
        return drop_hidden(encoder, patches, mask)


class Head(nn.Module):
    """Projector or predictor: two linear maps with a GELU between, width to width.

    Args:
        norm: batch normalisation before the GELU, over images and tokens, always of the batch.
    """

    def __init__(self, width: int, *, norm: bool = False):
        super().__init__()
        hidden = round(HIDDEN * width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm = nn.BatchNorm1d(hidden, track_running_stats=False) if norm else nn.Identity()
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., width]`` to ``[..., width]``."""
        hidden = self.fc1(x)
        return self.fc2(F.gelu(self.norm(hidden.flatten(0, -2)).view_as(hidden)))


def infonce(query: Tensor, key: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Mean of -log softmax at the right image, place by place (equations 9 and 10).

    At every place the token of an image is to be told, by cosine similarity, from the tokens of the
    other images of the batch at that place. The paper does not say which negatives it takes.

    Args:
        query, key: ``[B, P, D]``.
    """
    query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
    logits = torch.einsum("bpd,cpd->pbc", query, key) / temperature
    right = torch.arange(len(query), device=query.device).expand(logits.shape[:2])
    return F.cross_entropy(logits.flatten(0, 1), right.flatten())


def byol(query: Tensor, key: Tensor) -> Tensor:
    """Mean of 2 - 2 cos over images and places (Grill et al. 2020), in [0, 4]."""
    return (2 - 2 * F.cosine_similarity(query, key, dim=-1)).mean()


def _placed(encoded: Encoded, place: str) -> Tensor:
    """What is compared, ``[B, P, D]``."""
    if place == "token":
        return encoded.patches
    if place == "token and class":
        return encoded.tokens
    return (encoded.cls if place == "class" else encoded.patches.mean(1))[:, None]


def _check(shown: str, place: str, comparison: str, masked: bool, momentum: float,
           temperature: float) -> None:
    for name, value, known in (("shown", shown, ("mask tokens", "dropped")),
                               ("place", place, PLACES),
                               ("comparison", comparison, COMPARISONS)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    if shown == "dropped" and masked and place.startswith("token"):
        raise ValueError("place must be 'class' or 'mean' where hidden patches are dropped: the "
                         f"two views have no patch in common, got {place!r}")
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
