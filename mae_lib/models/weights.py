"""Weights in files: the published MAE checkpoints, and models of our own under the same names.

Names of the release (ViT-B has 254): the encoder's bare (``blocks.0.norm1.weight``), the decoder's
with ``decoder_`` in front (``decoder_blocks.0.norm1.weight``), and ``mask_token``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import save_file
from torch import Tensor

from mae_lib.models.methods import MaskedAutoencoder, mae
from mae_lib.models.weight_files import check_names_and_shapes, read_weights

POSITIONS = ("pos_embed", "decoder_pos_embed")
TOLERANCE = 1e-5  # between a file's position table and ours, both float32


class LoadReport(NamedTuple):
    """What was loaded: ``part``, how many tensors, and the names that were left aside."""

    part: str
    loaded: int
    ignored: tuple[str, ...]


def published_names(method: MaskedAutoencoder) -> dict[str, Tensor]:
    """State dict of a method under the names of the MAE release."""
    return {published_name(name): tensor for name, tensor in method.state_dict().items()}


def own_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of :func:`published_names`: tensors under the names of our modules."""
    return {_own(name): tensor for name, tensor in weights.items()}


def load_mae_weights(method: MaskedAutoencoder, path: str | Path,
                     part: str = "all") -> LoadReport:
    """Load weights from a file, every name and shape accounted for; all or nothing.

    Args:
        part: ``"all"``, or ``"encoder"`` to leave the decoder as it is. Files with an encoder
            only (``mae_pretrain_*.pth``, timm's MAE models) need ``"encoder"``.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_weights`; also a missing decoder, missing or
            unexpected names, other shapes, positions of another resolution.
    """
    if part not in ("all", "encoder"):
        raise ValueError(f"part must be 'all' or 'encoder', got {part!r}")
    found, expected = read_weights(path), published_names(method)
    ignored = tuple(n for n in found if part == "encoder" and _is_decoders(n))
    found = {n: t for n, t in found.items() if n not in ignored}
    if part == "encoder":
        expected = {n: t for n, t in expected.items() if not _is_decoders(n)}
    elif not any(_is_decoders(n) for n in found) and not set(found) - set(expected):
        raise ValueError(f"weights in {path} lack the decoder; load them with part='encoder'")
    check_names_and_shapes(found, expected, path)
    _check_positions(found, expected, path)
    method.load_state_dict(own_names(found), strict=part == "all")
    return LoadReport(part, len(found), ignored)


def save_model(method: MaskedAutoencoder, path: str | Path) -> None:
    """Write ``path`` (``.safetensors``) under the published names, and its settings beside it.

    The settings go to the same name with ``.json``, last and with the checksum of the weights, so
    that a kill in between is noticed by :func:`load_model`.

    Raises:
        ValueError: another suffix; a method without the ``config`` of :func:`mae`, or with that of
            another builder.
    """
    path = _safetensors_path(path)
    if "preset" not in method.config or "method" in method.config:
        raise ValueError("method must carry the config that mae() built it from, got "
                         f"{method.config or 'an empty one'}")
    tensors = {n: t.detach().cpu().contiguous() for n, t in published_names(method).items()}
    _replace(path, lambda part: save_file(tensors, part))
    record = json.dumps({"config": method.config, "sha256": _sha256(path)}, indent=1)
    _replace(path.with_suffix(".json"), lambda part: part.write_text(record + "\n"))


def load_model(path: str | Path) -> MaskedAutoencoder:
    """Build the model that :func:`save_model` wrote to ``path``.

    Raises:
        FileNotFoundError: weights or settings are missing.
        ValueError: the two do not belong together or are damaged.
    """
    path = _safetensors_path(path)
    for file in (path, path.with_suffix(".json")):
        if not file.is_file():
            raise FileNotFoundError(f"path must name a saved model, but {file} does not exist")
    method = mae(**_read_config(path), seed=0)
    load_mae_weights(method, path)
    return method


def published_name(name: str) -> str:
    """Name in the release of what has ``name`` in the state dict of a method."""
    if name == "decoder.mask_token":
        return "mask_token"
    return name.removeprefix("encoder.").replace("decoder.", "decoder_", 1)


def _own(name: str) -> str:
    if name == "mask_token":
        return "decoder.mask_token"
    decoders = name.startswith("decoder_")
    return name.replace("decoder_", "decoder.", 1) if decoders else f"encoder.{name}"


def _is_decoders(name: str) -> bool:
    return name == "mask_token" or name.startswith("decoder_")


def _check_positions(found: dict, expected: dict, path: str | Path) -> None:
    for name in set(POSITIONS) & set(expected):
        gap = (found[name].cpu() - expected[name].cpu()).abs().max().item()
        if not gap <= TOLERANCE:
            raise ValueError(f"weights in {path} are for another resolution: {name} differs from "
                             f"the model's fixed positions by up to {gap:.2g}")


def _safetensors_path(path: str | Path) -> Path:
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path}")
    return Path(path)


def _read_config(path: Path) -> dict:
    record = path.with_suffix(".json")
    try:
        written = json.loads(record.read_text())
        config, digest = written["config"], written["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{record} is not the record of a saved model") from error
    if digest != _sha256(path):
        raise ValueError(f"{path} is damaged or does not belong to {record}: another checksum")
    return config


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file, then move it to ``path`` in one step."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
