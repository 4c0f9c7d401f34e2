"""Clips: objects move, turn and wave before scrolling hills; a mask for every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .drawing import identity, pixel_keys, render, request
from .latents import Latents, Stream, draw_backdrop, mix
from .scenes import instances_of, seat

STEP = 1 / 8  # of the unit of time, between frames
SPEED, SPIN, WAVE, SCROLL = 0.6, 45.0, 0.9, 0.7  # most, a unit of time; half a side = 1, degrees


@dataclass(frozen=True, eq=False)
class Clips:
    """Moving pictures.

    Attributes:
        images: uint8 ``[N, 3, T, S, S]``.
        labels: class of the first object, int64 ``[N]``.
        marks: uint8 ``[N, T, S, S]``: 0, or 1 + part + 8 * object of what shows at a pixel.
        objects: latents of the first and second object in the first frame.
        motions: per object: velocity ``[N, 2]``, spin and wave ``[N]``, a unit of time (8 frames).
        backdrop: latents of landscape, light and noise; ``scroll`` of the hills ``[N]``.
    """

    images: np.ndarray
    labels: np.ndarray
    marks: np.ndarray
    objects: tuple[Latents, ...]
    motions: tuple[Latents, ...]
    backdrop: Latents
    name: str
    fingerprint: str

    def __len__(self) -> int:
        return len(self.images)

    @property
    def instances(self) -> np.ndarray:
        """1 + number of the object that shows, 0 for none; uint8 ``[N, T, S, S]``."""
        return instances_of(self.marks)


def clips(n: int = 100, frames: int = 8, size: int = 32, preset: str = "default", *,
          start: int = 0, seed: int | None = None, **changes) -> Clips:
    """Clips of one or two objects; a longer clip begins with the shorter one.

    Args:
        frames: how many, at least 1; eight are one unit of time.

    Other arguments and errors as in `menagerie`.
    """
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
        raise ValueError(f"frames must be an integer of at least 1, got {frames!r}")
    chosen, stream = request("clips", n, size, preset, start, seed, None, changes)
    objects, _ = seat(stream, chosen, 2, 0.6)
    motions = [_motion(stream, k) for k in range(2)]
    backdrop = draw_backdrop(stream, chosen, objects[0]["superclass"])
    backdrop["scroll"] = stream.between("scroll", -SCROLL, SCROLL)
    time = np.tile(STEP * np.arange(frames), n)
    moved = [_move(_over(found, frames), _over(motion, frames), time)
             for found, motion in zip(objects, motions, strict=True)]
    scene = _over(backdrop, frames)
    scene["scroll"] = scene["scroll"] * time
    images, marks, _ = render(moved, scene, chosen, _frame_keys(stream, frames), size)
    images = images.reshape(n, frames, 3, size, size).swapaxes(1, 2)
    return Clips(np.ascontiguousarray(images), objects[0]["class"],
                 marks.reshape(n, frames, size, size), tuple(objects), tuple(motions), backdrop,
                 f"menagerie {preset} clips",
                 identity(images, stream, chosen | {"frames": frames}))


def _motion(stream: Stream, k: int) -> Latents:
    own = Stream(stream.seed, stream.index, prefix=f"object {k} ")
    return {
        "velocity": own.between("velocity", -SPEED, SPEED, 2),
        "spin": own.between("spin", -SPIN, SPIN),
        "wave": own.between("wave", -WAVE, WAVE),
    }


def _move(found: Latents, motion: Latents, time: np.ndarray) -> Latents:
    """The object at its time: drifted, turned, its limbs waved once a unit of time."""
    from .compose import sine  # numba: only when something is drawn

    bend = motion["wave"] * sine(time)
    return found | {
        "x": found["x"] + motion["velocity"][:, 0] * time,
        "y": found["y"] + motion["velocity"][:, 1] * time,
        "rotation": found["rotation"] + motion["spin"] * time,
        "articulation": found["articulation"] + bend,
        "part_angle": found["part_angle"] + found["bend"] * bend[:, None],
    }


def _over(found: Latents, frames: int) -> Latents:
    """Every latent once a frame, ``[N * frames, ...]``."""
    return {name: value.repeat(frames, axis=0) for name, value in found.items()}


def _frame_keys(stream: Stream, frames: int) -> np.ndarray:
    """Noise keys of all frames; those of the first frame are the still picture's."""
    first = pixel_keys(stream)[:, None]
    rest = mix(first + np.arange(1, frames, dtype=np.uint64))
    return np.concatenate([first, rest], 1).reshape(-1)
