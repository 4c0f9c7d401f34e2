"""All that a tier has measured as one tidy table: a row for each run and outcome.

What has not been computed is not there; nothing is computed here. The rules of the ledger
(:mod:`mae_lib.ledger.experiments`) read this table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from mae_lib import runs, studies
from mae_lib.data.shifts import SHIFTS
from mae_lib.evaluation.records import EvalRecord
from mae_lib.evaluation.small_objects import bin_names
from mae_lib.ledger import world_rules
from mae_lib.ledger.claims import claims
from mae_lib.ledger.design_rules import COST, DISTANCE, LONG
from mae_lib.ledger.experiments import verdict_on, verdicts_of
from mae_lib.ledger.occlusion_rules import CKA_AT
from mae_lib.ledger.outcomes import (
    COLUMNS,
    COUPLED,
    EQUAL_TOKENS,
    GUIDED,
    LONGER,
    MARGIN,
    METHOD,
    NORMALISED,
    RATIO,
    SCATTERED,
    UNIT,
    UNTRAINED,
    Outcomes,
)
from mae_lib.ledger.target_rules import (
    LEVELLED,
    NEAR_ANOTHER,
    NEAR_OWN,
    PAIRS,
    PICTURES,
    SHARED_ANOTHER,
    SHARED_OWN,
    TARGET,
    VIEW,
)
from mae_lib.ledger.verdicts import Verdict
from mae_lib.ledger.video_rows import CLIPS, with_labels
from mae_lib.ledger.video_rows import HIDDEN as CLIP_RATIOS
from mae_lib.ledger.video_rules import MOVES, READ, TRACKED, TUNED
from mae_lib.ledger.world_rules import GAMES, object_error
from mae_lib.models.cost import autoencoder_macs, method_macs
from mae_lib.models.family import MAE
from mae_lib.pages.costs import seconds_of_patches
from mae_lib.studies import Plan, Setting, Study, design, family, program, targets, video, worlds
from mae_lib.studies.settings import DATASETS

PERCENT = 100.0
USUAL = {"menagerie", "fashion_mnist"}
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
DRAWN_AS = {"menagerie_clips": "menagerie"}  # of one world: their verdicts stand together

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


def measurements(plan: Plan, only: Iterable[Study] | None = None) -> pd.DataFrame:
    """Outcomes by data set, series, level and seed, as the ledger names them.

    Args:
        only: the studies whose results are wanted, all if None.
    """
    every = [*OUTCOMES, studies.CROSS_CKA, studies.TARGETS, studies.SMALL_OBJECTS]
    wanted = every if only is None else list(only)
    rows, asked = [], {study: set(settings) for study, settings in program(plan).items()}
    for setting, places in series_of(plan).items():
        values = _cost(setting)
        for study in OUTCOMES.keys() & wanted:
            if setting in asked[study]:
                values |= _values(plan, study, setting)
        if studies.RECONSTRUCTION in wanted:
            values |= _above_floor(plan, setting, values)
        if set(SHARES) <= values.keys():
            near, near_area, far, far_area = (values.pop(name) for name in SHARES)
            values["gradient locality"] = near - near_area - (far - far_area)
        rows += [(DRAWN_AS.get(setting.dataset, setting.dataset), series, level, setting.seed,
                  name, value)
                 for series, level in places for name, value in values.items()]
    if studies.CROSS_CKA in wanted:
        rows += _similarities(plan)
    if studies.SMALL_OBJECTS in wanted:
        rows += _of_objects(plan)
    if studies.TARGETS in wanted:
        rows += _of_pictures(plan)
    rows += seconds_of_patches(plan)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def series_of(plan: Plan) -> dict[Setting, list[tuple[str, float | str]]]:
    """Every run of a plan with its places: series and level. One run may stand in several."""
    found = defaultdict(list)
    for setting in plan.ratio_series:
        found[setting].append((RATIO, setting.ratio))
    for setting in plan.unit_series:
        found[setting].append((UNIT, setting.unit))
    for setting in plan.coupled_series:
        found[setting].append((COUPLED, setting.patch or setting.unit))
    for setting in plan.untrained:
        found[setting].append((UNTRAINED, 0.0))
    for name in (EQUAL_TOKENS, LONGER, NORMALISED):
        for setting in plan.arm(name):
            found[setting].append((name, setting.ratio))
    for setting in plan.arm(MARGIN):
        found[setting].append((MARGIN, setting.margin))
    for setting in plan.arm(SCATTERED):
        found[setting].append((SCATTERED, setting.margin))
    for setting in plan.arm(GUIDED):
        found[setting].append((GUIDED, setting.policy))
    for table in (family.every_row(plan), design.every_row(plan)):
        for row, settings in table.items():
            for setting in settings:
                found[setting].append((METHOD, row))
    for name in design.SERIES:
        for level, settings in design.series(plan, name).items():
            for setting in settings:
                found[setting].append((name, level))
    for setting, place in _places_of_clips(plan):
        found[setting].append(place)
    return {setting: list(dict.fromkeys(places)) for setting, places in found.items()}


def _places_of_clips(plan: Plan) -> Iterator[tuple[Setting, tuple[str, float | str]]]:
    named = [*video.samplings(plan).items(), *video.pairs(plan).items()]
    for row, settings in named:
        for setting in settings:
            yield setting, (CLIPS, row) if setting.views else (UNTRAINED, 0.0)
    for ratio, settings in video.ratios(plan).items():
        yield from ((setting, (CLIP_RATIOS, ratio)) for setting in settings)
    for row, found in video.sizes(plan).items():
        for count, settings in found.items():
            yield from ((setting, (with_labels(row), count)) for setting in settings)


def _values(plan: Plan, study: Study, setting: Setting) -> dict[str, float]:
    result = runs.find(plan.key(study, setting), if_stale=plan.if_stale)
    if result is None:
        return {}
    records = {(r.protocol, r.metric, r.split): r for r in studies.records(result)}
    last = setting.shape["depth"] - 1
    found = {name: _read(records, place._replace(metric=place.metric.format(last=last)))
             for name, place in _outcomes(study, setting).items()}
    return {name: value for name, value in found.items() if value is not None}


def _outcomes(study: Study, setting: Setting) -> Mapping[str, Place]:
    return CLIP_PROBE if setting.kind and study is studies.LINEAR_PROBE else OUTCOMES[study]


def _read(records: Mapping[tuple[str, str, str], EvalRecord], place: Place) -> float | None:
    for protocol in place.protocols:
        record = records.get((protocol, place.metric, place.split))
        if record is not None and record.status == "ok":
            return place.factor * record.value
    return None


def _similarities(plan: Plan) -> list[tuple]:
    """CKA of the models of the ratio series with each other, ``"cka to <ratio>"``."""
    names = {f"cka to {ratio:g}" for ratio in plan.ratios}
    rows = []
    for setting in program(plan)[studies.CROSS_CKA]:
        result = runs.find(plan.key(studies.CROSS_CKA, setting), if_stale=plan.if_stale)
        rows += [(r.dataset, RATIO, r.setting["ratio"], r.seed, r.metric, r.value)
                 for r in (studies.records(result) if result else ())
                 if r.protocol == SIMILARITY and r.metric in names
                 and r.setting["unit"] == plan.patch]
    return rows


def _of_pictures(plan: Plan) -> list[tuple]:
    """Shared and nearest targets of raw pictures, whose parts are counted as seeds."""
    rows = []
    for setting in program(plan)[studies.TARGETS]:
        result = runs.find(plan.key(studies.TARGETS, setting), if_stale=plan.if_stale)
        for r in studies.records(result) if result else ():
            name = ON_PICTURES.get((targets.what(r), r.metric))
            if name is not None:
                rows.append((r.dataset, PICTURES, r.setting["ratio"], r.seed, name, r.value))
    return rows


def _of_objects(plan: Plan) -> list[tuple]:
    """Errors of hidden objects in games, over those of the background, by area."""
    rows = []
    for name, settings in worlds.rows(plan).items():
        for setting in settings:
            result = runs.find(plan.key(studies.SMALL_OBJECTS, setting), if_stale=plan.if_stale)
            held = {r.metric: r.value for r in studies.records(result)} if result else {}
            rows += [(GAMES, name, area, setting.seed, object_error(setting.dataset), held[metric])
                     for area, metric in zip(worlds.EDGES, object_metrics(), strict=True)
                     if held.get(metric) is not None]
    return rows


def object_metrics() -> list[str]:
    """Names of the errors of objects by area, in the order of the areas."""
    return [f"object error over background error, {name}" for name in bin_names(worlds.EDGES)]


def _cost(setting: Setting) -> dict[str, float]:
    """Multiplications of one training image: of a step, and of MAE's encoder forward."""
    if setting.kind:
        return {}
    step = method_macs(setting.method or MAE, setting.shape, setting.ratio, augment=setting.augment,
                       batch=setting.batch).step
    if setting.method or setting.augment:
        return {COST: step}
    return {COST: step, "macs": autoencoder_macs(setting.shape, setting.ratio).encoder}


def _above_floor(plan: Plan, setting: Setting, values: Mapping[str, float]) -> dict[str, float]:
    """Read-outs less the floor of their patch size: a picture of one colour a patch."""
    result = runs.find(plan.key(studies.FLOORS, setting), if_stale=plan.if_stale)
    if result is None:
        return {}
    floor = {r.metric: r.value for r in studies.records(result)
             if r.protocol == f"floor: patch mean {setting.vit_patch}"}
    return {f"{name} floored": values[name] - factor * floor[metric]
            for name, (metric, factor) in METRICS.items() if name in values and metric in floor}


def judged_on_games(found: pd.DataFrame) -> dict[str, Verdict]:
    """Verdicts on the claims about games, the same for all sets of pictures; from
    :func:`measurements`."""
    held = Outcomes.of(found, GAMES)
    return {claim.id: verdict_on(claim, held) for claim in claims(world_rules.RULES)}


def judged(found: pd.DataFrame) -> dict[str, dict[str, Verdict]]:
    """By data set, under the name that readers see: a verdict on every claim about networks.

    Args:
        found: from :func:`measurements`; if it is empty, the verdicts are on the book's two sets.
    """
    sets = set(found.dataset) or USUAL
    return {name: verdicts_of(found, key) for key, name in DATASETS.items() if key in sets}
