"""Single frames of recordings as a set of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mae_lib.data.atari.recording import Recording, fingerprint_of
from mae_lib.data.atari.settings import check_whole
from mae_lib.data.images import ImageSet, fingerprint


def frame_set(recordings: Recording | Sequence[Recording], every: int = 1) -> ImageSet:
    """Frames of one or several recordings of one size, labelled by their game.

    Args:
        every: 1 for all frames of a recording, k for frame 0, k, 2k and so on.

    Raises:
        ValueError: no recording, recordings of two sizes, ``every`` below 1.
    """
    recordings = together(recordings)
    check_whole("every", every)
    classes = game_names(recordings)
    chosen = [recording.frames[::every] for recording in recordings]
    labels = np.repeat([classes.index(r.game) for r in recordings], [len(c) for c in chosen])
    images = chosen[0] if len(chosen) == 1 else np.concatenate(chosen)
    return ImageSet(images, labels, classes, f"atari {', '.join(classes)}",
                    _fingerprint([r.fingerprint for r in recordings], every))


def fingerprint_of_frames(game: str, frames: int, **settings) -> str:
    """The fingerprint of ``frame_set(record(game, frames, **settings))``, known without playing."""
    return _fingerprint([fingerprint_of(game, frames, **settings)], 1)


def _fingerprint(recordings: Sequence[str], every: int) -> str:
    return fingerprint("frames", *recordings, str(every))


def together(recordings: Recording | Sequence[Recording]) -> tuple[Recording, ...]:
    """Recordings as a tuple.

    Raises:
        ValueError: none, or of two sizes.
    """
    found = (recordings,) if isinstance(recordings, Recording) else tuple(recordings)
    if not found:
        raise ValueError("recordings must hold at least one recording, got none")
    if len(sizes := sorted({recording.size for recording in found})) > 1:
        raise ValueError(f"recordings must have one size, got {' and '.join(map(str, sizes))}")
    return found


def game_names(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """The games, each once, in the order of the recordings."""
    return tuple(dict.fromkeys(recording.game for recording in recordings))
