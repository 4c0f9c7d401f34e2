"""What the page on games shows: what moves in them, how large it is, what a mask hides of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from mae_lib.data.atari import Components, Recording, background, components, moving, record
from mae_lib.evaluation.small_objects import bin_names
from mae_lib.models.masks import visible_count
from mae_lib.models.worlds.stem import STRIDE, hidden_probability, sight
from mae_lib.studies.settings import DATASETS
from mae_lib.studies.worlds import EDGES, FAINT

SIZE = 64  # pixels a side
KINDS = {"masked patches": False, "masked features": True}  # whether a stem comes first
GREY = 0.35  # of what stands still, where it is shown dimmed


class Watched(NamedTuple):
    """A recording, which of its pixels move, and the objects that these form."""

    recording: Recording
    moves: np.ndarray
    found: Components


def watch(game: str, frames: int, seed: int = 0) -> Watched:
    """So many frames of a random player, and what moves in them."""
    recording = record(game, frames, seed=seed, size=SIZE)
    moves = moving(recording.frames, background(recording.frames), FAINT)
    return Watched(recording, moves, components(moves))


def films(games: Mapping[str, Watched], start: int, count: int) -> dict[str, np.ndarray]:
    """Clips for :func:`mae_lib.figures.player`: each game, and again with all that stands still
    dimmed."""
    clips = {}
    for game, seen in games.items():
        frames = seen.recording.frames[start:start + count]
        dim = np.where(seen.moves[start:start + count, None], frames, GREY * frames)
        for name, pictures in ((DATASETS[game], frames), (f"{DATASETS[game]}: what moves", dim)):
            clips[name] = np.ascontiguousarray(pictures.astype(np.uint8).swapaxes(0, 1))
    return clips


def sizes(games: Mapping[str, Watched]) -> pd.DataFrame:
    """One row a game: objects a frame, and how many of a hundred have which area."""
    rows = []
    for game, seen in games.items():
        place = np.searchsorted(EDGES, seen.found.area, side="right") - 1
        shares = 100 * np.bincount(place, minlength=len(EDGES)) / max(len(place), 1)
        rows.append({"game": DATASETS[game],
                     "objects a frame": len(place) / len(seen.recording),
                     **dict(zip((f"{name}, %" for name in bin_names(EDGES)), shares, strict=True))})
    return pd.DataFrame(rows)


def of_a_pixel(ratio: float) -> pd.DataFrame:
    """One row a number of tokens that see a pixel behind a stem: how many pixels of a frame have so
    many, and how likely all these tokens are hidden; of a patch, one token sees every pixel."""
    along = sight(SIZE // STRIDE).sum(0).numpy()
    numbers, counts = np.unique(along[:, None] * along, return_counts=True)
    return pd.DataFrame([{"tokens that see the pixel": k,
                          "pixels behind a stem, %": 100 * count / SIZE**2,
                          "all hidden, probability": _unseen(k, ratio)}
                         for k, count in zip(numbers.tolist(), counts.tolist(), strict=True)])


def of_objects(games: Mapping[str, Watched], ratio: float) -> pd.DataFrame:
    """Probability that a random mask leaves no token that sees any pixel of an object: the mean
    over the objects of a size. Columns ``panel`` (the game), ``by`` (what is masked), ``area``
    (the smallest of the bin) and ``value``; exact, without drawing masks."""
    rows = []
    for game, seen in games.items():
        place = np.searchsorted(EDGES, seen.found.area, side="right") - 1
        for name, stem in KINDS.items():
            chance = np.array([_unseen(k, ratio) for k in witnesses(seen.found, stem)])
            rows += [{"panel": DATASETS[game], "by": name, "area": EDGES[k],
                      "value": chance[place == k].mean()} for k in np.unique(place)]
    return pd.DataFrame(rows)


def witnesses(found: Components, stem: bool) -> np.ndarray:
    """How many tokens see a pixel of each object, int ``[K]``."""
    rows = sight(found.labels.shape[1] // STRIDE, stem=stem).numpy()
    cols = sight(found.labels.shape[2] // STRIDE, stem=stem).numpy()
    return np.array([int((rows[:, y].astype(int) @ cols[:, x].T.astype(int) > 0).sum())
                     for y, x in _objects(found)], int)


def _objects(found: Components) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of the pixels of each object, in the order of ``found.area``."""
    counts = np.bincount(found.frame, minlength=len(found.labels))
    for labels, count in zip(found.labels, counts, strict=True):
        for number in range(1, count + 1):
            yield np.nonzero(labels == number)


@cache
def _unseen(tokens: int, ratio: float) -> float:
    """Probability that so many tokens are all hidden."""
    count = (SIZE // STRIDE) ** 2
    return float(hidden_probability(count, count - visible_count(count, ratio), tokens))
