"""Tables as HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd

PROSE = 30  # characters; longer than a mean with its interval
INTERVAL = re.compile(r"\[([^\[\],]+), ([^\[\],]+)\]")  # which no line should break


def table(frame: pd.DataFrame, caption: str, *, digits: int | Mapping[str, int] = 2,
          units: Mapping[str, str] | None = None) -> str:
    """An HTML table of class ``data``: one header a column, the first column heads its row.

    Put ours and the paper's numbers in columns named so; nothing is marked by colour.

    Args:
        digits: decimals of numbers, for all columns or by column; integers stay as they are.
        units: ``{column: unit}``, printed in the header.

    Raises:
        ValueError: an empty caption or frame.
    """
    if not caption or frame.empty:
        raise ValueError(f"table must have a caption and rows, got {caption!r} and {len(frame)}")
    heads = [f"{c} ({units[c]})" if units and c in units else str(c) for c in frame.columns]
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in heads)
    places = [digits if isinstance(digits, int) else digits.get(c, 2) for c in frame.columns]
    kinds = [' class="prose"' if _is_prose(frame.iloc[:, i]) else ""
             for i in range(1, frame.shape[1])]
    body = []
    for row in frame.itertuples(index=False):
        first, *rest = (escape(_text(v, d)) for v, d in zip(row, places, strict=True))
        cells = "".join(f"<td{kind}>{value}</td>" for kind, value in zip(kinds, rest, strict=True))
        body.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return (f'<table class="data"><caption>{escape(caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>")


def _is_prose(column: pd.Series) -> bool:
    """Sentences read from the left; numbers, with their intervals, line up on the right."""
    return any(isinstance(value, str) and len(value) > PROSE for value in column)


def _text(value, digits: int) -> str:
    if pd.isna(value):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{value:.{digits}f}"
    return INTERVAL.sub("[\\1,\N{NO-BREAK SPACE}\\2]", str(value))
