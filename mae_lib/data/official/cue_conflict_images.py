"""The cue-conflict images of Geirhos et al. (2019): the shape of one thing, the texture of another.

CC-BY-4.0, from the stimuli of model-vs-human. Not to be confused with the Menagerie's cues.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from mae_lib.data.files.sets import FileSet
from mae_lib.data.files.transforms import WholeView
from mae_lib.data.official.folders import WrongLayout, class_folders, existing
from mae_lib.data.official.human_categories import CATEGORIES, parse_cue_conflict

COUNT = 1280  # 16 shapes, 16 textures, five of each; 80 of them have the texture of their shape
SIDE = 224  # pixels of the files


class CueConflict(NamedTuple):
    """Images, and the category of shape and of texture of each, text ``[N]``."""

    images: FileSet
    shapes: np.ndarray
    textures: np.ndarray


def cue_conflict(root: str | Path, *, size: int = SIDE, max_corrupt: float = 0.0,
                 strict: bool = True) -> CueConflict:
    """The set from ``root/<shape>/<shape><i>-<texture><j>.png``; the label is the shape.

    Args:
        size: at 224 the files' own pixels, else resized as a whole.

    Raises:
        WrongLayout: other folders, another number of files, a name of another form.
        BadImage: when asked for, a file that is not 224 pixels wide and high.
    """
    root = existing(Path(root), "the folder of the cue-conflict images, one folder a shape")
    files, labels = class_folders(root, CATEGORIES, count=COUNT, strict=strict)
    named = [_cues(root, file) for file in files]
    images = FileSet(root, files, labels, CATEGORIES, "cue conflict", WholeView(size, SIDE), None,
                     max_corrupt)
    return CueConflict(images, *np.array(named).T)


def _cues(root: Path, file: str) -> tuple[str, str]:
    try:
        shape, texture = parse_cue_conflict(file)
    except ValueError:
        shape = None
    if shape is None or shape != PurePath(file).parent.name:
        raise WrongLayout(f"{root} should hold files like cat/cat7-elephant2.png, folder and file "
                          f"named by the shape, but holds {file}")
    return shape, texture
