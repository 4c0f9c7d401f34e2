"""The sixteen categories of Geirhos et al. (2019), and how their cue-conflict files are named."""

from __future__ import annotations

import re
from pathlib import PurePath

CATEGORIES = ("airplane", "bear", "bicycle", "bird", "boat", "bottle", "car", "cat", "chair",
              "clock", "dog", "elephant", "keyboard", "knife", "oven", "truck")


def parse_cue_conflict(path: str | PurePath) -> tuple[str, str]:
    """Categories of shape and texture from a file of the cue-conflict set.

    ``.../cat/cat7-elephant2.png`` is ``("cat", "elephant")``.

    Raises:
        ValueError: a name of another form, or an unknown category.
    """
    name = PurePath(path).name
    match = re.fullmatch(r"([a-z]+)\d*-([a-z]+)\d*\.\w+", name)
    if not match or not set(match.groups()) <= set(CATEGORIES):
        raise ValueError(f"path must end like 'cat7-elephant2.png' with two of the 16 categories, "
                         f"got {name!r}")
    return match.groups()
