"""Clips of recordings: frames in a row, none of which begins another episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mae_lib.data.atari.frames import frame_set, game_names, together
from mae_lib.data.atari.recording import Recording
from mae_lib.data.atari.settings import check_whole
from mae_lib.data.images import fingerprint

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class AtariClips:
    """Labelled clips of one size, kept as the bytes of their recordings; see :func:`clip_set`.

    Attributes:
        recordings: where the frames are.
        source: the recording of each clip, int64 ``[N]``.
        first: its first frame there, int64 ``[N]``.
        frames: T, how many it has.
        gap: frames of the recording from one frame of a clip to the next.
        fingerprint: SHA-256 (hex) of the recordings' and of which clips are cut from them.
    """

    recordings: tuple[Recording, ...]
    source: np.ndarray
    first: np.ndarray
    frames: int
    gap: int
    fingerprint: str

    def __len__(self) -> int:
        return len(self.first)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.recordings[0].size

    @property
    def classes(self) -> tuple[str, ...]:
        """The games."""
        return game_names(self.recordings)

    @property
    def labels(self) -> np.ndarray:
        """Game of each clip, int64 ``[N]``."""
        return np.array([self.classes.index(r.game) for r in self.recordings])[self.source]

    @property
    def name(self) -> str:
        return f"atari {', '.join(self.classes)} clips"

    def places(self, index) -> np.ndarray:
        """The frames of the clips at ``index`` in their recordings, int64 ``[B, T]``."""
        return self.first[index][:, None] + self.gap * np.arange(self.frames)

    def pixels(self, index) -> np.ndarray:
        """Clips at ``index`` (integers, a slice or a mask) as bytes, uint8 ``[B,3,T,H,W]``."""
        source, places = self.source[index], self.places(index)
        pixels = np.empty((*places.shape, 3, *self.size), np.uint8)
        for k in np.unique(source):
            pixels[source == k] = self.recordings[k].frames[places[source == k]]
        return np.ascontiguousarray(pixels.swapaxes(1, 2))

    def batch(self, index) -> torch.Tensor:
        """The same as float32 in [0, 1]."""
        import torch

        return torch.from_numpy(self.pixels(index)).float().div_(255.0)

    def standardisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over the recordings, in [0, 1] units."""
        return frame_set(self.recordings).standardisation()


def clip_set(recordings: Recording | Sequence[Recording], frames: int = 8, *, gap: int = 1,
             every: int = 1) -> AtariClips:
    """All clips of so many frames that lie inside an episode, or every so many-th of them.

    Args:
        frames: of a clip, at least 1.
        gap: frames of the recording from one frame of a clip to the next, at least 1.
        every: frames from the first of one clip to the first of the next, counted from the start
            of the episode; ``frames * gap`` for clips that share no frame.

    Raises:
        ValueError: no recording, recordings of two sizes, numbers below 1, clips longer than any
            episode.
    """
    recordings = together(recordings)
    for name, value in {"frames": frames, "gap": gap, "every": every}.items():
        check_whole(name, value)
    span = 1 + gap * (frames - 1)
    found = [(k, first) for k, recording in enumerate(recordings)
             for start, stop in recording.episodes.tolist()
             for first in range(start, stop - span + 1, every)]
    if not found:
        longest = max(np.diff(recording.episodes).max() for recording in recordings)
        raise ValueError(f"frames must be at most {(longest - 1) // gap + 1} with a gap of {gap}, "
                         f"since no episode is longer than {longest}, got {frames}")
    source, first = np.array(found).T
    mark = fingerprint_of_clips([r.fingerprint for r in recordings], frames, gap, every)
    return AtariClips(recordings, source, first, frames, gap, mark)


def fingerprint_of_clips(recordings: Sequence[str], frames: int, gap: int = 1, every: int = 1
                         ) -> str:
    """The fingerprint of a :func:`clip_set` from those of its recordings."""
    return fingerprint("clips", *recordings, f"{frames} {gap} {every}")
