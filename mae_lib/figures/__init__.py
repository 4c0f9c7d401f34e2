"""The few kinds of figures and tables of the book, in one style.

Numbers come in as numpy arrays or data frames, figures go out. Type is at least 10 pt at a width of
700 pixels; colours are those of Okabe and Ito, and lines differ in marker too, so that nothing is
said by colour alone.
"""

from mae_lib.figures.attention import attention_grid
from mae_lib.figures.curves import ratio_curves
from mae_lib.figures.dots import dots
from mae_lib.figures.embedding import embedding_panels
from mae_lib.figures.grids import mask_panel, reconstruction_grid
from mae_lib.figures.heatmap import heat_maps
from mae_lib.figures.look import COLOURS, MARKERS, STYLE, WIDTH, style
from mae_lib.figures.masks import mask_grid
from mae_lib.figures.player import player
from mae_lib.figures.scenes import Thing, scene_grid
from mae_lib.figures.sliders import slider
from mae_lib.figures.tables import table

__all__ = ["COLOURS", "MARKERS", "STYLE", "Thing", "WIDTH", "attention_grid", "dots",
           "embedding_panels", "heat_maps", "mask_grid", "mask_panel", "player",
           "ratio_curves", "reconstruction_grid", "scene_grid", "slider", "style", "table"]
