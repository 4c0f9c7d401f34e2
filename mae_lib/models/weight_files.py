"""What lies in a file of weights, read without running any code of it."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

MODEL_KEYS = ("model", "state_dict")  # where the MAE release and timm's training scripts put it
NOT_WEIGHTS = {b"<!doctype": "a web page", b"<html": "a web page", b"<?xml": "a web page",
               b"version https://git-lfs": "a pointer of Git LFS"}


class WeightFile(NamedTuple):
    """Content of a file.

    ``weights`` by name, on the CPU; ``settings`` of the training that wrote the file, empty if it
    holds none; ``beside``, the names of what else lies at the top.
    """

    weights: dict[str, Tensor]
    settings: dict
    beside: tuple[str, ...]


class _Settings(dict):
    """Stands for yacs' CfgNode, in which the checkpoints of SimMIM keep their settings."""


def read_file(path: str | Path) -> WeightFile:
    """Content of a ``.safetensors`` file or of a PyTorch file; runs no code of it.

    A PyTorch file holds the state dict itself or, as the MAE release, under the key ``model``
    (timm: ``state_dict``), with the settings, if any, under ``args`` or ``config``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged; no weights; holds anything but tensors and settings.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path must name a file of weights, got {path}, which is none")
    _check_start(path)
    if path.suffix == ".safetensors":
        return WeightFile(_state_dict(_read_safetensors(path), path), {}, ())
    content = _read_pytorch(path)
    key = _model_key(content)
    if key is None:
        return WeightFile(_state_dict(content, path), {}, ())
    beside = tuple(str(name) for name in content if name != key)
    return WeightFile(_state_dict(content[key], path), _settings(content), beside)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file alone, see :func:`read_file`.

    Attention without a key bias (``q_bias``, ``v_bias``) gets the fused bias ``[q, 0, v]``.
    """
    return fuse_biases(read_file(path).weights)


def fuse_biases(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every pair ``q_bias``, ``v_bias`` as one ``qkv.bias`` whose part for the keys is 0."""
    fused = dict(weights)
    for name in weights:
        stem = name.removesuffix("q_bias")
        if stem != name and f"{stem}v_bias" in weights and f"{stem}qkv.bias" not in weights:
            query, value = fused.pop(name), fused.pop(f"{stem}v_bias")
            fused[f"{stem}qkv.bias"] = torch.cat([query, torch.zeros_like(query), value])
    return fused


def check_names_and_shapes(found: dict, expected: dict, path: str | Path) -> None:
    """Every expected tensor is there in its shape, and no other.

    Raises:
        ValueError: how many are missing, unexpected and of another shape, and the first of them.
    """
    other = [n for n in expected if n in found and found[n].shape != expected[n].shape]
    shapes = [f"{n} {list(found[n].shape)} instead of {list(expected[n].shape)}" for n in other]
    problems = {"missing": [n for n in expected if n not in found],
                "unexpected": [n for n in found if n not in expected], "of another shape": shapes}
    text = ", ".join(f"{len(p)} {kind} ({some(p)})" for kind, p in problems.items() if p)
    if other and all(name.endswith("pos_embed") for name in other):
        text += "; the file is for another resolution"
    if text:
        raise ValueError(f"weights in {path} do not fit the model: {text}")


def some(names: Iterable, most: int = 3) -> str:
    """The first names of many, for a sentence."""
    names = [str(n) for n in names]
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _check_start(path: Path) -> None:
    with open(path, "rb") as file:
        start = file.read(256).lstrip().lower()
    if not start:
        raise ValueError(f"{path} must hold weights, got an empty file")
    for beginning, what in NOT_WEIGHTS.items():
        if start.startswith(beginning):
            raise ValueError(f"{path} must hold weights, got {what}: download the file itself")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from error


def _read_pytorch(path: Path) -> object:
    """Content of a PyTorch file; besides tensors, it may hold settings as argparse or yacs do."""
    try:
        known = [argparse.Namespace, (_Settings, "yacs.config.CfgNode")]
        with torch.serialization.safe_globals(known):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds something else than tensors and settings, or is damaged; "
                         "nothing in it was run") from error
    except PermissionError:
        raise
    except Exception as error:  # a cut or altered pickle fails in any way it likes
        reason = f"{type(error).__name__} {error}".strip()
        raise ValueError(f"{path} is not a whole PyTorch file ({reason})") from error


def _model_key(content: object) -> str | None:
    if not isinstance(content, dict):
        return None
    return next((key for key in MODEL_KEYS if isinstance(content.get(key), dict)), None)


def _settings(content: dict) -> dict:
    found = content.get("args", content.get("config"))
    if isinstance(found, argparse.Namespace):
        return dict(vars(found))
    return dict(found) if isinstance(found, dict) else {}


def _state_dict(content: object, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} must hold a state dict, at the top or under 'model' or "
                         f"'state_dict', got {'an empty' if content == {} else 'a'} "
                         f"{type(content).__name__}")
    if "optimizer" in content or set(content) == {"state", "param_groups"}:
        raise ValueError(f"{path} must hold the weights of a model, got the state of an optimizer "
                         "without its model")
    others = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise ValueError(f"{path} must hold tensors only, got others under {some(others)}")
    return content
