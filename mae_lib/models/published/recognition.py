"""What a file of weights is, told from names, shapes and settings, without building a network.

Names and layouts: facebookresearch/mae (models_mae.py, models_vit.py, main_linprobe.py),
timm/models/vision_transformer.py and beit.py, microsoft/SimMIM (models/simmim.py,
models/vision_transformer.py). Checksums: facebookresearch/mae, README.md and FINETUNE.md.
"""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from mae_lib.models.positions import is_fixed
from mae_lib.models.published.conversion import TABLE, converted, relative_grid
from mae_lib.models.weight_files import read_file, some

OFFICIAL = {"8cad7c": "MAE ViT-B, pretraining", "b8b06e": "MAE ViT-L, pretraining",
            "9bdbb0": "MAE ViT-H, pretraining", "1b25e9": "MAE ViT-B, fine-tuned",
            "51f550": "MAE ViT-L, fine-tuned", "2541f2": "MAE ViT-H, fine-tuned"}
# Width and depth of the ViT family, and its heads: nothing in the tensors shows their number.
HEADS = {(192, 12): 3, (384, 12): 6, (768, 12): 12, (1024, 24): 16, (1280, 32): 16}
DECODER_HEADS = {512: 16}
# What a released file was trained for, by name: target, ratio, masking unit (facebookresearch/mae
# issues 8 and 12; microsoft/SimMIM configs/vit_base__800ep).
NAMED = {r"mae_(pretrain|finetuned)_vit_|vit_\w+_224\.mae": ("normalised", 0.75, None),
         r"mae_visualize_vit_": ("pixel", 0.75, None),
         r"simmim_(pretrain|finetune)__vit_": ("pixel", 0.6, 32)}


class Description(NamedTuple):
    """What is known of a file of weights.

    Attributes:
        kind: ``"encoder"``, ``"mae"`` (with decoder), ``"simmim"`` (with its head),
            ``"classifier"`` or ``"linear probe"``.
        official: which released file it is, by its checksum; None if it is none of them.
        md5: the first six digits.
        width, depth, heads: of the encoder; heads None if unknown.
        patch, size: side of a patch and height and width of the images, in pixels.
        class_token: whether there is one.
        positions: ``"fixed"`` sines and cosines, ``"trained"`` or ``"relative"``.
        decoder: width, depth and heads (or None) of MAE's.
        classes, pool: number of logits, and what the head sees, ``"mean"`` or ``"cls"``.
        target: of the pretraining, ``"pixel"`` or ``"normalised"``; None if unknown.
        ratio, unit: of its masks; unit in pixels, None for the patch.
        source: how target and ratio are known: ``"checksum"``, ``"settings"``, ``"name"``, None.
    """

    kind: str
    official: str | None
    md5: str
    width: int
    depth: int
    heads: int | None
    patch: int
    size: tuple[int, int]
    class_token: bool
    positions: str
    decoder: tuple[int, int, int | None] | None
    classes: int | None
    pool: str | None
    target: str | None
    ratio: float | None
    unit: int | None
    source: str | None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.size[0] // self.patch, self.size[1] // self.patch

    @property
    def sentence(self) -> str:
        """For a report or a caption."""
        known = (f"{self.official}, official md5 {self.md5}" if self.official else
                 f"not one of the released files by its checksum (md5 {self.md5})")
        heads = "?" if self.heads is None else self.heads
        return (f"{known}: {self.kind}, {self.width} wide, {self.depth} blocks, {heads} heads, "
                f"patch {self.patch}, {self.size[0]}x{self.size[1]} pixels")


def described(path: str | Path) -> Description:
    """Kind, sizes and training of a file of weights; no network is built.

    Raises:
        FileNotFoundError, ValueError: as :func:`mae_lib.models.weight_files.read_file`; also
            weights of a network that no model here is.
    """
    file = read_file(path)
    return recognised(converted(file.weights, path).weights, file.settings, path)


def recognised(weights: dict[str, Tensor], settings: dict, path: str | Path) -> Description:
    """:func:`described` for weights that were read and converted already."""
    _check_transformer(weights, path)
    width, patch = weights["patch_embed.proj.weight"].shape[::3]
    depth, class_token = _depth(weights, "blocks."), "cls_token" in weights
    grid, positions, heads = _positions(weights, width, class_token, path)
    kind, digest = _kind(weights), _md5(path)
    target, ratio, unit, source = _training(path, digest, settings)
    return Description(
        kind, OFFICIAL.get(digest), digest, width, depth, heads or HEADS.get((width, depth)),
        patch, (grid[0] * patch, grid[1] * patch), class_token, positions,
        _decoder(weights, path) if kind == "mae" else None, _classes(weights, kind),
        _pool(weights, class_token) if kind in ("classifier", "linear probe") else None,
        target, ratio, unit, source)


def _check_transformer(weights: dict, path: str | Path) -> None:
    projection = weights.get("patch_embed.proj.weight")
    if projection is None:
        raise ValueError(f"weights in {path} must be of a vision transformer, with a "
                         f"patch_embed.proj.weight, got {some(weights)}")
    if projection.ndim != 4 or projection.shape[1] != 3 or len(set(projection.shape[2:])) != 1:
        raise ValueError(f"patch_embed.proj.weight in {path} must have shape [D,3,p,p], "
                         f"got {list(projection.shape)}")
    if not _depth(weights, "blocks."):
        raise ValueError(f"weights in {path} must hold blocks of a transformer, got none")


def _kind(weights: dict) -> str:
    if any(name.startswith("decoder_") for name in weights):
        return "mae"
    marks = {"decoder.0.weight": "simmim", "head.1.weight": "linear probe",
             "head.weight": "classifier"}
    return next((kind for name, kind in marks.items() if name in weights), "encoder")


def _depth(weights: dict, prefix: str) -> int:
    found = {int(n) for name in weights if name.startswith(prefix)
             and (n := name.removeprefix(prefix).split(".")[0]).isdigit()}
    return max(found, default=-1) + 1


def _positions(weights: dict, width: int, class_token: bool,
               path: str | Path) -> tuple[tuple[int, int], str, int | None]:
    """Grid and kind of the positions, and the number of heads where they show it."""
    table = next((t for name, t in weights.items() if name.endswith(TABLE)), None)
    positions = weights.get("pos_embed")
    if table is not None and positions is None:
        return relative_grid(table), "relative", table.shape[1]
    if table is not None or positions is None or positions.ndim != 3:
        raise ValueError(f"weights in {path} must have positions, either absolute (pos_embed "
                         "[1,L,D]) or relative in each block")
    count = positions.shape[1] - class_token
    grid = (math.isqrt(count), math.isqrt(count))
    if not count or grid[0] ** 2 != count:
        raise ValueError(f"positions in {path} must be those of a square grid, got {count}")
    return grid, "fixed" if is_fixed(positions, grid) else "trained", None


def _decoder(weights: dict, path: str | Path) -> tuple[int, int, int | None]:
    width = len(weights.get("decoder_embed.weight", ()))
    depth = _depth(weights, "decoder_blocks.")
    if not width or not depth:
        raise ValueError(f"weights in {path} must hold decoder_embed.weight and decoder_blocks "
                         "with the rest of the decoder, got only part of them")
    return width, depth, DECODER_HEADS.get(width)


def _classes(weights: dict, kind: str) -> int | None:
    name = {"classifier": "head.weight", "linear probe": "head.1.weight"}.get(kind)
    return None if name is None else len(weights[name])


def _pool(weights: dict, class_token: bool) -> str:
    return "cls" if class_token and "fc_norm.weight" not in weights else "mean"


def _md5(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()[:6]


def _training(path: str | Path, digest: str, settings: dict) -> tuple:
    """Target, ratio and masking unit of the pretraining, and how they are known."""
    if digest in OFFICIAL:
        return "normalised", 0.75, None, "checksum"
    if "norm_pix_loss" in settings and "mask_ratio" in settings:
        target = "normalised" if settings["norm_pix_loss"] else "pixel"
        return target, settings["mask_ratio"], None, "settings"
    data = settings.get("DATA")
    if isinstance(data, dict) and {"MASK_RATIO", "MASK_PATCH_SIZE"} <= data.keys():
        return "pixel", data["MASK_RATIO"], data["MASK_PATCH_SIZE"], "settings"
    for name, facts in NAMED.items():
        if re.match(name, Path(path).name):
            return *facts, "name"
    return None, None, None, None
