"""Folders of pictures as sets, with a check of their layout: what was expected, what is there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mae_lib.data.files.sets import FileSet
from mae_lib.data.files.transforms import CentreView, RandomView

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
COUNT_TOLERANCE = 0.01  # share by which the number of files may differ from the official one


class WrongLayout(ValueError):
    """A data set that is not as it should be on disk; the message says what is and what is not."""


def folder(root: str | Path, *, size: int = 224, name: str | None = None,
           view: RandomView | None = None, max_corrupt: float = 0.001) -> FileSet:
    """Any folder of pictures: one class a folder below it, or one class if the pictures lie in it.

    Pictures are found by the ending of their name, at any depth below a class; names that begin
    with a dot, and folders without a picture, do not count.

    Raises:
        WrongLayout: no such folder, no picture in it, or pictures beside class folders.
    """
    root = existing(Path(root), "a folder of pictures, with or without class folders")
    own = [file for file in _names(root, files=True) if is_picture(file)]
    classes = {c: found for c in _names(root, files=False) if (found := pictures(root / c))}
    if own and classes:
        raise WrongLayout(f"{root} should hold either pictures or class folders, but holds "
                          f"{len(own)} pictures ({_some(own)}) beside {len(classes)} folders of "
                          f"pictures ({_some(classes)})")
    if not own and not classes:
        raise WrongLayout(f"{root} should hold pictures ({', '.join(ENDINGS)}), or folders of "
                          f"them, but holds {found_in(root)}")
    found = classes or {"": own}
    files, labels = _flat(found)
    return FileSet(root, files, labels, tuple(found) if classes else (root.name,),
                   name or root.name, CentreView(size), view, max_corrupt)


def class_folders(base: Path, expected: Sequence[str], *, count: int | None = None,
                  strict: bool = True, others: bool = False) -> tuple[list[str], np.ndarray]:
    """Files of known class folders, relative to ``base``, and labels: places in ``expected``.

    Args:
        count: how many files there are officially; any number if None.
        strict: refuse missing and unknown folders, empty ones, and a number of files that is off
            by more than 1 %; otherwise take what is there.
        others: folders that are not ``expected`` may be there, and are left out.

    Raises:
        WrongLayout: see ``strict``; whatever it is, no picture at all.
    """
    present = set(_names(base, files=False))
    found = {c: pictures(base / c) if c in present else [] for c in expected}
    missing = [c for c in expected if not found[c]]
    extra = [] if others else sorted(present - set(expected))
    files, labels = _flat(found)
    if not files or (strict and (missing or extra)):
        raise WrongLayout(
            f"{base} should hold {len(expected)} class folders with pictures "
            f"({_some(expected)}); missing or empty: {len(missing)} ({_some(missing)}), unknown: "
            f"{len(extra)} ({_some(extra)}); it holds {found_in(base)}")
    if strict and count is not None and abs(len(files) - count) > COUNT_TOLERANCE * count:
        raise WrongLayout(f"{base} should hold {count:,} pictures within 1 %, but holds "
                          f"{len(files):,}: was it copied or unpacked as a whole? (strict=False "
                          "takes what is there)")
    return files, labels


def pictures(base: Path) -> list[str]:
    """Picture files below a folder at any depth, relative to it, sorted; links are followed."""
    found = []
    for top, below, files in os.walk(base, followlinks=True):
        below[:] = [b for b in below if not b.startswith(".")]
        inside = os.path.relpath(top, base).replace(os.sep, "/")
        found += [file if inside == "." else f"{inside}/{file}" for file in files
                  if is_picture(file)]
    return sorted(found)


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture."""
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def existing(root: Path, expected: str) -> Path:
    """``root`` if it is a folder; otherwise WrongLayout says where the path ends."""
    if root.is_dir():
        return root
    if root.exists():
        raise WrongLayout(f"{root} should be {expected}, but is a file")
    above = next(p for p in root.parents if p.exists())
    raise WrongLayout(f"{root} should be {expected}, but does not exist; {above} holds "
                      f"{found_in(above)}")


def found_in(base: Path) -> str:
    """What a folder holds, in a few words."""
    folders, files = _names(base, files=False), _names(base, files=True)
    told = [f"{len(names)} {kind} ({_some(names)})"
            for names, kind in ((folders, "folders"), (files, "files")) if names]
    return " and ".join(told) or "nothing"


def _flat(found: dict[str, list[str]]) -> tuple[list[str], np.ndarray]:
    """Files with their class folders before them, and the place of each one's class."""
    files = [f"{c}/{file}" if c else file for c, some in found.items() for file in some]
    counts = [len(some) for some in found.values()]
    return files, np.repeat(np.arange(len(counts)), counts)


def _names(base: Path, *, files: bool) -> list[str]:
    with os.scandir(base) as entries:
        return sorted(e.name for e in entries
                      if not e.name.startswith(".") and e.is_dir() != files)


def _some(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "") if names else "none"
