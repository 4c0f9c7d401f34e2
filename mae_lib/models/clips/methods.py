"""MAE-ST and VideoMAE: the masked autoencoder of images, with the parts of clips."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from mae_lib.models.clips.decoder import ClipDecoder
from mae_lib.models.clips.encoder import ClipEncoder
from mae_lib.models.clips.masks import SAMPLERS
from mae_lib.models.clips.positions import SeparablePositions, SinusoidPositions
from mae_lib.models.clips.presets import MAE_ST, VIDEO_MAE, seeded, shape_of
from mae_lib.models.clips.targets import ChannelNormalised, OneFrameLoss
from mae_lib.models.clips.tubelets import Grid, clip_grid
from mae_lib.models.encoder import IMAGENET_MEAN, IMAGENET_STD
from mae_lib.models.losses import masked_mse
from mae_lib.models.methods import MaskedAutoencoder, drop_hidden
from mae_lib.models.targets import TARGETS, pixels

KINETICS_MEAN, KINETICS_STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)  # MAE-ST's, all channels


def mae_st(preset: str = "vit_large_patch16", *, ratio: float = 0.9, sampling: str = "agnostic",
           count: str = "mae", target: str = "normalised", predicted: int = 1,
           seed: int | None = None, mean: Sequence[float] = KINETICS_MEAN,
           std: Sequence[float] = KINETICS_STD, **overrides: int) -> MaskedAutoencoder:
    """MAE-ST (Feichtenhofer et al., NeurIPS 2022): random tubelets, learned positions.

    Positions are separable in space and time, encoder and decoder have a class token each, and
    queries, keys and values start as three maps. One frame of each tubelet is predicted.

    Args:
        preset: a key of :data:`mae_lib.models.clips.presets.MAE_ST`.
        ratio: share of tubelets (``"frame"``: of time slices, ``"tube"``: of places) to hide.
        sampling: ``"agnostic"``, ``"tube"``, ``"frame"`` or ``"block"``.
        count: how the number of visible ones is rounded, see
            :func:`mae_lib.models.clips.masks.shown_count`.
        target: ``"pixel"`` or ``"normalised"``, over all values that are predicted for a tubelet.
        predicted: frames of each tubelet that are predicted: 1, or all of them.
        seed: of the initial weights; the global generator if None.
        mean, std: standardisation of each channel, in [0, 1] units.
        overrides: any of size, frames, time, patch, width, depth, heads, decoder_width,
            decoder_depth, decoder_heads.

    Raises:
        ValueError: unknown preset, sampling, count, target or override; a clip shorter than a
            tubelet, sides that do not divide; a ratio that cannot be met.
    """
    shape = shape_of(MAE_ST, preset, overrides)
    _check_target(target)
    if predicted not in (1, shape["time"]):
        raise ValueError(f"predicted must be 1 or {shape['time']}, all frames of a tubelet, "
                         f"got {predicted}")
    grid = _grid(shape)
    sampler = _sampler(grid, sampling, ratio, count)
    whole = predicted == shape["time"]
    with seeded(seed):
        encoder = _encoder(SeparablePositions(shape["width"], grid), shape, mean, std)
        decoder = _decoder(SeparablePositions(shape["decoder_width"], grid), shape, predicted)
        _three_maps(encoder, decoder)
    chosen = TARGETS[target] if whole else pixels
    loss = masked_mse if whole else OneFrameLoss(shape["frames"], grid, TARGETS[target])
    config = {"method": "mae_st", "predicted": predicted,
              **_settings(preset, shape, ratio, sampling, count, target, mean, std)}
    return MaskedAutoencoder(encoder, decoder, sampler, show=drop_hidden, target=chosen, loss=loss,
                             config=config)


def video_mae(preset: str = "vit_base_patch16", *, ratio: float = 0.9, sampling: str = "tube",
              count: str = "videomae", target: str = "normalised", seed: int | None = None,
              mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD,
              **overrides: int) -> MaskedAutoencoder:
    """VideoMAE (Tong et al., NeurIPS 2022): tubes, a fixed sinusoid over all tubelets.

    No class token. The key biases that the official attention does without are there and change
    nothing: they add the same number to all scores of a query.

    Args:
        preset: a key of :data:`mae_lib.models.clips.presets.VIDEO_MAE`.
        target: ``"pixel"``, or ``"normalised"`` for each channel of a tubelet, see
            :class:`mae_lib.models.clips.targets.ChannelNormalised`.

    All else as in :func:`mae_st`; all frames of a tubelet are predicted.
    """
    shape = shape_of(VIDEO_MAE, preset, overrides)
    _check_target(target)
    grid = _grid(shape)
    sampler = _sampler(grid, sampling, ratio, count)
    with seeded(seed):
        encoder = _encoder(SinusoidPositions(shape["width"], grid), shape, mean, std,
                           class_token=False)
        decoder = _decoder(SinusoidPositions(shape["decoder_width"], grid), shape, shape["time"],
                           own=False)
        nn.init.trunc_normal_(decoder.mask_token, std=0.02, a=-0.02, b=0.02)
    config = {"method": "video_mae",
              **_settings(preset, shape, ratio, sampling, count, target, mean, std)}
    return MaskedAutoencoder(encoder, decoder, sampler, show=drop_hidden,
                             target=ChannelNormalised(std) if target == "normalised" else pixels,
                             loss=masked_mse, config=config)


def _grid(shape: dict) -> Grid:
    return clip_grid(shape["frames"], shape["size"], shape["time"], shape["patch"])


def _check_target(target: str) -> None:
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}")


def _sampler(grid: Grid, sampling: str, ratio: float, count: str):
    if sampling not in SAMPLERS:
        raise ValueError(f"sampling must be one of {', '.join(SAMPLERS)}, got {sampling!r}")
    sampler = partial(SAMPLERS[sampling], grid=grid, ratio=ratio, count=count)
    sampler(1, generator=torch.Generator())  # refuse a ratio that cannot be met before training
    return sampler


def _encoder(positions: nn.Module, shape: dict, mean, std, *,
             class_token: bool = True) -> ClipEncoder:
    sizes = {name: shape[name] for name in ("frames", "size", "time", "patch", "width", "depth",
                                            "heads")}
    return ClipEncoder(positions, **sizes, class_token=class_token, mean=mean, std=std)


def _decoder(positions: nn.Module, shape: dict, frames: int, *,
             own: bool = True) -> ClipDecoder:
    """A decoder of so many frames a tubelet; with its ``own`` class token it has a bias, too."""
    return ClipDecoder(shape["width"], positions, 3 * frames * shape["patch"] ** 2,
                       shape["decoder_width"], shape["decoder_depth"], shape["decoder_heads"],
                       bias=own, class_token=own)


def _three_maps(encoder: ClipEncoder, decoder: ClipDecoder) -> None:
    """Xavier's bounds of MAE-ST's code: queries, keys and values apart, tubelets as one map."""
    for block in (*encoder.blocks, *decoder.blocks):
        for part in block.attn.qkv.weight.data.chunk(3):
            nn.init.xavier_uniform_(part)
    nn.init.xavier_uniform_(encoder.patch_embed.proj.weight.data.flatten(1))


def _settings(preset: str, shape: dict, ratio: float, sampling: str, count: str, target: str,
              mean, std) -> dict:
    return {"preset": preset, **shape, "ratio": ratio, "sampling": sampling, "count": count,
            "target": target, "mean": [float(m) for m in mean], "std": [float(s) for s in std]}
