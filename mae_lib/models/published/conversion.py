"""Published state dicts under one set of names: those of the MAE release.

What is written differently for the same network is rewritten here, each change with a note:
wrappers' prefixes, SimMIM's ``encoder.`` (microsoft/SimMIM: models/simmim.py), half precision,
separate query and value biases, layer scale (timm: ``ls1.gamma``; SimMIM and BEiT: ``gamma_1``),
positions without one for the class token (timm: ``no_embed_class``), one table of relative
positions for all blocks (microsoft/SimMIM: utils.py).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mae_lib.models.relative import relative_index
from mae_lib.models.simmim import head_from_shuffle
from mae_lib.models.weight_files import fuse_biases
from mae_lib.models.weights import published_name

WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
SCALES = {"gamma_1": "attn.proj", "gamma_2": "mlp.fc2",
          "ls1.gamma": "attn.proj", "ls2.gamma": "mlp.fc2"}
TABLE, INDEX = "relative_position_bias_table", "relative_position_index"
SHARED = f"rel_pos_bias.{TABLE}"
STRANGERS = {"layers.0.blocks.0.": "a Swin transformer", "vit.embeddings.": "the names of "
             "transformers' ViTMAE", "reg_token": "register tokens", "dist_token":
             "a distillation token", ".q_norm.": "normalised queries", "norm_pre.": "a norm before "
             "its blocks", "attn_pool.": "pooling by attention", ".mlp.w12.": "gated MLPs",
             ".mlp.fc1_g.": "gated MLPs"}


class Converted(NamedTuple):
    """Weights under the names of the release, what was done to them, a sentence part each, and
    which tensors were left aside, with the reason."""

    weights: dict[str, Tensor]
    notes: tuple[str, ...]
    aside: dict[str, str]


def converted(weights: dict[str, Tensor], path: str | Path) -> Converted:
    """Tensors of a file as :class:`Converted`; the numbers a network computes stay the same.

    Raises:
        ValueError: a network that no model here is; NaN or infinity; relative positions counted
            in an order that is not SimMIM's.
    """
    notes: list[str] = []
    weights = _without_wrappers(weights, notes)
    weights = _released_names(weights, notes)
    _refuse_strangers(weights, path)
    weights = _float32(weights, path, notes)
    weights = _fused(weights, notes)
    weights = _unscaled(weights, notes)
    weights = _padded(weights, notes)
    weights, aside = _without_index(weights, path)
    weights = _table_for_each(weights, notes)
    return Converted(_linear_head(weights), tuple(notes), aside)


def relative_grid(table: Tensor) -> tuple[int, int]:
    """The square grid whose offsets, and three for the class token, are the rows of a table.

    Raises:
        ValueError: no square grid has so many.
    """
    side = math.isqrt(max(len(table) - 3, 0))
    if side % 2 == 0 or side**2 != len(table) - 3:
        raise ValueError(f"{TABLE} must have (2n-1)^2 + 3 rows, as many as a square grid with a "
                         f"class token has offsets, got {len(table)}")
    return (side + 1) // 2, (side + 1) // 2


def _without_wrappers(weights: dict, notes: list) -> dict:
    for prefix in WRAPPERS * 2:  # either may be outside
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): t for name, t in weights.items()}
            notes.append(f"names without their prefix '{prefix}'")
    return weights


def _released_names(weights: dict, notes: list) -> dict:
    if "decoder.mask_token" in weights:
        notes.append("names of our own modules read as those of the release")
        return {published_name(name): t for name, t in weights.items()}
    if any(name.startswith("encoder.") for name in weights):
        notes.append("names without their prefix 'encoder.'")
    return {name.removeprefix("encoder."): t for name, t in weights.items()}


def _refuse_strangers(weights: dict, path: str | Path) -> None:
    for part, what in STRANGERS.items():
        if any(part in name for name in weights):
            raise ValueError(f"weights in {path} are of a network with {what}, which no model "
                             "here has")


def _float32(weights: dict, path: str | Path, notes: list) -> dict:
    other = {str(t.dtype).removeprefix("torch.") for t in weights.values()
             if t.is_floating_point() and t.dtype != torch.float32}
    if other:
        notes.append(f"{' and '.join(sorted(other))} read as float32")
    read = {name: (t.float() if t.is_floating_point() else t).contiguous()
            for name, t in weights.items()}
    for name, tensor in read.items():
        if not tensor.isfinite().all():
            raise ValueError(f"weights in {path} must be finite, got NaN or infinity in {name}")
    return read


def _fused(weights: dict, notes: list) -> dict:
    fused = fuse_biases(weights)
    if len(fused) < len(weights):
        notes.append("q_bias and v_bias joined, with zeros for the keys")
    return fused


def _unscaled(weights: dict, notes: list) -> dict:
    """Layer scale multiplied into the linear map before it: the same sums, without a factor."""
    scaled = dict(weights)
    for name, gamma in weights.items():
        scale = next((scale for scale in SCALES if name.endswith(f".{scale}")), None)
        layer = "" if scale is None else name.removesuffix(scale) + SCALES[scale]
        if f"{layer}.weight" in weights and f"{layer}.bias" in weights:
            scaled[f"{layer}.weight"] = scaled.pop(name)[:, None] * weights[f"{layer}.weight"]
            scaled[f"{layer}.bias"] = gamma * weights[f"{layer}.bias"]
    if len(scaled) < len(weights):
        notes.append("layer scale multiplied into the projections")
    return scaled


def _padded(weights: dict, notes: list) -> dict:
    """Positions of patches alone, in a network with a class token, get a first row of zeros."""
    positions = weights.get("pos_embed")
    if positions is None or positions.ndim != 3 or "cls_token" not in weights:
        return weights
    count = positions.shape[1]
    if math.isqrt(count - 1) ** 2 == count - 1 or math.isqrt(count) ** 2 != count:
        return weights
    notes.append("position zero for the class token, which has none")
    return weights | {"pos_embed": F.pad(positions, (0, 0, 1, 0))}


def _without_index(weights: dict, path: str | Path) -> tuple[dict, dict[str, str]]:
    aside = {}
    for name, index in weights.items():
        table = weights.get(name.removesuffix(INDEX) + TABLE)
        if not name.endswith(INDEX) or table is None:
            continue
        if not torch.equal(index.long(), relative_index(relative_grid(table))):
            raise ValueError(f"weights in {path} count offsets in another order than SimMIM: "
                             f"{name} is not ours")
        aside[name] = "computed anew, and the same"
    return {name: t for name, t in weights.items() if name not in aside}, aside


def _table_for_each(weights: dict, notes: list) -> dict:
    if SHARED not in weights:
        return weights
    spread = dict(weights)
    table = spread.pop(SHARED)
    for name in weights:
        if name.endswith("attn.qkv.weight"):
            spread[name.removesuffix("qkv.weight") + TABLE] = table.clone()
    notes.append("one table of relative positions for all blocks")
    return spread


def _linear_head(weights: dict) -> dict:
    """SimMIM's 1x1 convolution as a linear map to (row, column, channel)."""
    weight, bias = weights.get("decoder.0.weight"), weights.get("decoder.0.bias")
    if weight is None or bias is None or weight.ndim != 4 or weight.shape[2:] != (1, 1):
        return weights
    if len(weight) != 3 * math.isqrt(len(weight) // 3) ** 2 or len(bias) != len(weight):
        return weights
    return weights | {"decoder.0.weight": head_from_shuffle(weight[:, :, 0, 0]),
                      "decoder.0.bias": head_from_shuffle(bias)}
