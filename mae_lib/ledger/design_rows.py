"""Names of the rows of the tables of design choices, levels of the series ``"method"`` too, and of
the series whose levels are numbers."""

from __future__ import annotations

CROPPED, FIXED_CROP, COLOURED = "random crops", "crops of one size", "random crops, other colours"
GRID, BLOCK, BLOCK_HALF = "grid masks", "block masks", "block masks, .5"
TOKENS, UNIFORM = "mask tokens in the encoder", "U-MAE"
# By head: one linear map, two, MAE's decoder; and with the encoder that SimMIM has itself.
SIMMIM = ("SimMIM", "SimMIM, two maps", "SimMIM, decoder", "SimMIM, own encoder")
# Decoder in blocks and units, encoder in units, views in multiples of MAE's.
HIDDEN, LENGTH = "hidden share", "length of training"
DEPTH, WIDTH, SIZE = "decoder depth", "decoder width", "encoder width"
