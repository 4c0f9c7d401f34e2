"""Kong and Zhang, Figure 1: do features stay what they are when patches are dropped?"""

from __future__ import annotations

import numpy as np

from mae_lib.data.images import ImageSet
from mae_lib.evaluation.cka import cka_matrix
from mae_lib.evaluation.records import EvalRecord, to_value
from mae_lib.evaluation.similarity import (
    PooledPixels,
    block_features,
    occlusion_masks,
    occlusion_summary,
    retrieved,
)
from mae_lib.studies.finetuning import tuned
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import images_of
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.similarity import INPUTS, REPRESENTATIONS
from mae_lib.studies.study import Study

CLASS, MEAN = REPRESENTATIONS
NULL = "shuffled pairs"


def _occlusion(setting: Setting, if_stale: str, test_images: int,
               occlusion_ratios: tuple[float, ...], occlusion_draws: int) -> dict:
    return _measured(model(setting, if_stale).encoder, setting, test_images, occlusion_ratios,
                     occlusion_draws)


def _after_tuning(setting: Setting, if_stale: str, test_images: int,
                  occlusion_ratios: tuple[float, ...], occlusion_draws: int, probe_images: int,
                  probe_test_images: int, finetune_epochs: int) -> dict:
    """The same of the encoder that fine-tuning leaves; of an untrained one: trained from scratch.
    """
    classifier = tuned(setting, if_stale, probe_images, probe_test_images,
                       finetune_epochs).classifier
    return _measured(classifier.encoder, setting, test_images, occlusion_ratios, occlusion_draws)


def _of_pixels(setting: Setting, if_stale: str, test_images: int,
               occlusion_ratios: tuple[float, ...], occlusion_draws: int) -> dict:
    """The mean of raw patches in the place of a network."""
    pixels = PooledPixels(setting.size, setting.vit_patch)
    plain = Setting(dataset=setting.dataset, preset=setting.preset)  # all else has no say
    return _measured(pixels, plain, test_images, occlusion_ratios, occlusion_draws)


def _measured(encoder, setting: Setting, count: int, ratios: tuple[float, ...], draws: int
              ) -> dict:
    """CKA ``[inputs, representations, ratios, blocks, draws]`` of full and masked images, and the
    share of masked images whose own full image is the nearest ``[inputs, ratios, draws]``."""
    test = images_of(setting, "test", count)
    pools = REPRESENTATIONS if encoder.cls_token is not None else (MEAN,)
    parts = [_of_inputs(encoder, test, ratios, draws, levelled, len(pools))
             for levelled in INPUTS.values()]
    cka, hits, null, ranks = (np.stack(found) for found in zip(*parts, strict=True))
    records = _records(setting, count, pools, ratios, cka, hits, null, ranks)
    return {**to_value(records), "cka": cka.astype(np.float32), "retrieval": hits,
            "inputs": list(INPUTS), "representations": list(pools), "ratios": list(ratios)}


def _of_inputs(encoder, test: ImageSet, ratios: tuple[float, ...], draws: int, levelled: bool,
               pools: int) -> tuple[np.ndarray, ...]:
    name = "cls+mean" if pools == 2 else "mean"

    def features(visible=None) -> np.ndarray:
        found = block_features(encoder, test, name, visible=visible, levelled=levelled)
        return np.stack([np.split(block, pools, axis=1) for block in found], 1)  # [P, blocks, N, D]

    full, order = features(), np.random.default_rng(0).permutation(len(test))
    cka = np.empty((pools, len(ratios), full.shape[1], draws))
    hits = np.empty((len(ratios), draws))
    for r, ratio in enumerate(ratios):
        for d, shown in enumerate(occlusion_masks(len(test), encoder.grid, ratio, draws)):
            masked = features(shown)
            cka[:, r, :, d] = _pairwise(full, masked)
            hits[r, d] = retrieved(masked[-1, -1], full[-1, -1]).mean()
    return cka, hits, _pairwise(full, full[:, :, order]), [effective_rank(x[-1]) for x in full]


def effective_rank(features: np.ndarray) -> float:
    """exp of the entropy of the normalised singular values of centred features ``[N, D]`` (Roy and
    Vetterli 2007): 1 if they have collapsed to a line, D if they spread evenly."""
    values = np.linalg.svd(features - features.mean(0), compute_uv=False)
    shares = values / max(values.sum(), np.finfo(float).tiny)
    return float(np.exp(-(shares * np.log(np.where(shares > 0, shares, 1))).sum()))


def _pairwise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Unbiased CKA of features ``[pools, blocks, N, D]``: ``[pools, blocks]``."""
    return np.array([[cka_matrix([x, y])[0, 1] for x, y in zip(*pool, strict=True)]
                     for pool in zip(a, b, strict=True)])


def _records(setting: Setting, count: int, pools: tuple[str, ...], ratios: tuple[float, ...],
             cka: np.ndarray, hits: np.ndarray, null: np.ndarray, ranks: np.ndarray
             ) -> list[EvalRecord]:
    def record(protocol: str, metric: str, value: float) -> EvalRecord:
        return EvalRecord(without_seed(setting), setting.seed, setting.dataset, split="test",
                          protocol=protocol, metric=metric, value=float(value), n=count)

    found = []
    for i, inputs in enumerate(INPUTS):
        for p, pool in enumerate(pools):
            protocol, curve = f"occlusion, {pool}, {inputs}", occlusion_summary(cka[i, p], ratios)
            values = {"cka": curve["auc"].mean(), "slope": curve["slope"],
                      NULL: np.abs(null[i, p]).max(), "effective rank": ranks[i, p]}
            values |= {f"cka {r:g}": auc for r, auc in zip(ratios, curve["auc"], strict=True)}
            found += [record(protocol, metric, value) for metric, value in values.items()]
        protocol = f"occlusion, {MEAN}, {inputs}"
        found += [record(protocol, "retrieval", hits[i].mean())]
        found += [record(protocol, f"retrieval {r:g}", value)
                  for r, value in zip(ratios, hits[i].mean(1), strict=True)]
    return found


OCCLUSION = Study("occlusion", _occlusion, ("mae_lib.evaluation.similarity",))
TUNED_OCCLUSION = Study("tuned_occlusion", _after_tuning, (
    "mae_lib.evaluation.similarity", "mae_lib.training.finetune"))
PIXEL_OCCLUSION = Study("pixel_occlusion", _of_pixels, ("mae_lib.evaluation.similarity",),
                        fields=("dataset", "preset"))
