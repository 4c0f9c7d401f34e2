"""ImageNet, its shifted sets, cue conflicts and COCO in their official layouts, a picture a class,
and the protocols of the studies cut down to them."""

import sys
from pathlib import Path

from mae_lib.data.official import folders
from mae_lib.data.official.human_categories import CATEGORIES
from mae_lib.data.official.imagenet import wnids
from mae_lib.data.official.variants import variant_spec
from mae_lib.studies import detection, probing, robustness

sys.path.insert(0, str(Path(__file__).parent / "data"))
from layouts import write_classes, write_coco, write_cue_conflict, write_imagenet  # noqa: E402

COUNTS = {"probe_images": 1000, "probe_test_images": 1000}


def write_all(root: Path, variants) -> Path:
    """One folder of data as a tier's ``data_root``, with these shifted sets."""
    write_imagenet(root / "imagenet", wnids())
    for name in variants:
        spec = variant_spec(name)
        write_classes(root / spec.location, spec.folders, name="{c}_{i}.png")
    write_cue_conflict(root / "cue-conflict", CATEGORIES)
    for split in ("train", "val"):
        write_coco(root / "coco", split)
    return root


def shrink(patch, results: Path, variants) -> None:
    """Any number of pictures will do, two epochs of a probe, small scenes; results go to a folder.

    Args:
        patch: pytest's monkeypatch.
    """
    patch.setenv("MAE_LIB_CACHE", str(results / "cache"))
    patch.setenv("MAE_LIB_PUBLISHED", str(results / "published"))
    patch.setattr(folders, "COUNT_TOLERANCE", 1.0)
    for name, value in {"KEPT": 500, "EPOCHS": 2, "WARMUP": 1, "BATCH": 250}.items():
        patch.setattr(probing, name, value)
    patch.setattr(probing, "decoders", lambda: 0)
    splits = [row for row in robustness.VARIANT_SPLITS if row[0] in variants]
    patch.setattr(robustness, "VARIANT_SPLITS", splits)
    patch.setattr(detection, "COCO_SIZE", 64)
    patch.setitem(detection.PRESET_OF, "imagenet", "laptop")
