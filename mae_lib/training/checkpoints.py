"""Training checkpoints: tensors as safetensors, everything else as JSON beside them.

A checkpoint is written under a temporary name and renamed when complete, the JSON last and with
the checksum of the tensors. The one before is kept, so that a kill at any moment leaves at least
one that can be read.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import nn

KEPT = 2


class Progress(NamedTuple):
    """How far a run has come: the next step, and the loss of every step before it."""

    step: int
    losses: torch.Tensor


def save_checkpoint(folder: str | Path, method: nn.Module, optimizer: torch.optim.Optimizer,
                    progress: Progress, identity: dict) -> Path:
    """Write a checkpoint and remove all but the last two; returns the path of its JSON.

    Args:
        identity: what makes this run this run (settings, recipe, seed); compared on resume.

    Raises:
        OSError: the disk is full or the folder not writable; older checkpoints stay.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"step-{progress.step:09d}"
    tensors = {f"model.{k}": v for k, v in method.state_dict().items()}
    tensors |= _optimizer_tensors(method, optimizer) | {"losses": progress.losses}
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    weights, record = folder / f"{name}.safetensors", folder / f"{name}.json"
    _replace(weights, lambda path: save_file(tensors, path))
    text = json.dumps({"step": progress.step, "identity": identity, "sha256": _sha256(weights)})
    _replace(record, lambda path: Path(path).write_text(text))
    _remove_old(folder)
    return record


def load_checkpoint(folder: str | Path, method: nn.Module, optimizer: torch.optim.Optimizer,
                    identity: dict) -> Progress | None:
    """Load the newest checkpoint that is whole; None if there is none.

    Raises:
        ValueError: the checkpoint belongs to a run with other settings.
    """
    for record in sorted(Path(folder).glob("step-*.json"), reverse=True):
        tensors, written = _read(record)
        if tensors is None:
            continue
        if written["identity"] != json.loads(json.dumps(identity)):
            raise ValueError(f"checkpoint {record} belongs to a run with other settings "
                             f"({_difference(written['identity'], identity)}); "
                             "name another folder or remove it")
        method.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        _restore_optimizer(method, optimizer, tensors)
        return Progress(written["step"], tensors["losses"])
    return None


def _read(record: Path) -> tuple[dict | None, dict]:
    """Tensors and record, or None if either is damaged."""
    try:
        written = json.loads(record.read_text())
        weights = record.with_suffix(".safetensors")
        if _sha256(weights) != written["sha256"]:
            return None, {}
        return load_file(weights), written
    except (OSError, ValueError, KeyError):
        return None, {}


def _optimizer_tensors(method: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    names = {p: n for n, p in method.named_parameters()}
    return {f"optimizer.{field}.{names[p]}": torch.as_tensor(value)
            for p, state in optimizer.state.items() for field, value in state.items()}


def _restore_optimizer(method: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict) -> None:
    """Put moments and step counts back, through the optimizer's own loader for the devices."""
    names = {p: n for n, p in method.named_parameters()}
    order = [p for group in optimizer.param_groups for p in group["params"]]
    fields = {"step", "exp_avg", "exp_avg_sq"}
    state = {i: {f: tensors[f"optimizer.{f}.{names[p]}"] for f in fields}
             for i, p in enumerate(order) if f"optimizer.step.{names[p]}" in tensors}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _replace(path: Path, write) -> None:
    """Let ``write`` fill a temporary file, then move it to ``path`` in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"checkpoint {path} could not be written "
                                   f"({error.strerror}); older checkpoints stay") from error
    finally:
        temporary.unlink(missing_ok=True)


def _remove_old(folder: Path) -> None:
    for record in sorted(folder.glob("step-*.json"))[:-KEPT]:
        record.unlink()
        record.with_suffix(".safetensors").unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference(old: dict, new: dict) -> str:
    keys = [k for k in sorted(set(old) | set(new)) if old.get(k) != new.get(k)]
    return ", ".join(f"{k}: {old.get(k)} there, {new.get(k)} here" for k in keys)
