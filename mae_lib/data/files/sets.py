"""Sets of picture files, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mae_lib.data.files.corrupt import note_corrupt
from mae_lib.data.files.decoding import BadImage, decode
from mae_lib.data.files.parallel import parallel
from mae_lib.data.files.transforms import CentreView, RandomView, View, WholeView
from mae_lib.data.images import check_labels, fingerprint

SIZED = 4096  # files whose sizes in bytes enter a fingerprint: a stat of each costs minutes
SAMPLED = 1000  # pictures that mean and deviation are taken from


@dataclass(frozen=True, eq=False)
class FileSet:
    """Labelled picture files, seen through a view of one size.

    Evaluation asks for ``batch``: every item must count, so a file that cannot be read is an error;
    :func:`mae_lib.data.files.readable.readable` finds such files beforehand and leaves them out.
    Training asks for ``views``: there the next readable picture of the same class takes the place
    of one that cannot be read, so that a batch is always full and every process makes the same one.

    Args:
        root: folder that ``files`` are below.
        files: paths relative to it, with "/".
        labels, classes, name: as of :class:`mae_lib.data.images.ImageSet`.
        transform: the view of ``batch``.
        view: the random view of ``views``, None for none.
        max_corrupt: how many files may be unreadable: a number if an integer, a share of the set if
            a float.
        memory: the pictures as :func:`decoded` keeps them, in place of the files' contents.

    Attributes:
        corrupt: what this process could not read so far: place in the set and reason.

    Raises:
        ValueError: no files, labels that do not fit, views of two sizes, a ``max_corrupt`` below 0.
    """

    root: Path
    files: np.ndarray | Sequence[str]
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    transform: View = CentreView()
    view: RandomView | None = None
    max_corrupt: float = 0.001
    memory: np.ndarray | None = field(default=None, repr=False)
    corrupt: dict[int, str] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.files) == 0:
            raise ValueError(f"files must hold at least one picture, got none below {self.root}")
        if not isinstance(self.files, np.ndarray):  # one block of bytes, that workers can share
            object.__setattr__(self, "files", np.array([f.encode() for f in self.files]))
        check_labels(self.labels, len(self.files), len(self.classes))
        if self.view is not None and self.view.size != self.transform.size:
            raise ValueError(f"view must have the size of transform, {self.transform.size}, "
                             f"got {self.view.size}")
        if self.max_corrupt < 0:
            raise ValueError(f"max_corrupt must be at least 0, got {self.max_corrupt}")

    def __len__(self) -> int:
        return len(self.files)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the views in pixels."""
        return self.transform.size, self.transform.size

    @cached_property
    def fingerprint(self) -> str:
        """Of the names, labels, classes and views, and of the sizes of up to 4,096 files in bytes.

        Where the files lie does not matter. Contents are not read: that would take hours.
        """
        some = np.unique(np.linspace(0, len(self) - 1, min(SIZED, len(self))).astype(int))
        sizes = [path.stat().st_size if (path := self.path(i)).is_file() else -1 for i in some]
        kept = () if self.memory is None else (repr(self.memory.shape[1:]),)
        return fingerprint(b"\n".join(self.files.tolist()), np.int64(self.labels).tobytes(),
                           repr(self.classes), repr(sizes), repr(self.transform), repr(self.view),
                           *kept)

    def path(self, i: int) -> Path:
        """The file of picture ``i``."""
        return Path(self.root, self.files[i].decode())

    def batch(self, index) -> Tensor:
        """The fixed view of the pictures at ``index``, float32 ``[B,3,H,W]`` in [0, 1].

        Raises:
            BadImage: a file that cannot be read; the message names it.
        """
        return as_floats(self.pixels(index))

    def pixels(self, index) -> Tensor:
        """The same as bytes, uint8 ``[B,3,H,W]``: a quarter of what workers pass on."""
        return _stack([self._pixels(i, self.transform) for i in np.arange(len(self))[index]])

    def views(self, index, seeds: Sequence[int]) -> Tensor:
        """A random view of each picture at ``index``, float32 ``[B,3,H,W]`` in [0, 1].

        A view is a function of its picture and its seed, whatever process makes it and when.

        Args:
            seeds: one an item.

        Raises:
            ValueError: a set without ``view``, or another number of seeds.
            TooManyBadImages: see ``max_corrupt``; BadImage: nothing of a class can be read.
        """
        return as_floats(self.view_pixels(index, seeds))

    def view_pixels(self, index, seeds: Sequence[int]) -> Tensor:
        """The same as bytes, uint8 ``[B,3,H,W]``."""
        index = np.arange(len(self))[index]
        if self.view is None:
            raise ValueError(f"view must be set for random views of {self.name}, got None")
        if len(seeds) != len(index):
            raise ValueError(f"seeds must be {len(index)}, one an item, got {len(seeds)}")
        return _stack([self._readable_view(int(i), int(seed))
                       for i, seed in zip(index, seeds, strict=True)])

    def subset(self, index) -> FileSet:
        """The files at ``index``."""
        memory = None if self.memory is None else self.memory[index]
        return replace(self, files=self.files[index], labels=self.labels[index], memory=memory)

    def standardisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of each channel in [0, 1] units, over the fixed views of up to 1,000
        pictures spread evenly over the set."""
        some = np.unique(np.linspace(0, len(self) - 1, min(SAMPLED, len(self))).astype(int))
        sums = np.zeros((2, 3))
        for i in some:
            values = self._pixels(i, self.transform).reshape(3, -1) / 255
            sums += values.mean(1), (values**2).mean(1)
        first, second = sums / len(some)
        return tuple(first.round(4).tolist()), tuple(np.sqrt(second - first**2).round(4).tolist())

    def _pixels(self, i: int, view: View, seed: int | None = None) -> np.ndarray:
        """One view, uint8 ``[3,H,W]``."""
        path = self.path(i)
        picture = decode(path) if self.memory is None else Image.fromarray(self.memory[i])
        try:
            return np.asarray(view(picture, seed)).transpose(2, 0, 1)
        except BadImage as error:
            raise BadImage(f"{path} {error}") from error

    def _readable_view(self, i: int, seed: int) -> np.ndarray:
        for j in self._stand_ins(i):
            if j not in self.corrupt:
                try:
                    return self._pixels(j, self.view, seed)
                except BadImage as error:
                    note_corrupt(self, j, str(error), "another picture of its class", 4)
        raise BadImage(f"no picture of class {self.classes[self.labels[i]]!r} can be read; "
                       f"the first: {self.corrupt[i]}")

    def _stand_ins(self, i: int) -> Iterator[int]:
        """``i``, then the other pictures of its class, from there on and around."""
        yield i
        same = np.flatnonzero(self.labels == self.labels[i])
        yield from np.roll(same, -np.searchsorted(same, i))[1:].tolist()


def decoded(images: FileSet, side: int, *, workers: int = 0) -> FileSet:
    """A set whose files are decoded once, to the central square of each, ``side`` pixels wide.

    Many random views of few pictures then cost no more than those of an array. Views see the
    square: give it about twice the side of a view.

    Args:
        workers: processes that decode.

    Raises:
        BadImage: a file that cannot be read; see :func:`mae_lib.data.files.readable.readable`.
    """
    whole = replace(images, transform=CentreView(side, side), view=None)
    parts = np.array_split(np.arange(len(images)), max(1, len(images) // 64))
    pixels = np.concatenate([p.numpy() for p in parallel(whole.pixels, parts, workers)])
    return replace(images, transform=WholeView(images.transform.size),
                   memory=np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)))


def batches(images: FileSet, batch: int = 64, *, workers: int = 0) -> Iterator[Tensor]:
    """The whole set in order, float32 ``[B,3,H,W]`` in [0, 1], the last batch with what is left.

    Args:
        workers: processes that decode ahead; 0 for this one.
    """
    starts = [slice(i, i + batch) for i in range(0, len(images), batch)]
    yield from map(as_floats, parallel(images.pixels, starts, workers))


def as_floats(pixels: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1]."""
    return pixels.float().div_(255.0)


def _stack(pixels: list[np.ndarray]) -> Tensor:
    if not pixels:
        raise ValueError("index must name at least one picture, got none")
    return torch.from_numpy(np.stack(pixels))
