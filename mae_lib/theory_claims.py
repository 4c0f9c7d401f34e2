"""The verdicts on all claims that no training on pictures decides, in one call: on graphs, in small
worlds, and on equations."""

from __future__ import annotations

from collections.abc import Sequence

from mae_lib import identification
from mae_lib.data.dependence import dependence
from mae_lib.data.fashion_mnist import fashion_mnist
from mae_lib.data.menagerie import scenes
from mae_lib.ledger import mask_graphs, siamese, theory, world_rules
from mae_lib.ledger.verdicts import Verdict, weakest

CASES = ("no training", "squared error", "squared error, linear world",
         "squared error, latent graph")
WORLDS = 500  # that are small enough to list
NETWORKS = 50  # random ones with a stem, and as many without
DRAWS = 1000  # of random networks and predictions, as O-5 asks


def theory_claims(*, graphs: int, masks: int, ratios: Sequence[float], unit_ratio: float,
                  trial_seeds: Sequence[int], trial_steps: int, images: int, pairs: int,
                  distances: Sequence[int], seed: int, workers: int = 1,
                  if_stale: str = "show") -> dict[str, Verdict]:
    """A verdict on each of K-T1 to K-T8, K-T10, S-23, S-24, S-30 and O-5; under two minutes if the
    trials are found.

    Args:
        graphs, masks: random graphs, and masks of each.
        ratios, unit_ratio: masking ratios; the one at which units are compared.
        trial_seeds, trial_steps: of the identifiability trials.
        images, pairs, distances: for the dependence of pixels on each other.
        workers, if_stale: as in :func:`mae_lib.studies.sweep`.
    """
    trials = identification.experiment(CASES, trial_seeds, trial_steps, workers=workers,
                                       if_stale=if_stale)
    return {"K-T1": theory.smallest_set(graphs, masks, seed),
            "K-T2": theory.code_is_c(identification.scores(trials)),
            "K-T3": theory.one_pixel(True), "K-T4": theory.one_pixel(False),
            "K-T5": theory.some_mask_is_high(),
            "K-T6": weakest(theory.level_against_ratio(ratios, graphs // 5, seed)),
            "K-T7": weakest(theory.level_against_unit(unit_ratio)),
            "K-T8": theory.chosen_against_random(),
            "K-T10": weakest(theory.pixels_depend(pixel_dependence(images, pairs, distances,
                                                                   seed))),
            "S-23": mask_graphs.bounds_hold(WORLDS, seed),
            "S-24": mask_graphs.error_and_floor_hold(WORLDS, seed),
            "S-30": world_rules.features_see_beyond(NETWORKS, seed),
            "O-5": siamese.equations_hold(DRAWS, seed)}


def pixel_dependence(images: int, pairs: int, distances: Sequence[int], seed: int) -> dict:
    """How strongly pixels depend on each other, by the name of the pictures."""
    scene, clothes = scenes(images, 32, seed=seed), fashion_mnist("train", images)
    return {"Menagerie scenes": dependence(scene.images, distances, pairs, seed=seed,
                                           objects=scene.instances),
            "Fashion-MNIST": dependence(clothes.images, distances, pairs, seed=seed)}
