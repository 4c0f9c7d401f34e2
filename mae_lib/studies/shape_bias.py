"""Table 2 of Kong et al. on procedural images: do probes go by shape or by texture?

A probe learns classes from pictures whose shape and coat agree, so that either would do, and is
then shown pictures whose shape and coat say different classes. Two further probes, trained where
one cue alone tells the class, say what could have been read: a cue may be there and not preferred.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mae_lib.data.menagerie import CLASSES, cue_conflict
from mae_lib.data.menagerie.cues import CUES
from mae_lib.evaluation.features import extract_features
from mae_lib.evaluation.logistic import LinearProbe
from mae_lib.evaluation.records import EvalRecord, not_tested, records_of, to_value
from mae_lib.evaluation.shape_bias import MIN_DECISIVE, ShapeBias, shape_bias
from mae_lib.studies.pretraining import model
from mae_lib.studies.probing import POOLS
from mae_lib.studies.sets import PRESET, SIZE
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study

FIRST_TRAIN = 1_000_000  # place of the first picture that probes are fitted on; tests begin at 0
# Pictures of each kind for one with a conflict.
SHARES = {"fit congruent": 2, "fit conflict": 2, "conflict": 1, "congruent": 0.5,
          "shape only": 0.5, "texture only": 0.5}
NO_TEXTURE = "the classes of Fashion-MNIST have no texture of their own"


class Seen(NamedTuple):
    """Features ``[N, D]`` of pictures, and the class of their shape and coat ``[N]``."""

    features: np.ndarray
    shapes: np.ndarray
    textures: np.ndarray

    def pool(self, name: str) -> Seen:
        """With the features of the class token, ``"cls"``, or of the mean token alone."""
        width = self.features.shape[1] // 2
        kept = slice(width) if name == "cls" else slice(width, None)
        return self._replace(features=self.features[:, kept])


def look(encoder, cue: str, count: int) -> dict[str, Seen]:
    """What an encoder makes of ``count`` pictures with a conflict and of those of other kinds."""
    train = {"start": FIRST_TRAIN}
    kinds = {"fit congruent": {"congruent": True} | train, "fit conflict": train,
             "conflict": {}, "congruent": {"congruent": True},
             "shape only": {"shown": "shape"}, "texture only": {"shown": "texture"}}
    return {name: _seen(encoder, int(count * SHARES[name]), cue, which)
            for name, which in kinds.items()}


def _seen(encoder, count: int, cue: str, which: dict) -> Seen:
    drawn = cue_conflict(count, SIZE, PRESET, cue=cue, **which)
    bank = extract_features(encoder, drawn.image_set(), "cls+mean")
    return Seen(bank.image, drawn.shapes, drawn.textures)


def decide(seen: dict[str, Seen]) -> tuple[ShapeBias, dict[str, np.ndarray]]:
    """Shape bias on the conflict pictures, and what was right on all kinds, uint8 ``[N]`` each."""
    fitted, test = LinearProbe().fit(*seen["fit congruent"][:2]), seen["conflict"]
    said = fitted.predict(test.features)
    alone, full = seen["shape only"], seen["texture only"]
    agree, free = seen["congruent"], seen["fit conflict"]
    readable = {name: LinearProbe().fit(free.features, getattr(free, name)).predict(test.features)
                for name in ("shapes", "textures")}
    right = {"shape accuracy": said == test.shapes, "texture accuracy": said == test.textures,
             "accuracy, congruent": fitted.predict(agree.features) == agree.shapes,
             "accuracy, shape only": fitted.predict(alone.features) == alone.shapes,
             "accuracy, texture only": fitted.predict(full.features) == full.textures,
             "decodable shape": readable["shapes"] == test.shapes,
             "decodable texture": readable["textures"] == test.textures}
    return (shape_bias(said, test.shapes, test.textures),
            {name: items.astype(np.uint8) for name, items in right.items()})


def _shape_bias(setting: Setting, if_stale: str, conflict_images: int) -> dict:
    about = {"setting": without_seed(setting), "seed": setting.seed, "dataset": setting.dataset,
             "split": "test"}
    if setting.dataset != "menagerie":
        return to_value([not_tested(NO_TEXTURE, metric="shape bias", protocol=_protocol(cue, pool),
                                    **about) for cue in CUES for pool in POOLS])
    encoder, found, classes = model(setting, if_stale).encoder, [], {}
    for cue in CUES:
        seen = look(encoder, cue, conflict_images)
        for pool in POOLS:
            bias, right = decide({name: each.pool(pool) for name, each in seen.items()})
            about["protocol"] = _protocol(cue, pool)
            found += bias_records(bias, about) + records_of(right, **about)
            name = f"per_class/{about['protocol']}"
            classes[name] = by_class(bias.per_class, range(len(CLASSES)))
    return to_value(found) | classes


def by_class(found: dict, classes: Iterable) -> np.ndarray:
    """Bias of each class in the order of ``classes``, NaN where nothing was decided."""
    each = [found.get(label) for label in classes]
    return np.array([np.nan if value is None else value for value in each], np.float32)


def _protocol(cue: str, pool: str) -> str:
    return f"{cue} cue, {pool}"


def bias_records(found: ShapeBias, about: dict) -> list[EvalRecord]:
    """Bias over the decisive pictures, and the share of all that they are; what was decided is
    kept with the two accuracies."""
    coverage = EvalRecord(metric="coverage", value=found.coverage, n=found.n_conflict, **about)
    if found.n_decisive < MIN_DECISIVE:
        reason = f"only {found.n_decisive} decisive images, {MIN_DECISIVE} are needed"
        return [not_tested(reason, metric="shape bias", **about), coverage]
    return [replace(coverage, metric="shape bias", value=found.bias, n=found.n_decisive), coverage]


@lru_cache(maxsize=1)
def _drawn() -> dict[str, str]:
    return {f"{cue} conflict": cue_conflict(64, SIZE, PRESET, cue=cue).fingerprint for cue in CUES}


def _data(setting: Setting, arguments: dict) -> dict[str, str]:
    return _drawn() if setting.dataset == "menagerie" else {}


SHAPE_BIAS = Study("shape_bias", _shape_bias,
                   ("mae_lib.evaluation.probing", "mae_lib.evaluation.shape_bias"),
                   libraries=("scikit-learn", "scipy"), data=_data)
