"""Which of the causes of a picture a frozen representation holds, level by level.

The Menagerie's latents are known, with their place in the hierarchy (:data:`LATENTS`). What a
linear read-out recovers of each, on images it was not fitted on, is the score: R2 for numbers,
accuracy above the largest class's share, rescaled to [0, 1], for choices. Of real pictures only
what can be computed from the pixels is known, :func:`image_factors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mae_lib.data.images import ImageSet
from mae_lib.data.menagerie import LATENTS
from mae_lib.evaluation.features import FeatureBank
from mae_lib.evaluation.readout import read_class, read_number
from mae_lib.evaluation.records import EvalRecord, records_of

COMPOSITES = ("position", "scale", "colour")
LEVELS = tuple(f"level {level}" for level in (4, 3, 2, 1, 0))
CLUTTER_SHOWN = 0.8  # of the Menagerie's painter: a distractor is there below it
LEAST = 20  # items on which a quantity has to be defined
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


class Factor(NamedTuple):
    """A latent as it is read out.

    ``level`` is its height (4 to 0), ``kind`` the composite it counts for, if any. Its score is the
    mean over ``quantities``: float ``[N, c]``, NaN in the rows where it is not defined, an angle
    being a point on the circle; or integer ``[N]``, a choice.
    """

    level: int
    kind: str
    quantities: tuple[np.ndarray, ...]


def known_latents(latents: Mapping[str, np.ndarray]) -> dict[str, Factor]:
    """The latents of :class:`mae_lib.data.menagerie.Menagerie` as they are read out.

    Left out is the rendition, which plain pictures do not show. The parts' latents are defined
    where the part is there; of the clutter, how many shapes there are.
    """
    read = {name: tuple(_quantities(name, values, latents["parts"]))
            for name, values in latents.items() if name != "rendition"}
    return {name: Factor(LATENTS[name].level, _KIND.get(name, ""), parts)
            for name, parts in read.items()}


def image_factors(images: ImageSet) -> dict[str, Factor]:
    """Low-level facts of the pixels, all of level 0.

    ``"mean colour"``: of each channel. ``"contrast"``: standard deviation of the brightness.
    ``"centre of mass"`` (down, right) and ``"extent"`` (root mean square distance from it) of the
    brightness, in half sides, not defined for a black image.
    """
    x = images.images.astype(np.float64) / 255
    grey = np.tensordot(x, GREY, (1, 0))
    centre, extent = _moments(grey)
    return {"mean colour": Factor(0, "colour", tuple(x.mean((2, 3)).T[:, :, None])),
            "contrast": Factor(0, "colour", (grey.std((1, 2))[:, None],)),
            "centre of mass": Factor(0, "position", tuple(centre[:, :, None])),
            "extent": Factor(0, "scale", (extent[:, None],))}


def latent_items(train: FeatureBank, test: FeatureBank, known: Mapping[str, Factor],
                 asked: Mapping[str, Factor]) -> dict[str, np.ndarray]:
    """What a read-out of ``train`` features recovers on ``test``, ``{name: float64 [Nt]}``.

    The mean of the items is the score: for numbers 1 minus the squared error over the variance of
    the test set, so that it is R2; for choices (right - share) / (1 - share), where share is that
    of the test set's largest class. Names are those of the factors and, means of these,
    ``"position"``, ``"scale"``, ``"colour"`` and ``"level 4"`` to ``"level 0"``. A factor that does
    not vary is left out.

    Args:
        known, asked: the factors of the training and of the test images.

    Raises:
        ValueError: banks that share images or differ in D; factors of other images or names.
    """
    _check(train, test, known, asked)
    found = {}
    for name, factor in known.items():
        pairs = zip(factor.quantities, asked[name].quantities, strict=True)
        parts = [_items(train.image, y, test.image, z) for y, z in pairs if _varies(y, z)]
        if parts:
            found[name] = np.mean(parts, axis=0)
    return found | _composites(found, known)


def latent_records(items: Mapping[str, np.ndarray], *, brief: bool = False, setting: dict,
                   seed: int, dataset: str, split: str, protocol: str) -> list[EvalRecord]:
    """One record a name; composites and levels keep their items, in half precision.

    An item of a read-out gone astray is cut at the largest number that half precision has.

    Args:
        brief: composites and levels only, and no items, for a read-out of second rank.
    """
    kept, most = (*COMPOSITES, *LEVELS), np.finfo(np.float16).max
    found = records_of(items, setting=setting, seed=seed, dataset=dataset, split=split,
                       protocol=protocol)
    if brief:
        return [replace(r, items=None) for r in found if r.metric in kept]
    return [replace(r, items=r.items.clip(-most, most).astype(np.float16)
                    if r.metric in kept else None) for r in found]


def _composites(found: Mapping[str, np.ndarray],
                known: Mapping[str, Factor]) -> dict[str, np.ndarray]:
    """Means over the factors of one kind and of one level."""
    groups = {kind: [n for n in found if known[n].kind == kind] for kind in COMPOSITES}
    groups |= {f"level {level}": [n for n in found if known[n].level == level]
               for level in (4, 3, 2, 1, 0)}
    return {group: np.mean([found[n] for n in names], axis=0)
            for group, names in groups.items() if names and group not in found}


def _items(X: np.ndarray, y: np.ndarray, Z: np.ndarray, z: np.ndarray) -> np.ndarray:
    if z.dtype.kind in "iu":
        share = np.unique(z, return_counts=True)[1].max() / len(z)
        return ((read_class(X, y, Z) == z) - share) / (1 - share)
    fit, there = (np.isfinite(values).all(1) for values in (y, z))
    errors = ((read_number(X[fit], y[fit], Z[there]) - z[there]) ** 2).sum(1)
    items = np.zeros(len(z))
    items[there] = 1 - errors / ((z[there] - z[there].mean(0)) ** 2).sum(1).mean()
    return items * len(z) / there.sum()


def _varies(*values: np.ndarray) -> bool:
    """Whether there is something to read in all of them, on enough items."""
    there = [v if v.ndim == 1 else v[np.isfinite(v).all(1)] for v in values]
    return all(len(v) >= LEAST and np.ptp(v, axis=0).max() > 0 for v in there)


def _moments(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre ``[2, N]`` (down, right) and radius ``[N]`` of brightness ``[N,H,W]``."""
    sides = [(2 * np.arange(n) + 1) / n - 1 for n in grey.shape[1:]]
    mass = grey.sum((1, 2))
    share = grey / np.where(mass > 0, mass, np.nan)[:, None, None]
    lines = [share.sum(2) * sides[0], share.sum(1) * sides[1]]
    centre = np.array([line.sum(1) for line in lines])
    square = sum((line * side).sum(1) for line, side in zip(lines, sides, strict=True))
    return centre, np.sqrt(np.maximum(square - (centre**2).sum(0), 0))


def _quantities(name: str, values: np.ndarray, there: np.ndarray) -> list[np.ndarray]:
    """How a latent is read out; first axis N in and out."""
    if name == "clutter":
        return [(values[:, :, 0] < CLUTTER_SHOWN).sum(1, keepdims=True).astype(float)]
    if name.startswith("part_"):
        return [_shown(q, there[:, part]) for part in range(values.shape[1])
                for q in _columns(values[:, part], name == "part_angle", 360)]
    if values.dtype.kind in "iub":
        return list(values.reshape(len(values), -1).astype(np.int64).T)
    turn = 360 if name in ("rotation", "light") else 1
    flat = values.reshape(len(values), -1)
    return _columns(flat, np.isin(np.arange(flat.shape[1]), _ANGLES.get(name, ())), turn)


def _columns(values: np.ndarray, angle: np.ndarray | bool, turn: float) -> list[np.ndarray]:
    """Each column as ``[N,1]``, or ``[N,2]`` on the circle if it is an angle of period ``turn``."""
    columns = values.reshape(len(values), -1).T
    phases = 2 * np.pi * columns / turn
    circles = np.stack([np.sin(phases), np.cos(phases)], -1)
    which = np.broadcast_to(angle, len(columns))
    return [circles[i] if which[i] else columns[i][:, None] for i in range(len(columns))]


def _shown(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.where(there[:, None], values, np.nan)


def _check(train: FeatureBank, test: FeatureBank, known: Mapping[str, Factor],
           asked: Mapping[str, Factor]) -> None:
    if train.X.shape[2] != test.X.shape[2]:
        raise ValueError(f"train and test must have features of one length, "
                         f"got {train.X.shape[2]} and {test.X.shape[2]}")
    if shared := len(np.intersect1d(train.ids, test.ids)):
        raise ValueError(f"train and test must not share images, got {shared} ids in both")
    if not known or list(known) != list(asked):
        raise ValueError(f"known and asked must be the same factors, "
                         f"got {', '.join(known) or 'none'} and {', '.join(asked) or 'none'}")
    for what, factors, bank in (("known", known, train), ("asked", asked, test)):
        counts = {len(q) for factor in factors.values() for q in factor.quantities}
        if counts != {len(bank)}:
            raise ValueError(f"{what} must describe {len(bank)} images, got {sorted(counts)}")


_KIND = {"x": "position", "y": "position", "scale": "scale",
         "hue": "colour", "saturation": "colour", "value": "colour"}
# Which columns of a latent are angles: hues, phases and directions in turns, else degrees.
_ANGLES = {"hue": (0,), "sky": (0, 3), "ground": (0,), "hills": (2,), "texture_phase": (0, 1),
           "ground_texture": (2,), "rotation": (0,), "light": (0,)}
