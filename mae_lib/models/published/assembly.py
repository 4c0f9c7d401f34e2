"""The network that a description of a file asks for, without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from mae_lib.models.classifier import Classifier
from mae_lib.models.encoder import Encoder
from mae_lib.models.methods import PRESETS, MaskedAutoencoder, mae
from mae_lib.models.published.recognition import Description
from mae_lib.models.relative import with_relative_positions
from mae_lib.models.simmim import UNIT, simmim

BATCH_NORM_EPS = 1e-6  # of the linear probe's head (facebookresearch/mae: main_linprobe.py)


class Plan(NamedTuple):
    """What to build: as the file says, or as was asked for."""

    size: tuple[int, int]
    patch: int
    heads: int
    decoder_heads: int | None
    pool: str | None
    target: str | None
    ratio: float | None
    mean: Sequence[float]
    std: Sequence[float]


def network(known: Description, plan: Plan, fc_norm: bool) -> nn.Module:
    """Encoder, MaskedAutoencoder or Classifier on the meta device, but for ``mean`` and ``std``.

    Args:
        fc_norm: whether a classifier normalises after pooling, as MAE's, and not before.
    """
    with torch.device("meta"):  # initial weights would be thrown away
        model = _network(known, plan, fc_norm)
    encoder = encoder_of(model)
    encoder.mean, encoder.std = torch.tensor(plan.mean), torch.tensor(plan.std)
    return model


def encoder_of(model: nn.Module) -> Encoder:
    """The encoder of a model, or the model itself."""
    return model if isinstance(model, Encoder) else model.encoder


def _network(known: Description, plan: Plan, fc_norm: bool) -> nn.Module:
    if known.kind == "mae":
        return _mae(known, plan)
    encoder = Encoder(plan.size, plan.patch, known.width, known.depth, plan.heads,
                      class_token=known.class_token, mean=plan.mean, std=plan.std)
    if known.positions == "relative":
        encoder = with_relative_positions(encoder)
    if known.kind == "encoder":
        return encoder
    if known.kind == "simmim":
        return simmim(encoder, ratio=plan.ratio, unit=known.unit or UNIT)
    return _classifier(encoder, known, plan.pool, fc_norm)


def _mae(known: Description, plan: Plan) -> MaskedAutoencoder:
    width, depth, _ = known.decoder
    shape = {"patch": plan.patch, "width": known.width, "depth": known.depth,
             "heads": plan.heads, "decoder_width": width, "decoder_depth": depth,
             "decoder_heads": plan.decoder_heads}
    preset = next((name for name, sizes in PRESETS.items() if shape.items() <= sizes.items()),
                  "vit_base_patch16")
    side = plan.size[0] if plan.size[0] == plan.size[1] else plan.size
    return mae(preset, ratio=plan.ratio, target=plan.target, size=side, mean=plan.mean,
               std=plan.std, seed=0, **shape)


def _classifier(encoder: Encoder, known: Description, pool: str, fc_norm: bool) -> Classifier:
    model = Classifier(encoder, known.classes, pool)
    if pool == "mean" and not fc_norm:
        model.encoder.norm, model.fc_norm = model.fc_norm, nn.Identity()
    if known.positions == "relative":
        model.encoder.pos_embed.requires_grad_(False)  # zeros that stand for none
    if known.kind == "linear probe":
        norm = nn.BatchNorm1d(known.width, affine=False, eps=BATCH_NORM_EPS)
        model.head = nn.Sequential(norm, model.head)
    return model
