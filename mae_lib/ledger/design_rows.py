"""Names of the rows of the tables of design choices: levels of the series ``"method"``, too."""

from __future__ import annotations

CROPPED, FIXED_CROP, COLOURED = "random crops", "crops of one size", "random crops, other colours"
GRID, BLOCK, BLOCK_HALF = "grid masks", "block masks", "block masks, .5"
TOKENS, UNIFORM = "mask tokens in the encoder", "U-MAE"
# By head: one linear map, two, MAE's decoder; and with the encoder that SimMIM has itself.
SIMMIM = ("SimMIM", "SimMIM, two maps", "SimMIM, decoder", "SimMIM, own encoder")
RATIOS, DEPTHS, WIDTHS = (0.1, 0.25, 0.5, 0.75, 0.9), (1, 2, 4, 8, 12), (24, 48, 96, 192)
SIZES, TIMES = (48, 96, 144), (2, 4)


def of_ratio(ratio: float) -> str:
    """MAE that hides another share."""
    return f"ratio {ratio:g}"


def of_depth(blocks: int) -> str:
    """MAE with another depth of the decoder."""
    return f"decoder of {blocks} block{'s' if blocks > 1 else ''}"


def of_width(width: int) -> str:
    """MAE with another width of the decoder."""
    return f"decoder {width} wide"


def of_size(width: int) -> str:
    """MAE with another width of the encoder."""
    return f"encoder {width} wide"


def times(factor: int) -> str:
    """MAE trained so many times longer."""
    return f"{factor} times as long"
