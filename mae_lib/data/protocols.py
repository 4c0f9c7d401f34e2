"""What models, training, evaluation and studies ask of a set of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Images(Protocol):
    """Labelled images of one size, wherever they are kept.

    :class:`mae_lib.data.images.ImageSet` holds them in memory,
    :class:`mae_lib.data.files.sets.FileSet` decodes them when they are asked for.

    Attributes:
        labels: integer ``[N]``, each in ``range(len(classes))``.
        classes: names of the classes, in label order.
        name: what a reader calls the set.
        fingerprint: hex; whatever determines the images enters it.
        size: height and width in pixels.
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    name: str

    @property
    def fingerprint(self) -> str: ...

    @property
    def size(self) -> tuple[int, int]: ...

    def __len__(self) -> int: ...

    def batch(self, index) -> torch.Tensor:
        """Images at ``index`` (integers, a slice or a mask): float32 ``[B,3,H,W]`` in [0, 1]."""
        ...


def view_seeds(seed: int, step: int, batch: int) -> np.ndarray:
    """Seeds of the random views of one training step, int64 ``[batch]``, by place in the batch."""
    return np.random.default_rng([seed, step, 0x71E3]).integers(2**63, size=batch)
