"""Training images that stream from shards in an order that only the seed decides.

Shards are dealt to ``lanes``, anew in every pass. Each lane reads its own from front to back,
mixes them in a buffer, and fills its rows of every global batch. Lanes belong to the set and not to
the machines, so one process and eight see the same batches; a process or a worker takes whole
lanes. Which sample comes when is computed from the counts in the index before anything is read,
so a stream goes on at any step: it reads from the first shard that still holds a sample to come,
and decodes nothing that was seen.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from mae_lib.data.files.corrupt import TooManyBadImages, note_corrupt
from mae_lib.data.files.decoding import BadImage, decode
from mae_lib.data.files.sets import as_floats
from mae_lib.data.files.transforms import RandomView
from mae_lib.data.images import fingerprint
from mae_lib.data.protocols import view_seeds
from mae_lib.data.shards.writing import BadShard, Sample, Shard, read_index, read_shard


@dataclass(frozen=True, eq=False)
class ShardSet:
    """Shards as a source of random views; see :func:`shard_set`.

    Attributes:
        corrupt: samples that this process could not read so far: name and reason.
    """

    folder: Path
    shards: tuple[Shard, ...]
    classes: tuple[str, ...]
    name: str
    view: RandomView
    lanes: int = 8
    buffer: int = 1024
    max_corrupt: float = 0.001
    corrupt: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.lanes <= len(self.shards):
            raise ValueError(f"lanes must lie in 1..{len(self.shards)}, the number of shards, "
                             f"got {self.lanes}")
        if self.buffer < 1:
            raise ValueError(f"buffer must be at least 1 sample, got {self.buffer}")

    def __len__(self) -> int:
        return sum(shard.count for shard in self.shards)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the views in pixels."""
        return self.view.size, self.view.size

    @cached_property
    def fingerprint(self) -> str:
        """Of the index, and of what decides the order and the views."""
        return fingerprint(repr(self.shards), repr(self.classes), repr(self.view),
                           f"{self.lanes} {self.buffer}")

    def parts(self, batch: int, seed: int, *, start: int = 0, rank: int = 0, world: int = 1,
              workers: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows ``rank * batch / world`` and following of every global batch, from step ``start``.

        Endless. With equal shards that the lanes divide, every sample comes once a pass; otherwise
        some lanes begin their next pass sooner than others.

        Args:
            batch: images of a step over all processes; ``lanes`` must divide it.
            world: processes, of which this one is number ``rank``; must divide ``lanes``.
            workers: processes that read and decode ahead; more than lanes of a rank stay idle.

        Yields:
            Views float32 ``[batch / world, 3, H, W]`` in [0, 1] and labels int64.

        Raises:
            ValueError: numbers that do not divide each other.
            BadShard: a shard that does not hold what the index says.
            TooManyBadImages: more than ``max_corrupt``; until then the next readable sample of the
                lane is shown, with its own label, in place of one that cannot be read.
        """
        _check_shares(batch, self.lanes, rank, world)
        share = self.lanes // world
        own = range(rank * share, (rank + 1) * share)
        if workers == 0:
            steps = self.steps(own, batch, seed, start)
        else:
            steps = _in_workers(_Steps(self, own, batch, seed, start), min(workers, share))
        for pixels, labels in steps:
            yield as_floats(pixels), labels

    def steps(self, lanes: Sequence[int], batch: int, seed: int,
              start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows of some lanes, as bytes, uint8 ``[B,3,H,W]``, and their labels."""
        rows = batch // self.lanes
        pictures = {lane: self._pictures(lane, seed, start * rows) for lane in lanes}
        for step in itertools.count(start):
            seeds = view_seeds(seed, step, batch).reshape(self.lanes, rows)
            found = [(self.view(picture, int(s)), label) for lane in lanes for s, (picture, label)
                     in zip(seeds[lane], pictures[lane], strict=False)]
            pixels = np.stack([np.asarray(view) for view, _ in found]).transpose(0, 3, 1, 2)
            yield (torch.from_numpy(np.ascontiguousarray(pixels)),
                   torch.tensor([label for _, label in found]))

    def samples(self, lane: int, seed: int, start: int = 0) -> Iterator[Sample]:
        """What a lane brings from its sample ``start`` on, without end, undecoded."""
        for epoch in itertools.count():
            deal = np.random.default_rng([seed, epoch]).permutation(len(self.shards))
            own = [self.shards[k] for k in deal[lane::self.lanes]]
            count = sum(shard.count for shard in own)
            if start < count:
                order = buffered_order(count, self.buffer,
                                       np.random.default_rng([seed, epoch, lane]))
                yield from _in_order(self.folder, own, order[start:])
            start = max(0, start - count)

    def _pictures(self, lane: int, seed: int, start: int) -> Iterator[tuple[Image.Image, int]]:
        """Readable pictures and labels; in place of an unreadable one, the next that is."""
        samples, ahead = self.samples(lane, seed, start), deque()
        while True:
            place = 0
            while place == len(ahead) or ahead[place] is None:
                if place == len(ahead):
                    ahead.append(self._decoded(next(samples)))
                else:
                    place += 1
            yield ahead[place]
            ahead.popleft()

    def _decoded(self, sample: Sample) -> tuple[Image.Image, int] | None:
        if sample.label >= len(self.classes):
            raise BadShard(f"{sample.name} should have a class in 0..{len(self.classes) - 1}, "
                           f"but has {sample.label}")
        try:
            return decode(sample.data, sample.name), sample.label
        except BadImage as error:
            if sample.name not in self.corrupt:
                note_corrupt(self, sample.name, str(error), "the next sample", 3)
            return None


def shard_set(folder: str | Path, view: RandomView, *, lanes: int = 8, buffer: int = 1024,
              max_corrupt: float = 0.001) -> ShardSet:
    """The shards in a folder, for training.

    Args:
        view: of every sample, with a seed that belongs to its step and row.
        lanes: streams that are read side by side. Decides the order, so it stays the same however
            many processes train; their number must divide it, and it must divide the batch.
        buffer: samples that a lane holds to mix them, about 0.1 MB each for ImageNet.
        max_corrupt: how many samples may be unreadable: a number if an integer, a share if a float.

    Raises:
        WrongLayout, BadShard: see :func:`mae_lib.data.shards.writing.read_index`.
        ValueError: more lanes than shards.
    """
    name, classes, shards = read_index(folder)
    return ShardSet(Path(folder), shards, classes, name, view, lanes, buffer, max_corrupt)


def buffered_order(count: int, buffer: int, draws: np.random.Generator) -> np.ndarray:
    """Places 0 to ``count - 1`` as they leave a buffer that a reader fills in order: each time a
    random one leaves and the next takes its room."""
    held = list(range(min(buffer, count)))
    order = []
    leaving = draws.integers(len(held), size=count - len(held)).tolist()
    for slot, following in zip(leaving, range(len(held), count), strict=True):
        order.append(held[slot])
        held[slot] = following
    return np.array(order + [held[k] for k in draws.permutation(len(held))])


def _in_order(folder: Path, shards: list[Shard], wanted: np.ndarray) -> Iterator[Sample]:
    """Samples at the places ``wanted`` of a row of shards, each read once, forwards."""
    reader, held = _forwards(folder, shards, wanted), {}
    for place in wanted.tolist():
        while place not in held:
            found, sample = next(reader)
            held[found] = sample
        yield held.pop(place)


def _forwards(folder: Path, shards: list[Shard],
              wanted: np.ndarray) -> Iterator[tuple[int, Sample]]:
    needed = np.zeros(sum(shard.count for shard in shards), bool)
    needed[wanted] = True
    first = 0
    for shard in shards:
        some = needed[first:first + shard.count]
        if some.any():
            for place, sample in read_shard(folder / shard.file, shard, some):
                yield first + place, sample
        first += shard.count


@dataclass(frozen=True)
class _Steps(IterableDataset):
    """The rows of this worker's lanes; errors as values, since the loader would wrap them."""

    images: ShardSet
    lanes: Sequence[int]
    batch: int
    seed: int
    start: int

    def __iter__(self) -> Iterator:
        worker = get_worker_info()
        own = np.array_split(self.lanes, worker.num_workers)[worker.id].tolist()
        try:
            yield from self.images.steps(own, self.batch, self.seed, self.start)
        except (BadImage, BadShard, TooManyBadImages) as error:
            yield from itertools.repeat(error)  # a worker that ends would be waited for


def _in_workers(steps: _Steps, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Steps put together from workers that answer in turn."""
    loader = iter(DataLoader(steps, batch_size=None, num_workers=workers))
    while True:
        found = [next(loader) for _ in range(workers)]
        for one in found:
            if isinstance(one, Exception):
                raise one
        yield torch.cat([pixels for pixels, _ in found]), torch.cat([labels for _, labels in found])


def _check_shares(batch: int, lanes: int, rank: int, world: int) -> None:
    if batch < 1 or batch % lanes:
        raise ValueError(f"batch must be a multiple of the {lanes} lanes, got {batch}")
    if world < 1 or lanes % world:
        raise ValueError(f"world must divide the {lanes} lanes, got {world}")
    if not 0 <= rank < world:
        raise ValueError(f"rank must lie in 0..{world - 1}, got {rank}")
