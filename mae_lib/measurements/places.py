"""Which record of which study is which outcome of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mae_lib import studies
from mae_lib.data.shifts import SHIFTS
from mae_lib.evaluation.records import EvalRecord
from mae_lib.evaluation.small_objects import bin_names
from mae_lib.ledger.design_rules import DISTANCE, LONG
from mae_lib.ledger.occlusion_rules import CKA_AT
from mae_lib.ledger.target_rules import (
    LEVELLED,
    NEAR_ANOTHER,
    NEAR_OWN,
    PAIRS,
    SHARED_ANOTHER,
    SHARED_OWN,
    TARGET,
    VIEW,
)
from mae_lib.ledger.video_rules import MOVES, READ, TRACKED, TUNED
from mae_lib.studies import Setting, Study, targets, worlds

PERCENT = 100.0
SIMILARITY = "similarity of models, mean token, levelled"
OCCLUDED = "occlusion, mean token, levelled"
METRICS = {"ssim": ("ssim", 1.0), "fsimc": ("fsimc", 1.0), "psnr": ("psnr", 1.0),
           "neg mse": ("mse", -1.0)}
SHARES = ("gradient share, near", "area share, near", "gradient share, far", "area share, far")
DROPPED = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9)  # shares, of any tier
CAUSES = ("position", "scale", "colour", *(f"level {i}" for i in range(5)))


class Place(NamedTuple):
    """Where an outcome stands among a study's records: the first of the protocols that was tested.

    ``factor`` brings it to the unit of the ledger's smallest effects; ``{last}`` in the metric is
    the number of the encoder's last block.
    """

    protocols: tuple[str, ...]
    metric: str
    factor: float = 1.0
    split: str = "test"


def _accuracy(protocol: str, split: str = "test") -> Place:
    return Place((protocol,), "accuracy", PERCENT, split)


BIASES = {
    "shape accuracy": Place(("texture cue, cls",), "shape accuracy"),
    **{f"{name}{short}": Place((f"{cue} cue, cls",), metric, factor)
       for cue, short in (("texture", ""), ("coat", ", coat"))
       for name, metric, factor in (("shape bias", "shape bias", 1.0),
                                    ("coverage", "coverage", 1.0),
                                    ("texture read", "decodable texture", PERCENT))}}
OUTCOMES: dict[Study, dict[str, Place]] = {
    studies.RECONSTRUCTION:
        {name: Place(("unmasked",), *metric) for name, metric in METRICS.items()}
        | {f"{name} hidden": Place(("complement 0.5",), *metric)
           for name, metric in METRICS.items()}
        | {"psnr pasted": Place(("own masks, pasted",), "psnr")},
    studies.LINEAR_PROBE: {"linear": _accuracy("linear probe, cls"),
                           "linear mean": _accuracy("linear probe, mean"),
                           "knn": _accuracy("20 nearest, cls")},
    studies.ROBUSTNESS: {name: _accuracy("robustness, cls", name) for name in SHIFTS},
    studies.SHAPE_BIAS: BIASES,
    studies.CUE_CONFLICT: BIASES,
    studies.ATTENTION: {
        "lift": Place(("class token",), "lift"),
        "lift null": Place(("class token, null",), "lift"),
        "background": Place(("class token",), "background"),
        "recall": Place(("object tokens",), "recall60"),
        "distance": Place(("distance",), "block {last}"),
        "entropy mean": Place(("object tokens, mean head",), "entropy"),
        "entropy head 0": Place(("object tokens, head 0",), "entropy")},
    studies.EMBEDDING: {"purity": Place(("components, mean token",), "purity"),
                        "separability": Place(("components, mean token",), "linear_acc")},
    # The causes where they are known, else what can be computed from the pixels.
    studies.LATENTS: {name: Place(("latents, class token", "image factors, class token"), name)
                      for name in CAUSES},
    studies.LOCALITY: {
        "error near": Place(("own masks",), "relative error, 1 px"),
        "error far": Place(("own masks",), "relative error, 5 to 8 px"),
        **{name: Place(("own masks",), name) for name in SHARES}},
    studies.LOSSES: {"loss slope": Place(("training",), "loss slope", split="train")},
    studies.DETECTION: {"box ap": Place(("box",), "ap", PERCENT),
                        "mask ap": Place(("mask",), "ap", PERCENT)},
    studies.FINETUNING: {"fine-tuned": _accuracy("fine-tuned")},
    studies.FEW_LABELS: {"few labels": _accuracy("few labels")},
    studies.OCCLUSION: {"cka": Place((OCCLUDED,), "cka"), "cka slope": Place((OCCLUDED,), "slope"),
                        "retrieval": Place((OCCLUDED,), "retrieval", PERCENT),
                        **{f"{CKA_AT}{r:g}": Place((OCCLUDED,), f"cka {r:g}") for r in DROPPED}},
    studies.FROM_SCRATCH: {LONG: _accuracy("from scratch")},
    studies.DISTANCES: {DISTANCE: Place(("whole images, mean token",), DISTANCE)},
    studies.MOTION: {MOVES: _accuracy("motion probe, mean")},
    studies.CLIP_TUNING: {TUNED: _accuracy("clips fine-tuned")},
    studies.PROPAGATION: {TRACKED: Place(("label propagation",), "j&f")},
    studies.TUNED_OCCLUSION: {"cka tuned": Place((OCCLUDED,), "cka")},
}
CLIP_PROBE = {READ: _accuracy("linear probe, mean")}  # some encoders of clips have no class token

# Of raw pictures, by protocol and metric.
ON_PICTURES = {
    (targets.EVERYTHING, targets.OWN): SHARED_OWN,
    (targets.EVERYTHING, targets.ANOTHER): SHARED_ANOTHER,
    (targets.EVERYTHING, targets.PAIRS): PAIRS,
    (targets.HIDDEN, targets.OF_ITS_CLASS): TARGET,
    (targets.LEVELLED, targets.OF_ITS_CLASS): LEVELLED,
    (targets.VISIBLE, targets.OF_ITS_CLASS): VIEW,
    (targets.HIDDEN, targets.NEAR_OWN): NEAR_OWN,
    (targets.HIDDEN, targets.NEAR_ANOTHER): NEAR_ANOTHER}


def outcomes_of(study: Study, setting: Setting) -> Mapping[str, Place]:
    """What a study measures of a run, by the name that the ledger has for it."""
    return CLIP_PROBE if setting.kind and study is studies.LINEAR_PROBE else OUTCOMES[study]


def read(records: Mapping[tuple[str, str, str], EvalRecord], place: Place) -> float | None:
    """The outcome at a place among records by protocol, metric and split; None: not measured."""
    for protocol in place.protocols:
        record = records.get((protocol, place.metric, place.split))
        if record is not None and record.status == "ok":
            return place.factor * record.value
    return None


def object_metrics() -> list[str]:
    """Names of the errors of objects by area, in the order of the areas."""
    return [f"object error over background error, {name}" for name in bin_names(worlds.EDGES)]
