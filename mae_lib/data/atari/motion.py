"""What moves in a recording, and how large it is: pixels unlike the background, and their objects.

The talk's claim is about small objects against large ones (claim S-21). Nobody has marked the
objects of these games; what differs from the picture that mostly stands there is as close as one
comes without a hand. Digits of a score and bricks that were broken count as objects, two objects
that touch count as one, one that stands still for half of the time is background, and a game whose
whole screen scrolls has no background to differ from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CHUNK = 1024  # frames compared at once


@dataclass(frozen=True, eq=False)
class Components:
    """Connected sets of pixels, frame by frame.

    Attributes:
        labels: number of the component of its frame that a pixel belongs to, from 1 on, 0 for none;
            int32 ``[N, H, W]``.
        areas: pixels in the component that a pixel belongs to, 0 for none; int32 ``[N, H, W]``.
        frame: which frame each component is in, int64 ``[K]``.
        area: of each component in pixels, int64 ``[K]``; those of a frame in order of their label.
    """

    labels: np.ndarray
    areas: np.ndarray
    frame: np.ndarray
    area: np.ndarray


def background(frames: np.ndarray) -> np.ndarray:
    """Median over frames at each pixel and channel, uint8 ``[3, H, W]``.

    Of an even number the lower of the two in the middle, a value that occurred.

    Args:
        frames: uint8 ``[N, 3, H, W]``.
    """
    _check_frames(frames)
    middle = (len(frames) - 1) // 2
    rows = [np.partition(frames[:, :, y], middle, axis=0)[middle] for y in range(frames.shape[2])]
    return np.stack(rows, axis=1)


def moving(frames: np.ndarray, behind: np.ndarray | None = None, threshold: int = 0) -> np.ndarray:
    """Where frames differ from the background, bool ``[N, H, W]``.

    Args:
        frames: uint8 ``[N, 3, H, W]``.
        behind: uint8 ``[3, H, W]``; the frames' own :func:`background` if None.
        threshold: a pixel differs if one of its channels does by more than this, 0 to 254. Frames
            have no noise, so 0 misses nothing; the rim of an object, averaged with what is behind
            it, counts then, too.

    Raises:
        TypeError, ValueError: frames or a background of another type or shape; a threshold out of
            range.
    """
    _check_frames(frames)
    behind = background(frames) if behind is None else behind
    if behind.dtype != np.uint8 or behind.shape != frames.shape[1:]:
        raise ValueError(f"behind must be uint8 of shape {list(frames.shape[1:])}, "
                         f"got {behind.dtype} of shape {list(behind.shape)}")
    if not 0 <= threshold < 255:
        raise ValueError(f"threshold must lie in 0..254, got {threshold}")
    chunks = (frames[i:i + CHUNK] for i in range(0, len(frames), CHUNK))
    return np.concatenate([(np.maximum(some, behind) - np.minimum(some, behind) > threshold).any(1)
                           for some in chunks])


def components(mask: np.ndarray, corners: bool = True) -> Components:
    """The connected components of every frame.

    Args:
        mask: bool ``[N, H, W]``, of :func:`moving`.
        corners: pixels that touch at a corner belong together.

    Raises:
        ValueError: a mask of another type or shape.
    """
    from scipy import ndimage

    if mask.dtype != bool or mask.ndim != 3:
        raise ValueError(f"mask must be bool of shape [N,H,W], got {mask.dtype} of shape "
                         f"{list(mask.shape)}")
    structure = ndimage.generate_binary_structure(2, 2 if corners else 1)
    labels, areas = np.empty(mask.shape, np.int32), np.empty(mask.shape, np.int32)
    found = []
    for i, picture in enumerate(mask):
        ndimage.label(picture, structure, output=labels[i])
        counts = np.bincount(labels[i].ravel())
        found.append(counts[1:])
        areas[i] = np.where(picture, counts[labels[i]], 0)
    frame = np.repeat(np.arange(len(mask)), [len(some) for some in found])
    return Components(labels, areas, frame, np.concatenate([*found, np.empty(0, np.int64)]))


def _check_frames(frames: np.ndarray) -> None:
    if frames.dtype != np.uint8:
        raise TypeError(f"frames must be uint8, got {frames.dtype}")
    if frames.ndim != 4 or frames.shape[1] != 3 or len(frames) == 0:
        raise ValueError("frames must have shape [N,3,H,W] with at least one frame, got "
                         f"{list(frames.shape)}")
