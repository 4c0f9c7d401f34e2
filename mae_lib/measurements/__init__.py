"""All that a tier has measured, as the ledger reads it."""

from .places import OUTCOMES, Place
from .series import series_of
from .table import judged, judged_on_games, measurements

__all__ = ["OUTCOMES", "Place", "judged", "judged_on_games", "measurements", "series_of"]
