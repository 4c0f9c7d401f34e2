"""Table 1 of Kong et al., the other five columns: the same probes on shifted test sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from mae_lib.data.files.sets import FileSet
from mae_lib.data.images import ImageSet
from mae_lib.data.official.variants import variant, variant_spec
from mae_lib.data.shifts import FIRST_OF_POOL, SHIFTS, shift_fingerprint, shifted
from mae_lib.evaluation.features import FeatureBank, extract_features
from mae_lib.evaluation.logistic import LinearProbe
from mae_lib.evaluation.probing import evaluate
from mae_lib.evaluation.records import EvalRecord, not_tested, records_of, to_value
from mae_lib.evaluation.robustness import score_variant
from mae_lib.models.convnet import ConvNet
from mae_lib.studies.pretraining import model
from mae_lib.studies.probing import LINEAR_PROBE, POOLS, classifiers
from mae_lib.studies.sets import PRESET, SIZE, existing_root, fingerprint_of_images, images_of
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study, image_fingerprints
from mae_lib.training.finetune import predict_logits
from mae_lib.training.supervised import fit_classifier

# Published sets, the splits that they are of, and what sets further ones of a kind apart.
VARIANT_SPLITS = (("imagenetv2-matched-frequency", "fresh draw", ""),
                  ("imagenetv2-threshold0.7", "fresh draw", "threshold0.7, "),
                  ("imagenetv2-top-images", "fresh draw", "top images, "),
                  ("objectnet", "odd pose", ""), ("imagenet-r", "renditions", ""),
                  ("imagenet-a", "filtered", ""), ("imagenet-sketch", "sketch", ""))
LR, BATCH = 3e-3, 64  # of the network that filters; no value was chosen on what is measured


def _train_filter(setting: Setting, if_stale: str, filter_images: int,
                  filter_epochs: int) -> dict:
    train = images_of(setting, "train", filter_images)
    network = ConvNet(len(train.classes))
    losses = fit_classifier(network, train, epochs=filter_epochs, lr=LR, batch=BATCH)
    weights = {name: tensor.half() for name, tensor in network.state_dict().items()}
    return {"weights": weights, "classes": len(train.classes), "losses": losses}


def filter_network(dataset: str, if_stale: str = "show", **counts: int) -> Callable:
    """The fixed network as a predictor: float32 images ``[B,3,H,W]`` to labels ``[B]``.

    Args:
        counts: ``filter_images`` and ``filter_epochs``.
    """
    found = FILTER_NETWORK(Setting(dataset), if_stale=if_stale, **counts).value
    network = ConvNet(found["classes"]).eval()
    network.load_state_dict({name: tensor.float() for name, tensor in found["weights"].items()})
    return partial(_predict, network)


@torch.no_grad()
def _predict(network: ConvNet, x: Tensor) -> np.ndarray:
    return network(x).argmax(1).numpy()


@lru_cache(maxsize=2 * len(SHIFTS))  # both data sets
def shifted_images(dataset: str, name: str, count: int, if_stale: str = "show",
                   **filter_counts: int) -> ImageSet:
    """A shifted test set of the studies; filtered ones need the network's counts."""
    predict = filter_network(dataset, if_stale, **filter_counts) if name == "filtered" else None
    return shifted(dataset, name, count, predict=predict, size=SIZE, preset=PRESET)


def _robustness(setting: Setting, if_stale: str, probe_images: int, probe_test_images: int,
                test_images: int, filter_images: int, filter_epochs: int) -> dict:
    if setting.dataset == "imagenet":
        return _variants(setting, if_stale, probe_images, probe_test_images)
    encoder = model(setting, if_stale).encoder
    linear = LINEAR_PROBE(setting, if_stale=if_stale, probe_images=probe_images,
                          probe_test_images=probe_test_images).value
    probes = _probes(encoder, images_of(setting, "train", probe_images), linear["C"])
    used = max(setting.train_images, probe_images, filter_images)
    found = []
    for name in SHIFTS:
        if name == "filtered" and setting.dataset == "fashion_mnist" and used > FIRST_OF_POOL:
            found += _pool_was_used(setting, used)
            continue
        test = shifted_images(setting.dataset, name, test_images, if_stale,
                              filter_images=filter_images, filter_epochs=filter_epochs)
        found += _score(encoder, probes, test, name, setting)
    return to_value(found)


def _variants(setting: Setting, if_stale: str, probe_images: int, probe_test_images: int) -> dict:
    """The published test sets, whole, under the names of what stands in for them elsewhere."""
    named = classifiers(setting, if_stale, probe_images, probe_test_images)
    found = []
    for name, split, prefix in VARIANT_SPLITS:
        spec, test = variant_spec(name), variant_of(setting, name)
        targets = spec.targets(test.labels)
        for label, classifier in named.items():
            values = predict_logits(classifier, test)
            rules = {"": spec.default_rule, ", full": "full"}
            for rule_name, rule in rules.items():
                scored = score_variant(values, targets, spec.allowed, rule, groups=spec.groups)
                found.append(_record(scored.correct, f"{prefix}robustness, {label}{rule_name}",
                                     split, setting))
    return to_value(found)


def _record(correct: np.ndarray, protocol: str, split: str, setting: Setting) -> EvalRecord:
    return records_of({"accuracy": correct.astype(np.uint8)}, setting=without_seed(setting),
                      seed=setting.seed, dataset=setting.dataset, split=split,
                      protocol=protocol)[0]


def _probes(encoder, train: ImageSet, chosen: dict[str, float]) -> dict[str, LinearProbe]:
    """The fits of LINEAR_PROBE once more, without its search for ``C``."""
    bank = extract_features(encoder, train, "cls+mean")
    return {pool: LinearProbe(chosen[f"linear probe, {pool}"]).fit(half.X, half.y)
            for pool, half in _halves(bank).items()}


def _halves(bank: FeatureBank) -> dict[str, FeatureBank]:
    """Class token and mean token of features ``"cls+mean"``."""
    width = bank.X.shape[2] // 2
    return {"cls": bank.columns(slice(width)), "mean": bank.columns(slice(width, None))}


def _score(encoder, probes: dict, test: ImageSet, name: str, setting: Setting) -> list[EvalRecord]:
    halves = _halves(extract_features(encoder, test, "cls+mean"))
    made = [evaluate(probes[pool], halves[pool]).record(
        f"robustness, {pool}", setting=without_seed(setting), seed=setting.seed,
        dataset=setting.dataset, split=name) for pool in POOLS]
    return [replace(record, items=record.items.astype(np.uint8)) for record in made]


def _pool_was_used(setting: Setting, used: int) -> list[EvalRecord]:
    reason = (f"the pool begins at training image {FIRST_OF_POOL}, and the first {used} were used "
              f"for training")
    return [not_tested(reason, setting=without_seed(setting), seed=setting.seed,
                       dataset=setting.dataset, split="filtered", protocol=f"robustness, {pool}",
                       metric="accuracy") for pool in POOLS]


def variant_of(setting: Setting, name: str) -> FileSet:
    """A published shifted set, below the folder of the setting's data."""
    return variant(existing_root(setting.root, name), name, size=setting.size)


_fingerprint = lru_cache(maxsize=64)(partial(shift_fingerprint, size=SIZE, preset=PRESET))


def _filter_data(setting: Setting, arguments: dict) -> dict[str, str]:
    return {"filter": fingerprint_of_images(setting, "train", arguments["filter_images"])}


def _data(setting: Setting, arguments: dict) -> dict[str, str]:
    if setting.dataset == "imagenet":
        return image_fingerprints(setting, arguments) | {
            name: variant_of(setting, name).fingerprint for name, *_ in VARIANT_SPLITS}
    shifts = {name: _fingerprint(setting.dataset, name, arguments["test_images"])
              for name in SHIFTS}
    return image_fingerprints(setting, arguments) | _filter_data(setting, arguments) | shifts


FILTER = ("mae_lib.models.convnet", "mae_lib.training.supervised")
FILTER_NETWORK = Study("filter_network", _train_filter, FILTER, fields=("dataset",),
                       data=_filter_data)
ROBUSTNESS = Study("robustness", _robustness, ("mae_lib.evaluation.probing", *FILTER),
                   libraries=("scikit-learn",), data=_data)
