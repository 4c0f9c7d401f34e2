"""A recording on disk: parts of equal length, each whole or not there, and an index of checksums.

A part is written under a temporary name and moved, then the index likewise. After a kill at any
moment the parts that the index names are whole, and the recording goes on after the last of them; a
part that was damaged later is noticed, and recorded again with those that follow it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mae_lib.data.atari.player import Part

INDEX = "parts.json"


class Parts:
    """The parts in a folder, from the first on."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.digests = _digests(folder / INDEX)

    def __len__(self) -> int:
        """How many there are, as far as is known: those that were not read may be damaged."""
        return len(self.digests)

    def read(self, count: int) -> Iterator[Part]:
        """The first ``count`` parts, as far as they go; the first that is missing or damaged is
        forgotten with what follows."""
        for k, digest in enumerate(self.digests[:count]):
            file = self._file(k)
            content = file.read_bytes() if file.exists() else b""
            if hashlib.sha256(content).hexdigest() != digest:
                self.digests = self.digests[:k]
                return
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                yield {name: archive[name] for name in archive.files}

    def append(self, part: Part) -> None:
        """Write the next part, then the index.

        Raises:
            OSError: disk full or folder not writable, as one sentence; the parts before stay.
        """
        content = _packed(part)
        digests = [*self.digests, hashlib.sha256(content).hexdigest()]
        with _one_sentence(self.folder):
            _write(self._file(len(self.digests)), content)
            _write(self.folder / INDEX, json.dumps(digests, indent=1).encode() + b"\n")
        self.digests = digests

    def _file(self, k: int) -> Path:
        return self.folder / f"{k:05}.npz"


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a recording alone; another process waits until it is given back.

    Where there are no locks (Windows, some network disks) two processes may record the same bytes.

    Raises:
        OSError: there can be no such folder, as one sentence.
    """
    with _one_sentence(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            file = held.enter_context(open(folder / ".lock", "w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # the lock goes with the file, also when the process is killed


@contextlib.contextmanager
def _one_sentence(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(f"{folder} could not be written to ({error}); free some space or set "
                      "MAE_LIB_DATA to another disk") from error


def _write(file: Path, content: bytes) -> None:
    """Write a file as a whole, and remove what a killed process left of it."""
    for left in file.parent.glob(f".{file.name}.*.part"):
        left.unlink()
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def _digests(index: Path) -> list[str]:
    """The checksums in an index; none where it is missing or damaged."""
    try:
        found = json.loads(index.read_text())
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def _packed(part: Part) -> bytes:
    """An npz file; lightly compressed, which makes pictures of games far smaller in little time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in part.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # without a date: same arrays, same bytes
            archive.writestr(entry, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=1)
    return packed.getvalue()
