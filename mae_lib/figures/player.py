"""Clips that play side by side, as one self-contained piece of HTML: no server, no other site."""

from __future__ import annotations

import io
import re
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from numbers import Real
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).parent
COLUMNS = 8  # frames in a row of the sheet that holds a clip; what is printed stays readable
WIDE = 160  # pixels of the page a clip aims at: four beside each other, two on a telephone
FASTEST = 60  # frames a second; no more are drawn on most screens


def player(rows: Mapping[str, np.ndarray], caption: str, alt: str, *,
           frames_per_second: float = 8, name: str | None = None) -> str:
    """Clips in step, each under its label, with a button to play and pause and a slider of frames.

    They start by themselves when they come into view, unless the reader's system asks for less
    motion, and stop when they leave it. Without scripts the first frame of each stands there; on
    paper all of them do.

    Args:
        rows: ``{label: clip}``, each uint8 ``[3,T,H,W]``, all of one shape; T at least 2.
        caption: stands below the clips.
        alt: what the clips show; each one's text is this and its label.
        frames_per_second: above 0, at most 60; after the last frame comes the first.
        name: id of the whole in the page, for links; none if None.

    Raises:
        ValueError: no clips, one of another kind or shape, a label, caption or text
            that is empty, another rate, a name that no link could name.
    """
    _check(rows, caption, alt, frames_per_second, name)
    count = next(iter(rows.values())).shape[1]
    clips = "".join(_clip(label, clip, alt) for label, clip in rows.items())
    style, code = ((FOLDER / f"player.{kind}").read_text(encoding="utf-8")
                   for kind in ("css", "js"))
    place = "" if name is None else f' id="{name}"'
    return (f'<figure class="mae-player"{place} data-columns="{min(count, COLUMNS)}" '
            f'data-rate="{float(frames_per_second):g}"><style>{style}</style>'
            f'<div class="mae-player-clips">{clips}</div>{_bar(count)}'
            f"<figcaption>{escape(caption)}</figcaption><script>{code}</script></figure>")


def _bar(count: int) -> str:
    """Button, slider and number of the frame; hidden until a script serves them."""
    widest = len(f"{count} of {count}")
    return ('<p class="mae-player-bar" hidden><button type="button">Play</button> '
            f'<label><span>frame</span> <input type="range" min="1" max="{count}" step="1" '
            'value="1" autocomplete="off"></label> '
            f'<output aria-live="off" style="min-width: {widest}ch">1 of {count}</output></p>')


def _clip(label: str, clip: np.ndarray, alt: str) -> str:
    _, count, height, width = clip.shape
    size = (f"--wide: {width * max(1, round(WIDE / width))}px; --shape: {width} / {height}; "
            f"--columns: {min(count, COLUMNS)}")
    file = io.BytesIO()
    Image.fromarray(_sheet(clip)).save(file, "png", optimize=True)
    data = b64encode(file.getvalue()).decode()
    return (f'<div class="mae-player-clip" style="{size}"><span>{escape(label)}</span>'
            f'<div class="mae-player-screen"><img src="data:image/png;base64,{data}" '
            f'alt="{escape(alt)}; {escape(label)}"></div></div>')


def _sheet(clip: np.ndarray) -> np.ndarray:
    """The frames of ``[3,T,H,W]`` in reading order, what is left of the last row white."""
    frames = np.moveaxis(clip, 0, -1)
    count, height, width, _ = frames.shape
    columns = min(count, COLUMNS)
    lines = -(-count // columns)
    cells = np.full((lines * columns, height, width, 3), 255, np.uint8)
    cells[:count] = frames
    cells = cells.reshape(lines, columns, height, width, 3).swapaxes(1, 2)
    return cells.reshape(lines * height, columns * width, 3)


def _check(rows, caption: str, alt: str, rate: float, name: str | None) -> None:
    if not rows or not all(rows):
        raise ValueError(f"rows must hold clips under labels, got the labels {list(rows)}")
    if not caption or not alt:
        raise ValueError(f"caption and alt must say what is shown, got {caption!r} and {alt!r}")
    if not isinstance(rate, Real) or not 0 < rate <= FASTEST:
        raise ValueError(f"frames_per_second must be above 0, at most {FASTEST}, got {rate!r}")
    if name is not None and not re.fullmatch(r"[A-Za-z][\w-]*", name, re.ASCII):
        raise ValueError(f"name must be a letter, then letters, digits, - and _, got {name!r}")
    for label, clip in rows.items():
        _check_clip(label, clip)
    if len(shapes := {clip.shape for clip in rows.values()}) > 1:
        raise ValueError(f"rows must hold clips of one shape, got {sorted(map(list, shapes))}")


def _check_clip(label: str, clip: np.ndarray) -> None:
    kind = getattr(clip, "dtype", type(clip).__name__)
    shape = list(np.shape(clip))
    good = isinstance(clip, np.ndarray) and kind == np.uint8 and len(shape) == 4
    if not good or shape[0] != 3 or shape[1] < 2 or 0 in shape:
        raise ValueError(f"rows[{label!r}] must be an array of bytes [3,T,H,W] with T of 2 or "
                         f"more, got {kind} {shape}")
