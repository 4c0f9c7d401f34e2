"""Recordings of games played at random: found on disk, gone on with, or made."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mae_lib.data.atari.emulator import version
from mae_lib.data.atari.parts import Parts, lock
from mae_lib.data.atari.player import Part, Player, empty
from mae_lib.data.atari.settings import Settings, check_whole
from mae_lib.data.fashion_mnist import cache_folder
from mae_lib.data.images import fingerprint

PART = 512  # frames: what a kill can cost


@dataclass(frozen=True, eq=False)
class Recording:
    """What a player saw.

    Attributes:
        frames: uint8 ``[N, 3, H, W]``.
        actions: what was pressed on the way to each frame, in the emulator's numbers, uint8
            ``[N]``; 0 (nothing) where an episode begins.
        rewards: points made on the way to each frame, int32 ``[N]``.
        memory: the console's 128 bytes at each frame, uint8 ``[N, 128]``.
        starts: where an episode begins, bool ``[N]``; the frame before, if any, ended one.
        settings: how it was played.
        fingerprint: SHA-256 (hex) of the settings, the cartridge, the emulator and the length.
    """

    frames: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    memory: np.ndarray
    starts: np.ndarray
    settings: Settings
    fingerprint: str

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def game(self) -> str:
        return self.settings.game

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames in pixels."""
        return self.settings.size

    @property
    def episodes(self) -> np.ndarray:
        """First frame of every episode, and the one after its last, int64 ``[E, 2]``; the last
        episode may have been cut off."""
        first = np.flatnonzero(self.starts)
        return np.stack([first, np.append(first[1:], len(self))], 1)


def record(game: str, frames: int = 1000, *, folder: Path | None = None, progress: bool = True,
           **settings) -> Recording:
    """The first ``frames`` frames of a game played at random.

    Kept on disk in parts: a recording that was stopped, by Ctrl-C or a kill, goes on where it was
    when asked for again, and so does one of which more frames are wanted. What was pressed is
    pressed again first, without a look, which takes about half the time; the bytes are the same.

    Args:
        frames: at least 1.
        folder: where recordings are kept; ``atari`` in the cache of data sets if None.
        progress: show a bar, in a terminal or a notebook.
        settings: of :class:`mae_lib.data.atari.settings.Settings`: seed, size, skip, hold, pool.

    Raises:
        ValueError: an unknown game, or a number out of range.
        MissingEmulator: ale-py is not installed.
        OSError: a part could not be written.
        RuntimeError: the emulator does not repeat what it did when the recording was begun.
    """
    chosen = Settings(game, **settings)
    check_whole("frames", frames)
    made, wanted = empty(frames, chosen.size), -(-frames // PART)
    with lock(home := _home(chosen, folder)), tqdm(
            total=frames, desc=game, unit="frame", disable=not (progress and _watched())) as bar:
        parts = Parts(home)
        for k, part in enumerate(chain(parts.read(wanted), _played(chosen, parts, wanted, made))):
            rows = slice(k * PART, min((k + 1) * PART, frames))
            for name, array in made.items():
                array[rows] = part[name][:rows.stop - rows.start]
            bar.update(rows.stop - rows.start)
    return Recording(**made, settings=chosen, fingerprint=_fingerprint(chosen, frames))


def fingerprint_of(game: str, frames: int, **settings) -> str:
    """The fingerprint of ``record(game, frames, **settings)``, known without playing."""
    check_whole("frames", frames)
    return _fingerprint(Settings(game, **settings), frames)


def _played(settings: Settings, parts: Parts, wanted: int, made: Part) -> Iterator[Part]:
    """What is missing of ``wanted`` parts, from the console, after those that ``made`` holds."""
    if (done := len(parts)) >= wanted:
        return
    player, before = Player(settings), slice(done * PART)
    player.replay(made["actions"][before], made["starts"][before])
    if done and not np.array_equal(player.console.getRAM(), made["memory"][before][-1]):
        raise RuntimeError(f"{parts.folder} holds a recording that this emulator cannot go on "
                           "with, since the same buttons lead elsewhere; remove that folder")
    for k in range(done, wanted):
        part = player.play(player.pressed(k * PART, (k + 1) * PART))
        parts.append(part)
        yield part


def _fingerprint(settings: Settings, frames: int) -> str:
    return fingerprint("atari", json.dumps(settings.identity, sort_keys=True), str(frames))


def _home(settings: Settings, folder: Path | None) -> Path:
    """Where a recording of any length is kept; another release of the emulator has its own."""
    name = fingerprint(json.dumps(settings.identity, sort_keys=True), version(), str(PART))[:16]
    return Path(folder or cache_folder() / "atari") / f"{settings.game}-{name}"


def _watched() -> bool:
    """Whether someone sees a progress bar: in a terminal or a notebook, not in a log file."""
    return "ipykernel" in sys.modules or sys.stderr.isatty()
