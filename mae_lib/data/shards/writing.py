"""Shards: pictures in tar files that are read from front to back, in webdataset's convention.

A sample is a run of members that share a name up to the first dot: ``000017.jpg`` and
``000017.cls``, the label as a decimal number. Beside the tar files lies ``shards.json`` with the
number of samples and the length of each, which an order, a length and a check of the copy need. The
webdataset library writes and reads the same files. It is not used here, since its streams cannot go
on in the middle of an epoch, and what is left is the standard library's tarfile.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mae_lib.data.files.sets import FileSet
from mae_lib.data.official.folders import ENDINGS, WrongLayout, existing, found_in

INDEX = "shards.json"


class BadShard(RuntimeError):
    """A shard that is missing, cut short, or does not hold what the index says."""


class Sample(NamedTuple):
    """The bytes of a picture file, its label, and what to call it in a message."""

    data: bytes
    label: int
    name: str


@dataclass(frozen=True)
class Shard:
    """A tar file, the number of samples in it and its length in bytes."""

    file: str
    count: int
    bytes: int


def write_shards(images: FileSet, folder: str | Path, *, per_shard: int = 1000,
                 seed: int = 0) -> Path:
    """Copy picture files, byte by byte, into tar files of ``per_shard`` samples; the folder.

    Samples are in random order: a stream mixes neighbouring samples only, and must not meet one
    class after the other. Same files and seed, same shards.

    Raises:
        ValueError: ``per_shard`` below 1, or a folder that has shards already.
    """
    if per_shard < 1:
        raise ValueError(f"per_shard must be at least 1, got {per_shard}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / INDEX).exists():
        raise ValueError(f"folder must hold no shards yet, got {folder} with {INDEX} in it")
    order = np.random.default_rng(seed).permutation(len(images))
    starts = range(0, len(order), per_shard)
    shards = [_write_shard(images, folder / f"{k:06}.tar", order[i:i + per_shard], i)
              for k, i in enumerate(starts)]
    return _write_index(folder, images.name, images.classes, shards)


def index_shards(folder: str | Path, name: str, classes: tuple[str, ...]) -> Path:
    """Write the index of tar files that came without one, after reading each once; the folder.

    Raises:
        WrongLayout: no tar file there. BadShard: one that is damaged.
    """
    folder = existing(Path(folder), "a folder of tar files")
    files = sorted(folder.glob("*.tar"))
    if not files:
        raise WrongLayout(f"{folder} should hold tar files, but holds {found_in(folder)}")
    shards = [Shard(file.name, sum(1 for _ in _groups(file)), file.stat().st_size)
              for file in files]
    return _write_index(folder, name, classes, shards)


def read_index(folder: str | Path) -> tuple[str, tuple[str, ...], tuple[Shard, ...]]:
    """Name, classes and shards of a folder, after a look at the length of every tar file.

    Raises:
        WrongLayout: no index, or one that is damaged.
        BadShard: tar files that are missing, or longer or shorter than they were.
    """
    folder = existing(Path(folder), f"a folder of shards with {INDEX}")
    if not (folder / INDEX).exists():
        raise WrongLayout(f"{folder} should hold {INDEX} (index_shards writes it), but holds "
                          f"{found_in(folder)}")
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        shards = tuple(Shard(**one) for one in index["shards"])
        name, classes = index["name"], tuple(index["classes"])
    except (ValueError, KeyError, TypeError) as error:
        raise WrongLayout(f"{folder / INDEX} should list name, classes and shards, but is damaged "
                          f"({error})") from error
    _check_lengths(folder, shards)
    return name, classes, shards


def read_shard(file: Path, shard: Shard, wanted: np.ndarray) -> Iterator[tuple[int, Sample]]:
    """Place and contents of the samples that are ``wanted``, bool ``[count]``, in one pass; what
    comes after the last of them is not read.

    Raises:
        BadShard: no such file, a cut one, fewer or more samples than the index says, a sample
            without picture or with a label that is no number.
    """
    last, place = int(np.flatnonzero(wanted)[-1]), -1
    for place, (key, members) in enumerate(_groups(file, wanted)):
        if place >= shard.count:
            break
        if wanted[place]:
            yield place, _sample(file, key, members)
        if place == last < shard.count - 1:
            return
    if place + 1 != shard.count:
        more = "more than that" if place + 1 > shard.count else place + 1
        raise BadShard(f"{file} should hold {shard.count} samples as {INDEX} says, but holds {more}"
                       f": was it copied as a whole, and written with this index?")


def _groups(file: Path, wanted: np.ndarray | None = None) -> Iterator[tuple[str, dict]]:
    """Name of each sample and its members by their ending; bytes of those wanted only."""
    key, members, place, seen = None, {}, 0, "its first member"
    try:
        for seen, read in _members(file):
            this, _, ending = seen.rpartition("/")[2].partition(".")
            if this != key:
                if key is not None:
                    yield key, members
                    place += 1
                key, members = this, {}
            if wanted is not None and place < len(wanted) and wanted[place]:
                members[f".{ending.lower()}"] = read()
    except FileNotFoundError as error:
        raise BadShard(f"{file} is missing") from error
    except (tarfile.TarError, EOFError) as error:
        raise BadShard(f"{file} is cut short or damaged at {seen} ({error})") from error
    if key is not None:
        yield key, members


def _members(file: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names in a tar file, and for each a function that reads it while its turn lasts."""
    with open(file, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if member.isfile():
                yield member.name, lambda m=member: tar.extractfile(m).read()
            tar.members = []  # or it would remember all it has passed


def _sample(file: Path, key: str, members: dict[str, bytes]) -> Sample:
    name = f"{file}:{key}"
    found = [data for ending, data in members.items() if ending in ENDINGS]
    if not found:
        raise BadShard(f"{name} should have a picture ({', '.join(ENDINGS)}), but has "
                       f"{', '.join(members) or 'nothing'}")
    text = members.get(".cls", b"0").decode(errors="replace").strip()
    if not text.isdecimal():
        raise BadShard(f"{name} should have a number as its class, but has {text!r}")
    return Sample(found[0], int(text), name)


def _write_shard(images: FileSet, file: Path, chosen: np.ndarray, first: int) -> Shard:
    part = file.with_suffix(".part")
    with tarfile.open(part, "w") as tar:
        for place, i in enumerate(chosen.tolist(), start=first):
            path = images.path(i)
            for ending, data in ((path.suffix.lower(), path.read_bytes()),
                                 (".cls", str(images.labels[i]).encode())):
                member = tarfile.TarInfo(f"{place:09}{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    os.replace(part, file)
    return Shard(file.name, len(chosen), file.stat().st_size)


def _write_index(folder: Path, name: str, classes: tuple[str, ...], shards: list[Shard]) -> Path:
    part = folder / f"{INDEX}.part"
    part.write_text(json.dumps({"name": name, "classes": list(classes),
                                "shards": [asdict(shard) for shard in shards]}, indent=1),
                    encoding="utf-8")
    os.replace(part, folder / INDEX)
    return folder


def _check_lengths(folder: Path, shards: tuple[Shard, ...]) -> None:
    files = [(folder / s.file, s) for s in shards]
    if missing := [s.file for path, s in files if not path.exists()]:
        raise BadShard(f"{folder} should hold {len(shards)} shards, but {len(missing)} are missing:"
                       f" {', '.join(missing[:3])}")
    for path, shard in files:
        if (length := path.stat().st_size) != shard.bytes:
            raise BadShard(f"{path} should have {shard.bytes:,} bytes as {INDEX} says, but has "
                           f"{length:,}: was it copied as a whole?")
