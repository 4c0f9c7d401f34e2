"""Training checkpoints: tensors as safetensors, everything else as JSON beside them.

A checkpoint is written under a temporary name and renamed when complete, the JSON last and with
the checksum of the tensors. The one before is kept, so that a kill at any moment leaves at least
one that can be read. Of many processes the first writes and all read; whether they are many, and
whether weights are sharded among them, leaves no trace in the files.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from mae_lib.training.distributed import spread, whole, world

KEPT = 2


class Progress(NamedTuple):
    """How far a run has come: the next step, the loss of every step before it, and the state of
    the gradient scaler, empty if there is none."""

    step: int
    losses: torch.Tensor
    scaler: dict = {}


def save_checkpoint(folder: str | Path, method: nn.Module, optimizer: torch.optim.Optimizer,
                    progress: Progress, identity: dict) -> Path:
    """Write a checkpoint and remove all but the last two; returns the path of its JSON.

    All processes of a job must call it, to gather what is sharded.

    Args:
        identity: what makes this run this run (settings, recipe, seed); compared on resume.

    Raises:
        OSError: the disk is full or the folder not writable; older checkpoints stay.
    """
    tensors = {f"model.{k}": v for k, v in method.state_dict().items()}
    tensors |= _optimizer_tensors(method, optimizer) | {"losses": progress.losses}
    tensors = _apart({k: whole(v).contiguous() for k, v in tensors.items()})
    record = Path(folder) / f"step-{progress.step:09d}.json"
    if world().first:
        _write(record, tensors, progress, identity)
    world().wait()  # whoever looks for it now finds it
    return record


def _apart(tensors: dict) -> dict:
    """Weights that several layers share as one tensor each, since a file cannot say so."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        found[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return found


def _write(record: Path, tensors: dict, progress: Progress, identity: dict) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    weights = record.with_suffix(".safetensors")
    _replace(weights, lambda path: save_file(tensors, path))
    text = json.dumps({"step": progress.step, "identity": identity, "scaler": progress.scaler,
                       "sha256": _sha256(weights)})
    _replace(record, lambda path: Path(path).write_text(text))
    _remove_others(record.parent, record.stem)


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
        if difference := _difference(written["identity"], json.loads(json.dumps(identity))):
            raise ValueError(f"checkpoint {record} belongs to a run with other settings "
                             f"({difference}); name another folder or remove it")
        now = method.state_dict()
        method.load_state_dict({k[6:]: spread(v, like=now.get(k[6:]))
                                for k, v in tensors.items() if k.startswith("model.")})
        _restore_optimizer(method, optimizer, tensors)
        return Progress(written["step"], tensors["losses"], written.get("scaler", {}))
    return None


def _read(record: Path) -> tuple[dict | None, dict]:
    """Tensors and record, or None if either is damaged."""
    try:
        written = json.loads(record.read_text())
        weights = record.with_suffix(".safetensors")
        if _sha256(weights) != written["sha256"] or not isinstance(written["identity"], dict):
            return None, {}
        # a copy, since the loader maps the file, which is removed later
        tensors = {name: tensor.clone() for name, tensor in load_file(weights).items()}
        return (tensors, written) if len(tensors["losses"]) == written["step"] else (None, {})
    except (OSError, ValueError, KeyError, TypeError):
        return None, {}


def _optimizer_tensors(method: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    names = {p: n for n, p in method.named_parameters()}
    return {f"optimizer.{field}.{names[p]}": torch.as_tensor(value)
            for p, state in optimizer.state.items() for field, value in state.items()}


def _restore_optimizer(method: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict) -> None:
    """Put moments and step counts back, through the optimizer's own loader for the devices."""
    names = {p: n for n, p in method.named_parameters()}
    order = [p for group in optimizer.param_groups for p in group["params"]]
    state = {i: {"step": tensors[f"optimizer.step.{names[p]}"],
                 **{f: spread(tensors[f"optimizer.{f}.{names[p]}"], p)
                    for f in ("exp_avg", "exp_avg_sq")}}
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
    except (OSError, SafetensorError) as error:  # the latter when the disk is full
        raise OSError(f"checkpoint {path} could not be written ({error}); "
                      "older checkpoints stay") from error
    finally:
        temporary.unlink(missing_ok=True)


def _remove_others(folder: Path, newest: str) -> None:
    """Keep ``newest`` and what precedes it; drop damaged later ones and what a kill left behind."""
    names = sorted(record.stem for record in folder.glob("step-*.json") if record.stem <= newest)
    for path in folder.glob("*step-*"):
        if path.stem not in names[-KEPT:]:
            path.unlink()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference(old: dict, new: dict) -> str:
    """Which settings differ, for example ``recipe.lr: 0.1 there, 0.2 here``; empty if none."""
    old, new = _flat(old), _flat(new)
    keys = [k for k in sorted(set(old) | set(new)) if old.get(k) != new.get(k)]
    return ", ".join(f"{k}: {old.get(k)} there, {new.get(k)} here" for k in keys)


def _flat(settings: dict) -> dict:
    rows = {k: v if isinstance(v, dict) else {"": v} for k, v in settings.items()}
    return {f"{k}.{s}".rstrip("."): v for k, row in rows.items() for s, v in row.items()}
