"""Pretraining as a study: a setting's network, trained once and then found."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from mae_lib import runs
from mae_lib.models.encoder import Encoder
from mae_lib.models.family import FAITHFUL, MAE, SUPERVISED, is_autoencoder, method
from mae_lib.models.masks import visible_count
from mae_lib.models.methods import PRESETS, MaskedAutoencoder, mae
from mae_lib.models.published import Published, load_published
from mae_lib.models.relative import with_relative_positions
from mae_lib.models.weights import own_names, published_name
from mae_lib.models.wider import REWARDED, build, rebuilt
from mae_lib.models.worlds.groups import beside
from mae_lib.studies.machine import decoders, device
from mae_lib.studies.sets import PRESET, images_of, pool_size, rewards, training_images
from mae_lib.studies.settings import Setting
from mae_lib.studies.study import Study
from mae_lib.training.pretrain import Masks, own_masks, pretrain
from mae_lib.training.schedule import Recipe


class Pretrained(NamedTuple):
    """What is left of a method without a decoder."""

    encoder: Encoder


def network(setting: Setting) -> nn.Module:
    """The model of a setting with its initial weights."""
    mean, std = images_of(setting, "train", pool_size(setting)).standardisation()
    if setting.kind:
        return build(setting.method, setting.preset, ratio=setting.ratio, target=setting.target,
                     sampling=setting.sampling, seed=setting.seed, mean=mean, std=std,
                     **setting.shape)
    made = mae(setting.preset, ratio=setting.ratio, unit=setting.unit, target=setting.target,
               sampling=setting.sampling or "random", mean=mean, std=std, seed=setting.seed,
               **setting.shape)
    if setting.margin:
        made.loss = _margin_loss(setting, made.encoder)
    if setting.method or setting.augment:
        return method(setting.method or MAE, made, augment=setting.augment, seed=setting.seed,
                      classes=len(training_images(setting).classes))
    return made


def _margin_loss(setting: Setting, encoder: Encoder) -> Callable:
    from mae_lib.models.margins import margin_mse, scattering

    hidden = encoder.grid[0] * encoder.grid[1]
    hidden -= visible_count(hidden, setting.ratio)
    order = scattering(hidden, encoder.patch) if setting.scattered else None
    return partial(margin_mse, grid=encoder.grid, patch=encoder.patch, margin=setting.margin,
                   order=order)


def masks(setting: Setting, network: nn.Module) -> Masks:
    """Where the masks of a run come from: ``(indices of images, generator) -> Mask``, or what its
    method draws beside them."""
    if setting.method == SUPERVISED:
        labels = torch.from_numpy(np.asarray(training_images(setting).labels, np.int64))
        return lambda index, generator: network.sample_mask(labels[index], generator)
    if setting.method == REWARDED:
        return beside(network, rewards(setting))
    if setting.policy is None:
        return own_masks(network)
    from mae_lib.data.groups import menagerie_groups
    from mae_lib.models.guided_masks import guided_mask

    found = menagerie_groups("train", setting.train_images, setting.size, PRESET,
                             patch=network.encoder.patch)
    groups, parents = map(torch.from_numpy, found)
    return lambda index, generator: guided_mask(
        groups[index], setting.ratio, setting.policy, parents=parents[index], generator=generator)


def model(setting: Setting, if_stale: str = "show"
          ) -> MaskedAutoencoder | Pretrained | Published:
    """The pretrained model of a setting, or its initial weights if ``views`` is 0.

    Of a method without a decoder it is the encoder alone, as ``encoder``.

    Of a setting with a ``checkpoint`` what its file holds; that may be less than an autoencoder,
    but has an ``encoder``.
    """
    if setting.checkpoint:
        shape = PRESETS[setting.preset]
        found = load_published(setting.checkpoint, size=setting.size, heads=shape["heads"],
                               decoder_heads=shape["decoder_heads"], target=setting.target,
                               ratio=setting.ratio)
        return found.model if hasattr(found.model, "encoder") else found
    if setting.views == 0:
        return network(setting).eval()
    run = PRETRAINING(setting, if_stale=if_stale).value
    trained = rebuilt(run["config"]) if setting.kind else mae(**run["config"])
    if setting.method == FAITHFUL:
        with_relative_positions(trained.encoder)
    weights = own_names({name: tensor.float() for name, tensor in run["weights"].items()})
    trained.load_state_dict(trained.state_dict() | weights)  # fixed positions are not kept
    trained.eval()
    return trained if is_autoencoder(setting.method or MAE) else Pretrained(trained.encoder)


def checkpoint_folder(setting: Setting):
    """Where a run of this setting keeps what it has so far."""
    since = os.environ.get("MAE_LIB_FRESH_SINCE", "")  # older checkpoints do not count then
    return runs.cache_folder() / "checkpoints" / since / PRETRAINING.key(setting).name


def _pretrain(setting: Setting, if_stale: str) -> dict:
    started = network(setting)
    recipe = Recipe(views=setting.views, batch=setting.batch, lr=setting.lr)
    history = pretrain(started, training_images(setting), recipe,
                       seed=setting.seed, masks=masks(setting, started), device=device(),
                       checkpoint=checkpoint_folder(setting), micro=setting.micro,
                       precision=setting.precision or "float32", workers=decoders())
    parts = ("encoder.", "decoder.") if is_autoencoder(setting.method or MAE) else ("encoder.",)
    weights = {published_name(name): tensor.half() for name, tensor in started.state_dict().items()
               if name.startswith(parts) and not name.endswith("pos_embed")}
    return {"weights": weights, "losses": history.losses, "config": started.config,
            "images_per_second": history.images_per_second}


PRETRAINING = Study("pretraining", _pretrain, ())
