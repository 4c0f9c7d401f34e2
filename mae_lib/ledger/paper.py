"""The numbers printed in the papers, from ``paper_tables.yaml``, which says where each stands.

Tables have names like ``"S000.T1"``: source and table. No number of these is ours.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd
import yaml

SOURCES = {
    "S000": "Kong et al. 2023",
    "S001": "Kong et al. 2023, poster",
    "S002": "Kong et al. 2023, web summary",
    "S003": "Kim 2023, slides",
    "S004": "Kong and Zhang 2023",
}
# Headers that are not the key with blanks for underscores.
HEADERS = {"IN_v2": "IN-v2", "IN_R": "IN-R", "IN_A": "IN-A", "IN_S": "IN-S", "C_MAE": "C-MAE",
           "ratio_percent": "ratio (%)", "params_M": "params (M)"}


def table(name: str) -> pd.DataFrame:
    """A table as printed: its rows in order, under its headers; a printed dash is missing.

    ``attrs`` holds ``source`` (for captions), ``quantity`` (what is tabulated, with its unit) and
    ``remarks``. Rows of Table 1 of Kong et al. are not told apart by ratio and patch size: two of
    them share both. Use :func:`series` there.

    Raises:
        ValueError: unknown table, or an entry without rows.
    """
    entry = _entry(name)
    if "rows" not in entry:
        raise ValueError(f"name must be that of a table with rows, got {name!r}; see scalars")
    frame = pd.DataFrame(entry["rows"], columns=[_header(c) for c in entry["columns"]])
    frame.attrs = {"source": source(name), "quantity": entry.get("quantity", ""),
                   "remarks": remarks(name)}
    return frame


def series(name: str, group: str) -> pd.DataFrame:
    """The rows of a table that belong to one sweep, with ``ViT patch`` and ``mask unit`` (pixels).

    Table 1 of Kong et al. has ``"ratio_series"``, ratios at patch 16, and ``"mask_unit_series"``,
    masking units at ratio .75 and ViT patch 8.

    Raises:
        ValueError: unknown table, or one without that group of rows.
    """
    groups = _entry(name).get("row_groups", {})
    if group not in groups:
        raise ValueError(f"group must be one of {', '.join(groups) or 'none'} for {name}, "
                         f"got {group!r}")
    chosen = groups[group]
    whole = table(name)
    rows = whole.iloc[chosen["rows"]].reset_index(drop=True)
    rows["ViT patch"], rows["mask unit"] = chosen["vit_patch"], chosen["mask_unit"]
    return rows


def scalars(name: str) -> dict:
    """Numbers printed in running text, ``{name: value}``, of ``"S000"``, ``"S003"``, ``"S004"``.

    Raises:
        ValueError: a source without any.
    """
    return dict(_entry(f"{name}.scalars")["values"])


def source(name: str) -> str:
    """Where a table stands, for a caption: ``"Kong et al. 2023, Table 1"``.

    Raises:
        ValueError: unknown table.
    """
    where = _entry(name)["source"]
    paper = SOURCES[where["seed"]]
    if "table" in where:
        return f"{paper}, Table {where['table']}"
    return f"{paper}, after {where['original']}" if "original" in where else paper


def remarks(name: str) -> list[str]:
    """What a reader of a table has to know: notes, contradictions, ambiguities."""
    entry = _entry(name)
    return [spelled_out(remark) for kind in ("notes", "conflicts", "ambiguous")
            for remark in entry.get(kind, [])]


def spelled_out(text: str) -> str:
    """Source labels such as S000 replaced by the names of the sources."""
    for label, paper in SOURCES.items():
        text = text.replace(f"{label}.T", f"{paper}, Table ").replace(label, paper)
    return text


def names() -> list[str]:
    """All entries, tables or not."""
    return list(_entries())


def _entry(name: str) -> dict:
    if name not in _entries():
        raise ValueError(f"name must be one of {', '.join(_entries())}, got {name!r}")
    return _entries()[name]


@cache
def _entries() -> dict[str, dict]:
    text = Path(__file__).with_name("paper_tables.yaml").read_text(encoding="utf-8")
    return {entry["id"]: entry for entry in yaml.safe_load(text)["tables"]}


def _header(column: str) -> str:
    return HEADERS.get(column, column.replace("_", " "))
