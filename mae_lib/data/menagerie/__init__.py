"""The Menagerie: pictures of sixteen classes whose every latent is known.

`menagerie` gives an `ImageSet` to train on, `draw` the same pictures with latents, part maps and
ink; `cue_conflict`, `scenes` and `clips` draw the other tasks. Same seed and index, same bytes.
"""

from .clips import Clips, clips
from .cues import CueConflict, cue_conflict
from .drawing import Menagerie, boxes_of, draw, identify, menagerie
from .graph import latent_graph, picture_graph
from .hard import filtered
from .latents import LATENTS
from .scenes import Scenes, coco, scenes
from .tables import BIOMES, CLASSES, PRESETS, RENDITIONS, SPLITS, SUPERCLASSES

__all__ = ["BIOMES", "CLASSES", "LATENTS", "PRESETS", "RENDITIONS", "SPLITS", "SUPERCLASSES",
           "Clips", "CueConflict", "Menagerie", "Scenes", "boxes_of", "clips", "coco",
           "cue_conflict", "draw", "filtered", "identify", "latent_graph", "menagerie",
           "picture_graph", "scenes"]
