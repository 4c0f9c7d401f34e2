"""Which measurements a tier consists of, in the order in which they are best computed."""

from __future__ import annotations

from mae_lib.models.family import MAE, is_autoencoder
from mae_lib.studies import design, family, partners, video, worlds
from mae_lib.studies.attention import ATTENTION
from mae_lib.studies.clips import CLIP_TUNING, MOTION, PROPAGATION, TRACKING_BOUNDS
from mae_lib.studies.cue_conflict import CUE_CONFLICT
from mae_lib.studies.detection import DETECTION
from mae_lib.studies.distances import DISTANCES
from mae_lib.studies.embedding import EMBEDDING, PIXEL_EMBEDDING
from mae_lib.studies.finetuning import FEW_LABELS, FINETUNING, FROM_SCRATCH
from mae_lib.studies.gameplay import FILLING
from mae_lib.studies.latents import LATENTS, PIXEL_LATENTS
from mae_lib.studies.locality import LOCALITY
from mae_lib.studies.losses import LOSSES
from mae_lib.studies.occlusion import OCCLUSION, PIXEL_OCCLUSION, TUNED_OCCLUSION
from mae_lib.studies.partners import PARTNERS
from mae_lib.studies.plan import ARMS, Plan
from mae_lib.studies.pretraining import PRETRAINING
from mae_lib.studies.probing import LARS_PROBE, LINEAR_PROBE, PIXEL_PROBE
from mae_lib.studies.reconstruction import FLOORS, RECONSTRUCTION
from mae_lib.studies.robustness import FILTER_NETWORK, ROBUSTNESS
from mae_lib.studies.settings import Setting, one_each
from mae_lib.studies.shape_bias import SHAPE_BIAS
from mae_lib.studies.similarity import CROSS_CKA
from mae_lib.studies.study import Study
from mae_lib.studies.targets import TARGETS
from mae_lib.studies.worlds import SMALL_OBJECTS

SMALL = 96  # pixels a side
SHIFTED = ("menagerie", "fashion_mnist", "imagenet")  # with shifted test sets


def program(plan: Plan) -> dict[Study, list[Setting]]:
    """Every study of a tier with its settings; trainings, on which the rest depends, come first."""
    work = _on_images(plan)
    for part in (_on_clips(plan), _on_games(plan)):
        for study, settings in part.items():
            work[study] = _once(work.get(study, []) + settings)
    return work


def _on_games(plan: Plan) -> dict[Study, list[Setting]]:
    runs = worlds.every_run(plan)
    trained = [s for s in runs if s.views]
    return {PRETRAINING: trained, LOSSES: trained, SMALL_OBJECTS: runs,
            PARTNERS: _all(partners.rows(plan))}


def _on_clips(plan: Plan) -> dict[Study, list[Setting]]:
    runs, pairs = video.every_run(plan), _all(video.pairs(plan))
    compared = _once(_all(video.samplings(plan)) + _all(video.ratios(plan)))
    trained = [s for s in runs if s.views]
    return {PRETRAINING: trained, LOSSES: trained, LINEAR_PROBE: compared, MOTION: compared,
            CLIP_TUNING: [s for found in video.sizes(plan).values() for s in _all(found)],
            PROPAGATION: pairs, TRACKING_BOUNDS: pairs[:1], FILLING: _all(video.games(plan))}


def _on_images(plan: Plan) -> dict[Study, list[Setting]]:
    series = _once(plan.core + plan.coupled_series)
    arms = [s for name in ARMS for s in plan.arm(name)]
    compared = {part: _all(getattr(family, part)(plan)) for part in (
        "every_row", "probed", "figure1", "tuned", "table1")}
    choices = design.every_run(plan)
    others = _once(compared["every_row"] + choices)
    trained = [] if plan.checkpoint else _once(series + arms + [s for s in others if s.views])
    controls = _once(plan.core + plan.untrained)
    sets = one_each(plan.core)
    small = [s for s in sets if _of_few_pixels(s)]
    known = [s for s in series + plan.untrained if _of_few_pixels(s)]
    return {PRETRAINING: trained, FILTER_NETWORK: small, LOSSES: trained,
            FLOORS: sets, PIXEL_PROBE: small, PIXEL_EMBEDDING: small, PIXEL_LATENTS: small,
            RECONSTRUCTION: _once(series + arms + plan.untrained + [
                s for s in compared["table1"] if s.views and is_autoencoder(s.method or MAE)]),
            LINEAR_PROBE: _once(series + arms + plan.untrained + compared["probed"] + choices),
            LARS_PROBE: [s for s in plan.ratio_series
                         if s.seed == min(plan.seeds) and _of_few_pixels(s)],
            ROBUSTNESS: [s for s in _once(series + plan.untrained) if s.dataset in SHIFTED],
            SHAPE_BIAS: [s for s in controls if s.dataset == "menagerie"],
            CUE_CONFLICT: [s for s in controls if s.dataset == "imagenet"],
            ATTENTION: controls, EMBEDDING: _once(series + plan.untrained),
            LATENTS: _once(known), LOCALITY: controls,
            CROSS_CKA: [s for seed in plan.seeds if not plan.checkpoint
                        for s in one_each(s for s in plan.core if s.seed == seed)],
            DETECTION: plan.detected, FINETUNING: _once(plan.finetuned + others),
            FEW_LABELS: compared["probed"], OCCLUSION: compared["figure1"],
            TUNED_OCCLUSION: compared["tuned"],
            PIXEL_OCCLUSION: [s for s in sets if s.dataset in plan.method_datasets],
            DISTANCES: _once(_all(design.uniformity(plan))
                             + _all(design.series(plan, design.HIDDEN))),
            FROM_SCRATCH: family.scratch(design.own(plan)) if plan.scratch_epochs else [],
            TARGETS: small if plan.target_images else []}


def _of_few_pixels(setting: Setting) -> bool:
    """Whether pixels are few enough to be features, and images to be kept as such."""
    return setting.size <= SMALL and setting.dataset != "imagenet"


def _all(rows: family.Rows) -> list[Setting]:
    return _once([setting for part in rows.values() for setting in part])


def _once(settings: list[Setting]) -> list[Setting]:
    return list(dict.fromkeys(settings))
