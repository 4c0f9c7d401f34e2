"""Which causes of a picture the features hold: levels of the Menagerie, low-level facts of both.

Kong et al. predict low-level features at both extremes of the masking ratio and high-level ones
between them. Here the level of every latent is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
from sklearn.decomposition import PCA

from mae_lib.data.menagerie import draw
from mae_lib.evaluation.features import FeatureBank, raw_pixels
from mae_lib.evaluation.latents import (
    COMPOSITES,
    LEVELS,
    Factor,
    image_factors,
    known_latents,
    latent_items,
    latent_records,
)
from mae_lib.evaluation.records import EvalRecord, not_tested, to_value
from mae_lib.studies.probing import banks
from mae_lib.studies.sets import PRESET, SIZE, images, images_of, in_memory
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study

LATENT, IMAGE = "latents", "image factors"  # read from a representation: "latents, mean token"
SECOND = "class token"  # of which only composites and levels are kept
COMPONENTS = 256  # of all pixels; the result says how much of the variance they keep
Table = Mapping[str, Factor]


@lru_cache(maxsize=4)
def factors(dataset: str, split: str, count: int, size: int = SIZE,
            root: str | None = None) -> dict[str, Table]:
    """What is known of the images of the studies, by protocol.

    Raises:
        RuntimeError: the Menagerie drew other pictures with their latents than without.
    """
    pictures = in_memory(images(dataset, split, count, size, root))
    seen = image_factors(pictures)
    if dataset != "menagerie":
        return {IMAGE: seen}
    drawn = draw(split, count, size, PRESET, keep=False)
    if not np.array_equal(drawn.images, pictures.images):
        raise RuntimeError("the pictures drawn with their latents are not those of the studies")
    hidden = known_latents(drawn.latents)
    return {LATENT: hidden | _of_no_kind(seen), IMAGE: seen}


def _latents(setting: Setting, if_stale: str, probe_images: int, test_images: int) -> dict:
    found = banks(setting, if_stale, probe_images, test_images)
    tokens = {"mean token": found["mean"], SECOND: found["cls"]}
    return to_value(_records(tokens, setting, without_seed(setting), probe_images, test_images))


def _latents_of_pixels(setting: Setting, if_stale: str, probe_images: int,
                       test_images: int) -> dict:
    sets = [in_memory(images_of(setting, split, count))
            for split, count in (("train", probe_images), ("test", test_images))]
    patch = setting.vit_patch
    pixels, kept = compressed(*map(raw_pixels, sets))
    found = {"mean patch": tuple(raw_pixels(s, patch=patch) for s in sets), "pixels": pixels}
    described = {"dataset": setting.dataset}
    return {**to_value(_records(found, setting, described, probe_images, test_images)),
            "variance kept": kept}


def compressed(train: FeatureBank, test: FeatureBank,
               count: int = COMPONENTS) -> tuple[tuple[FeatureBank, FeatureBank], float]:
    """Both banks in the principal components of the first, and the share of variance kept."""
    rank = min(len(train) - 1, train.image.shape[1])  # a component that is flat there says nothing
    axes = PCA(min(count, rank), random_state=0).fit(train.image)
    both = tuple(FeatureBank(axes.transform(b.image)[:, None], b.y, b.ids) for b in (train, test))
    return both, float(axes.explained_variance_ratio_.sum())


def _records(found: Mapping[str, tuple[FeatureBank, FeatureBank]], setting: Setting,
             described: dict, probe_images: int, test_images: int) -> list[EvalRecord]:
    known, asked = (factors(setting.dataset, split, count, setting.size, setting.root)
                    for split, count in (("train", probe_images), ("test", test_images)))
    seed = setting.seed if "ratio" in described else 0
    common = {"setting": described, "seed": seed, "dataset": setting.dataset, "split": "test"}
    made = [record for name, both in found.items() for protocol in known
            for record in latent_records(latent_items(*both, known[protocol], asked[protocol]),
                                         brief=name == SECOND, **common,
                                         protocol=f"{protocol}, {name}")]
    return [*made, *(() if LATENT in known else _unknown(found, common))]


def _unknown(found: Mapping, common: dict) -> Iterator[EvalRecord]:
    """What would have been measured if the causes of these pictures were known."""
    return (not_tested("the causes of photographs are not known", **common, metric=metric,
                       protocol=f"{LATENT}, {name}")
            for name in found for metric in (*COMPOSITES, *LEVELS))


def _of_no_kind(table: Table) -> dict[str, Factor]:
    """Facts of the pixels as level 0 of the hierarchy: position and scale are the object's own."""
    return {name: factor._replace(kind="") for name, factor in table.items()}


MODULES = ("mae_lib.evaluation.latents", "mae_lib.data.menagerie")
LATENTS = Study("latents", _latents, MODULES, libraries=("scikit-learn",))
PIXEL_LATENTS = Study("pixel_latents", _latents_of_pixels, MODULES, libraries=("scikit-learn",),
                      fields=("dataset", "preset"))
