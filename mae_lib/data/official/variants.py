"""Test sets that shift ImageNet's images: ImageNet-v2, -A, -R, -Sketch and ObjectNet."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import yaml

from mae_lib.data.files.sets import FileSet
from mae_lib.data.files.transforms import CentreView
from mae_lib.data.official.folders import class_folders, existing
from mae_lib.data.official.imagenet import timm_table, wnids

VARIANTS = ("imagenetv2-matched-frequency", "imagenetv2-threshold0.7", "imagenetv2-top-images",
            "imagenet-a", "imagenet-r", "imagenet-sketch", "objectnet")
PICTURES = "The pictures belong to their makers."
MIT = f"The list of the set is under the MIT licence. {PICTURES}"
OBJECTNET = ("May never be used to train or tune a model, not even a normalisation; a picture that "
             "is published keeps its red border of one pixel.")


@dataclass(frozen=True)
class VariantSpec:
    """What is known of a shifted test set before it is looked at.

    Args:
        name: one of ``VARIANTS``.
        location: of the class folders below the folder that data sets are kept in.
        folders: for each class folder, in the order of labels, the indices of the ImageNet classes
            that are right for its pictures.
        n_expected: number of pictures in them.
        default_rule: of :func:`mae_lib.evaluation.robustness.score_variant`.
        border: pixels to cut off each side before anything else.
        others: whether the set has folders of further classes, which do not count.
        licence: what its licence asks.
    """

    name: str
    location: str
    folders: dict[str, frozenset[int]] = field(repr=False)
    n_expected: int
    default_rule: str = "full"
    border: int = 0
    others: bool = False
    licence: str = MIT

    @property
    def allowed(self) -> frozenset[int] | None:
        """The ImageNet classes of the set, None for all 1000."""
        return None if self.default_rule == "full" else frozenset().union(*self.folders.values())

    @property
    def groups(self) -> list[frozenset[int]]:
        """For the rule "projected": the ImageNet classes of each class of the set."""
        return list(self.folders.values())

    def targets(self, labels: Sequence[int]) -> list[frozenset[int]]:
        """Right answers for each image, given the labels of :func:`variant`."""
        groups = self.groups
        return [groups[label] for label in labels]


@functools.cache
def variant_spec(name: str) -> VariantSpec:
    """The facts about one of ``VARIANTS``.

    ImageNet-v2's folders are named by the index itself; sorted as text they would come in another
    order. ImageNet-A and -R have 200 classes each, 86 of them shared. Of ObjectNet's 313 classes
    113 are ImageNet's too, nine of them several at once. Its border is one pixel in its papers; the
    authors' own loader cuts two, as everybody since does.

    Raises:
        ValueError: an unknown name.
    """
    if name not in VARIANTS:
        raise ValueError(f"name must be one of {', '.join(VARIANTS)}, got {name!r}")
    if name.startswith("imagenetv2"):
        numbered = {str(k): frozenset([k]) for k in range(1000)}
        return VariantSpec(name, f"{name}-format-val", numbered, 10_000)
    if name == "imagenet-sketch":
        return VariantSpec(name, "sketch", _by_wnid(range(1000)), 50_889)
    if name == "objectnet":
        return VariantSpec(name, "objectnet-1.0/images", _objectnet(), 18_574, "restricted",
                           border=2, others=True, licence=OBJECTNET)
    count, licence = {"imagenet-a": (7_500, MIT), "imagenet-r": (30_000, PICTURES)}[name]
    indices = map(int, timm_table(f"imagenet_{name[-1]}_indices.txt"))
    return VariantSpec(name, name, _by_wnid(indices), count, "restricted", licence=licence)


def variant(root: str | Path, name: str, *, size: int = 224, max_corrupt: float = 0.001,
            strict: bool = True) -> FileSet:
    """A shifted test set; the right answers are ``variant_spec(name).targets(images.labels)``.

    Labels count the set's own classes, which are its folders.

    Args:
        root: the folder that holds the set's own (``imagenet-a``, ``objectnet-1.0``, ...), or the
            one that holds the class folders.
        strict: see :func:`mae_lib.data.official.folders.class_folders`.

    Raises:
        ValueError: an unknown name.
        WrongLayout: folders or a number of pictures that are not the set's.
    """
    spec = variant_spec(name)
    root = existing(Path(root), f"a folder with {spec.location} of {name} in it")
    base = root / spec.location if (root / spec.location).is_dir() else root
    files, labels = class_folders(base, tuple(spec.folders), count=spec.n_expected, strict=strict,
                                  others=spec.others)
    return FileSet(base, files, labels, tuple(spec.folders), name,
                   CentreView(size, border=spec.border), None, max_corrupt)


def _by_wnid(indices) -> dict[str, frozenset[int]]:
    return {wnids()[k]: frozenset([k]) for k in indices}


def _objectnet() -> dict[str, frozenset[int]]:
    return {folder: frozenset(one["indices"]) for folder, one in objectnet_table().items()}


@functools.cache
def objectnet_table() -> dict[str, dict]:
    """Of each class folder that counts: ObjectNet's ``id`` and ``label``, ImageNet's ``indices``.
    """
    file = files(__package__).joinpath("objectnet.yaml")
    return yaml.safe_load(file.read_text(encoding="utf-8"))["classes"]
