"""Published files of weights as models of ours, every tensor accounted for."""

from mae_lib.models.published.loading import Published, load_published
from mae_lib.models.published.recognition import Description, described

__all__ = ["Description", "Published", "described", "load_published"]
