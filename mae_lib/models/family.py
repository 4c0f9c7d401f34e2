"""The methods that are compared with MAE on one encoder, by name."""

from __future__ import annotations

import torch
from torch import nn

from mae_lib.models.contrastive import TEMPERATURE, Contrastive
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.models.siamese import RMAE
from mae_lib.models.simmim import MaskTokens, PixelHead, ReadsAll, as_simmim, simmim
from mae_lib.models.supervised import Supervised
from mae_lib.models.uniformity import UMAE
from mae_lib.models.varied import VariedMAE
from mae_lib.models.views import Augmentation

MAE, JITTERED, MOCO, SUPERVISED = "mae", "mae jittered", "moco v3", "supervised"
SIAMESE = {"r-mae": "complement", "r-mae independent": "independent", "r-mae identity": "identity"}
DROPPED = {"shown": "dropped", "place": "mean"}
CONTRASTIVE = {
    "c-mae": {}, "c-mae class": {"place": "class"}, "c-mae mean": {"place": "mean"},
    "c-mae token and class": {"place": "token and class"}, "c-mae dropped": DROPPED,
    "c-mae byol": {"comparison": "byol"}, "c-mae byol dropped": {"comparison": "byol", **DROPPED},
    MOCO: {"shown": "dropped", "place": "class", "symmetric": True, "scale": 2 * TEMPERATURE}}
# Mask tokens in the encoder (He et al., Table 1c); U-MAE; SimMIM's method on MAE's encoder with the
# heads of its Table 2, as far as they are not Swin's, and with the encoder that it has itself.
TOKENS, UNIFORM, FAITHFUL = "mae tokens", "u-mae", "simmim faithful"
SIMMIM = ("simmim", "simmim mlp", "simmim decoder", FAITHFUL)
ALONE = (*SIAMESE, TOKENS, UNIFORM, *SIMMIM)  # their only view is a mask
METHODS = (MAE, JITTERED, *SIAMESE, *CONTRASTIVE, SUPERVISED, TOKENS, UNIFORM, *SIMMIM)
AUGMENTATIONS, NOTHING = ("mask", "crop", "fixed", "cutmix", "colour"), "nothing"
# A crop of one size: He et al. cut 224 pixels out of 256.
FIXED = {"crop": True, "scale": ((224 / 256) ** 2,) * 2, "aspects": (1.0, 1.0)}
# What views are made with if nobody says; "mask" alone for MAE and R-MAE.
USUAL = {MOCO: "crop+colour", SUPERVISED: "crop", JITTERED: "mask+colour"}


def method(name: str, base: MaskedAutoencoder, *, augment: str | None = None, classes: int = 0,
           seed: int | None = None) -> nn.Module:
    """One of ``METHODS`` around an autoencoder with its initial weights.

    Args:
        augment: of ``AUGMENTATIONS``, joined by a plus, or ``"nothing"``; the method's own if None.
        classes: of the training images, for a method that learns from labels.
        seed: of the weights that the method adds.

    Raises:
        ValueError: unknown name or augmentation; a view that the method does not take.
    """
    check_names(name, augment)
    words = views(name, augment)
    if name in ALONE:
        if words != ("mask",):
            raise ValueError(f"augment must be 'mask' for {name}, got {augment!r}")
        return _alone(name, base, seed)
    made = Augmentation(**{word: True for word in words if word not in ("mask", "fixed")}
                        | (FIXED if "fixed" in words else {}))
    if name == SUPERVISED:
        if "mask" in words:
            raise ValueError(f"augment must not hold 'mask' for {name}, got {augment!r}")
        return Supervised(base, classes, made, seed=seed)
    if name in CONTRASTIVE:
        return Contrastive(base, made, masked="mask" in words, seed=seed, **CONTRASTIVE[name])
    return VariedMAE(base, made, masked="mask" in words, jittered_target=name == JITTERED)


def _alone(name: str, base: MaskedAutoencoder, seed: int | None) -> nn.Module:
    """A method whose only view is a mask."""
    if name in SIAMESE:
        return RMAE(base, SIAMESE[name])
    if name == UNIFORM:
        return UMAE(base)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        made = _with_tokens(base) if name == TOKENS else _simmim(name, base)
        nn.init.normal_(made.show.token, std=0.02)
    made.config, made.variant = base.config, name
    return made


def _with_tokens(base: MaskedAutoencoder) -> MaskedAutoencoder:
    return MaskedAutoencoder(base.encoder, ReadsAll(base.decoder), base.sampler, target=base.target,
                             show=MaskTokens(base.encoder.width), loss=base.loss)


def _simmim(name: str, base: MaskedAutoencoder) -> MaskedAutoencoder:
    encoder = as_simmim(base.encoder) if name == FAITHFUL else base.encoder
    head = PixelHead(encoder.width, encoder.patch, hidden=encoder.width) if "mlp" in name else (
        ReadsAll(base.decoder) if "decoder" in name else None)
    return simmim(encoder, ratio=base.config["ratio"], unit=base.config["unit"], head=head)


def views(name: str, augment: str | None = None) -> tuple[str, ...]:
    """What the views of a method are made with."""
    usual = "mask" if name in (MAE, *ALONE) else "mask+colour"
    words = augment or USUAL.get(name, usual)
    return () if words == NOTHING else tuple(words.split("+"))


def is_autoencoder(name: str) -> bool:
    """Whether a decoder is trained that can reconstruct."""
    return name not in (*CONTRASTIVE, SUPERVISED, TOKENS, *SIMMIM)


def check_names(name: str, augment: str | None) -> None:
    """Raise ValueError for a method or an augmentation that nobody knows."""
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    if augment in (None, NOTHING):
        return
    if wrong := set(augment.split("+")) - set(AUGMENTATIONS):
        raise ValueError(f"augment must join {', '.join(AUGMENTATIONS)} by a plus, or be "
                         f"{NOTHING!r}, got {', '.join(sorted(wrong))!r}")
