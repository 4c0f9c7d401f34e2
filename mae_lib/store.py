"""Results on disk: a JSON record, arrays as npz, tensors as safetensors; whole or not at all.

The record is written last and holds the checksums of its siblings and of itself, so that a file
that was cut short or edited is noticed. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

SUFFIXES = {"arrays": ".npz", "tensors": ".safetensors"}


class Damaged(ValueError):
    """A stored result that is not what was written; the message names the file and the defect."""


def write(path: Path, record: dict, arrays: dict[str, np.ndarray], tensors: dict) -> None:
    """Write ``<path>.json`` and, where there is anything to keep, its siblings.

    Raises:
        OSError: disk full or folder not writable, as one sentence; no partial file is left and an
            older result stays readable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sums = {}
    if arrays:
        sums["arrays"] = _replace(path.with_suffix(".npz"), lambda file: _save_npz(file, arrays))
    if tensors:
        from safetensors.torch import save_file

        kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
        sums["tensors"] = _replace(path.with_suffix(".safetensors"), lambda f: save_file(kept, f))
    record = {**record, "sha256": sums}
    text = json.dumps({**record, "checksum": _checksum(record)}, indent=1, allow_nan=False)
    _replace(path.with_suffix(".json"), lambda file: file.write_text(text + "\n"))


def read(path: Path) -> tuple[dict, dict[str, np.ndarray], dict] | None:
    """The record, arrays and tensors of ``<path>.json``; None if there is no such file.

    Raises:
        Damaged: the record or a sibling is cut short, edited or missing.
    """
    file = path.with_suffix(".json")
    if not file.exists():
        return None
    record = _read_record(file)
    for kind, expected in record["sha256"].items():
        _check_sibling(path.with_suffix(SUFFIXES[kind]), expected)
    return record, _load_npz(path, record), _load_tensors(path, record)


def files(path: Path) -> list[Path]:
    """The files of a stored result that exist."""
    candidates = [path.with_suffix(s) for s in (".json", *SUFFIXES.values())]
    return [file for file in candidates if file.exists()]


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock of a result; another process waits until it is given back."""
    try:
        import fcntl
    except ImportError:  # no such locks on Windows: two processes may then compute the same thing
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield  # the lock goes with the file, also when the process is killed


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_record(file: Path) -> dict:
    try:
        record = json.loads(file.read_text())
        expected = record.pop("checksum")
        siblings = record["sha256"].keys() <= SUFFIXES.keys()
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Damaged(f"{file} is damaged: it is no complete record") from error
    if not siblings or expected != _checksum(record):
        raise Damaged(f"{file} is damaged: its contents do not match its checksum")
    return record


def _check_sibling(file: Path, expected: str) -> None:
    if not file.exists():
        raise Damaged(f"{file} is missing")
    if sha256(file) != expected:
        raise Damaged(f"{file} is damaged: its contents do not match its checksum")


def _checksum(record: dict) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _save_npz(file: Path, arrays: dict[str, np.ndarray]) -> None:
    with open(file, "wb") as out:  # given a name, numpy would append .npz to it
        np.savez_compressed(out, allow_pickle=False, **arrays)


def _load_npz(path: Path, record: dict) -> dict[str, np.ndarray]:
    if "arrays" not in record["sha256"]:
        return {}
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _load_tensors(path: Path, record: dict) -> dict:
    if "tensors" not in record["sha256"]:
        return {}
    from safetensors.torch import load_file

    return load_file(path.with_suffix(".safetensors"))


def _replace(path: Path, fill: Callable[[Path], object]) -> str:
    """Fill a temporary file in the same folder, move it to ``path``; returns its SHA-256."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fill(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        digest = sha256(temporary)
        os.replace(temporary, path)
        return digest
    except OSError as error:
        hint = "free some space or set MAE_LIB_CACHE to another disk"
        raise OSError(error.errno, f"{path} could not be written ({error}); {hint}") from error
    finally:
        temporary.unlink(missing_ok=True)
