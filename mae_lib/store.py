"""Results on disk: a JSON record, arrays as npz, tensors as safetensors; whole or not at all.

The record is written last and holds the checksums of its siblings and of itself, so that a file
that was cut short or edited is noticed. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

SUFFIXES = {"arrays": ".npz", "tensors": ".safetensors"}


class Damaged(ValueError):
    """A stored result that is not what was written; the message names the file and the defect."""


def write(path: Path, record: dict, arrays: dict[str, np.ndarray], tensors: dict) -> None:
    """Write ``<path>.json`` and, where there is anything to keep, its siblings.

    Everything is written under temporary names first and moved at the end, the record last: until
    then an older result stays readable, and after a kill the record and its siblings do not match.

    Raises:
        OSError: disk full or folder not writable, as one sentence; no partial file is left and an
            older result stays readable.
        ValueError: arrays of objects.
    """
    fills = {"arrays": partial(_save_npz, arrays=arrays)} if arrays else {}
    fills |= {"tensors": partial(_save_tensors, tensors=tensors)} if tensors else {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_parts(path)  # of a process that was killed
        sums = {kind: _fill(_part(path, SUFFIXES[kind]), fill) for kind, fill in fills.items()}
        _fill(_part(path, ".json"), partial(_save_record, record={**record, "sha256": sums}))
        for suffix in (*(SUFFIXES[kind] for kind in sums), ".json"):
            os.replace(_part(path, suffix), path.with_suffix(suffix))
    except OSError as error:
        hint = "free some space or set MAE_LIB_CACHE to another disk"
        raise OSError(f"{path} could not be written ({error}); {hint}") from error
    finally:
        _remove_parts(path)


def read(path: Path) -> tuple[dict, dict[str, np.ndarray], dict] | None:
    """The record, arrays and tensors of ``<path>.json``; None if there is no such file.

    Raises:
        Damaged: the record or a sibling is cut short, edited, missing or holds Python objects.
    """
    file = path.with_suffix(".json")
    if not file.exists():
        return None
    record = _read_record(file)
    for kind, expected in record["sha256"].items():
        _check_sibling(path.with_suffix(SUFFIXES[kind]), expected)
    try:
        return record, _load_npz(path, record), _load_tensors(path, record)
    except (AttributeError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise Damaged(f"{file} is damaged: a sibling holds no plain arrays ({error})") from error


def files(path: Path) -> list[Path]:
    """The files of a stored result that exist."""
    candidates = [path.with_suffix(s) for s in (".json", *SUFFIXES.values())]
    return [file for file in candidates if file.exists()]


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock of a result; another process waits until it is given back.

    Where there are no locks (Windows, some network disks) or the folder cannot be written to, two
    processes may compute the same thing.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            path.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(open(path.with_suffix(".lock"), "w"))
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


def _save_record(file: Path, record: dict) -> None:
    text = json.dumps({**record, "checksum": _checksum(record)}, indent=1)
    file.write_text(text + "\n")


def _save_npz(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """What numpy.savez_compressed writes, but for any name, and never with pickled objects."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # without a date: same arrays, same bytes
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as out:
                np.lib.format.write_array(out, array, allow_pickle=False)


def _save_tensors(file: Path, tensors: dict) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:  # copies, since the format refuses tensors that share memory
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, file)
    except SafetensorError as error:  # when the disk is full
        raise OSError(str(error)) from error


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


def _fill(file: Path, fill: Callable[[Path], object]) -> str:
    """Let ``fill`` write a file, see it safely on the disk; returns its SHA-256."""
    fill(file)
    with open(file, "rb") as written:
        os.fsync(written.fileno())
    return sha256(file)


def _part(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part{suffix}")


def _remove_parts(path: Path) -> None:
    for part in path.parent.glob(f".{path.name}.*.part*"):
        part.unlink(missing_ok=True)
