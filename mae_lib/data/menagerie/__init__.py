"""The Menagerie: pictures of sixteen classes whose every latent is known."""

from .drawing import Menagerie, boxes_of, draw, menagerie
from .latents import LATENTS
from .tables import BIOMES, CLASSES, PRESETS, RENDITIONS, SPLITS, SUPERCLASSES

__all__ = ["BIOMES", "CLASSES", "LATENTS", "PRESETS", "RENDITIONS", "SPLITS", "SUPERCLASSES",
           "Menagerie", "boxes_of", "draw", "menagerie"]
