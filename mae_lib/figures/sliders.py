"""Pictures behind a slider, as one self-contained piece of HTML: no server, no other site."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from pathlib import Path

import matplotlib.image
import numpy as np
from matplotlib.figure import Figure

from mae_lib.figures.look import channels_last

FOLDER = Path(__file__).parent
DPI = 150


def slider(frames: Mapping[str, np.ndarray | Figure], label: str, alt: str, *,
           start: str | None = None) -> str:
    """One picture at a time, chosen with a slider; without scripts, all of them in a column. A
    single picture stands there without a slider.

    Args:
        frames: ``{value: picture}`` in the order of the slider, all of one size: figures, or images
            ``[3,H,W]`` or ``[H,W,3]`` in [0, 1], whose pixels are shown as squares.
        label: what is chosen, for example ``"masking ratio"``.
        alt: what the pictures show; each one's text is this, the label and its value.
        start: the value shown first; the first one if None.

    Raises:
        ValueError: no frames, another size or kind among them, no label or text, a
            start that is no value.
    """
    start = next(iter(frames), None) if start is None else start
    _check(frames, label, alt, start)
    values = list(frames)
    pictures = "".join(_frame(picture, f"{label} {value}", alt)
                       for value, picture in frames.items())
    if len(values) == 1:
        return f'<div class="mae-slider"><div class="mae-slider-frames">{pictures}</div></div>'
    style, code = ((FOLDER / f"sliders.{kind}").read_text(encoding="utf-8")
                   for kind in ("css", "js"))
    return (f'<div class="mae-slider" role="group" aria-label="{escape(label)}: {escape(alt)}">'
            f"<style>{style}</style>"
            f'<p class="mae-slider-bar" hidden><label><span>{escape(label)}</span> '
            f'<input type="range" min="0" max="{len(values) - 1}" step="1" '
            f'value="{values.index(start)}" autocomplete="off"></label> '
            f'<output aria-live="off">{escape(start)}</output></p>'
            f'<div class="mae-slider-frames">{pictures}</div><script>{code}</script></div>')


def _frame(picture: np.ndarray | Figure, name: str, alt: str) -> str:
    kind = "drawn" if isinstance(picture, Figure) else "pixels"
    data = b64encode(_png(picture)).decode()
    return (f'<figure data-value="{escape(name)}"><img class="{kind}" '
            f'src="data:image/png;base64,{data}" alt="{escape(alt)}; {escape(name)}">'
            f"<figcaption>{escape(name)}</figcaption></figure>")


def _png(picture: np.ndarray | Figure) -> bytes:
    file = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(file, format="png", dpi=DPI, facecolor="white")
    else:
        image = np.clip(channels_last(picture), 0, 1) * 255 + 0.5
        matplotlib.image.imsave(file, image.astype(np.uint8), format="png")
    return file.getvalue()


def _check(frames, label: str, alt: str, start: str | None) -> None:
    if not frames:
        raise ValueError("frames must hold at least one picture, got none")
    if not label or not alt:
        raise ValueError(f"label and alt must say what is shown, got {label!r} and {alt!r}")
    if start not in frames:
        raise ValueError(f"start must be one of {', '.join(frames)}, got {start!r}")
    sizes = {_size(picture) for picture in frames.values()}
    if len(sizes) > 1:
        raise ValueError(f"frames must all be of one size, got {sorted(sizes)}")


def _size(picture: np.ndarray | Figure) -> tuple:
    if isinstance(picture, Figure):
        return ("figure", *picture.get_size_inches().tolist())
    if np.ndim(picture) != 3:
        raise ValueError(f"frames must be figures or images [3,H,W] or [H,W,3], "
                         f"got an array of shape {list(np.shape(picture))}")
    return ("image", *channels_last(picture).shape)
