"""Renditions: a picture as poster, blueprint, cut-out, negative, mosaic or pastel; and sketch."""

from __future__ import annotations

import numpy as np

PAPER = np.array([0.93, 0.86, 0.72])  # of the cut-outs
BLUE = np.array([0.12, 0.25, 0.55])
CHALK = np.array([0.85, 0.92, 1.0])


def restyle(name: str, canvas: np.ndarray, ink: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """The rendition ``name`` of pictures ``[N,3,S,S]`` with ink and marks ``[N,S,S]``."""
    canvas, line = np.clip(canvas, 0.0, 1.0), ink[:, None]
    return _STYLES[name](canvas, line, marks[:, None] > 0)


def _sketch(canvas, line, inside):
    return np.broadcast_to(1.0 - 0.85 * line, canvas.shape)


def _poster(canvas, line, inside):
    """Four levels a channel, stretched to full contrast, and a black outline."""
    levels = np.floor(np.clip(1.5 * canvas - 0.25, 0.0, 1.0) * 3.0 + 0.5) / 3.0
    return levels * (1.0 - 0.9 * line)


def _blueprint(canvas, line, inside):
    return _tint(BLUE) + (_tint(CHALK) - _tint(BLUE)) * 0.9 * line


def _cutout(canvas, line, inside):
    """The object alone, in sepia, on paper."""
    grey = _grey(canvas)
    sepia = _tint(np.array([0.22, 0.17, 0.12])) + _tint(np.array([0.5, 0.42, 0.3])) * grey
    return np.where(inside, sepia, _tint(PAPER))


def _negative(canvas, line, inside):
    return 1.0 - canvas


def _mosaic(canvas, line, inside):
    """Tiles of a sixteenth of the side (two pixels at least), each in its mean colour."""
    size = canvas.shape[-1]
    tile = max(2, size // 16)
    return _tiles(_tiles(canvas, tile).swapaxes(2, 3), tile).swapaxes(2, 3)


def _tiles(canvas, tile):
    """Means over runs of ``tile`` rows, added one by one so that the order is fixed."""
    out = np.empty_like(canvas)
    for start in range(0, canvas.shape[2], tile):
        rows = canvas[:, :, start:start + tile]
        total = rows[:, :, 0]
        for k in range(1, rows.shape[2]):
            total = total + rows[:, :, k]
        out[:, :, start:start + tile] = (total / rows.shape[2])[:, :, None]
    return out


def _pastel(canvas, line, inside):
    grey = _grey(canvas)
    pale = 0.72 + 0.28 * (grey + 0.9 * (canvas - grey))
    return pale * (1.0 - 0.65 * line)


def _grey(canvas):
    return 0.3 * canvas[:, :1] + 0.59 * canvas[:, 1:2] + 0.11 * canvas[:, 2:]


def _tint(colour):
    return colour[None, :, None, None]


_STYLES = {"sketch": _sketch, "poster": _poster, "blueprint": _blueprint, "cutout": _cutout,
           "negative": _negative, "mosaic": _mosaic, "pastel": _pastel}
