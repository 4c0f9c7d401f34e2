"""Table 1 of Kong et al., first column: what simple classifiers read from frozen features.

Up to ``KEPT`` images the features are computed once and kept, and classifiers are fitted until they
converge. Of more, He et al.'s own protocol sees new random views in every epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from mae_lib import runs
from mae_lib.data.files.transforms import probing_view
from mae_lib.data.protocols import Images
from mae_lib.evaluation.features import FeatureBank, extract_features, raw_pixels
from mae_lib.evaluation.lars import new_head
from mae_lib.evaluation.probing import ProbeResult, knn_probe, linear_probe
from mae_lib.evaluation.records import records_of, to_value
from mae_lib.evaluation.streamed_probe import Probed, fit_heads
from mae_lib.models.classifier import Classifier
from mae_lib.studies.machine import decoders, device
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import images_of, in_memory
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study
from mae_lib.training.finetune import predict_logits

PIXEL_C = 0.01  # what a held-out tenth of 40,000 images chose on Fashion-MNIST
POOLS = ("cls", "mean")
KEPT = 200_000  # images whose features are kept
EPOCHS, WARMUP, BATCH = 90, 10, 16384  # of He et al.'s protocol
LARS = {"method": "lars", "batch": 64, "base_lr": 25.6}  # a rate of 6.4 at its peak, as He et al.


def banks(setting: Setting, if_stale: str, probe_images: int,
          probe_test_images: int) -> dict[str, tuple[FeatureBank, FeatureBank]]:
    """Features for training and testing a probe, of the class token and of the mean token."""
    encoder = model(setting, if_stale).encoder.to(device())
    train, test = (pooled(encoder, images_of(setting, split, count))
                   for split, count in (("train", probe_images), ("test", probe_test_images)))
    return {pool: (train[pool], test[pool]) for pool in train}


def pooled(encoder, images: Images) -> dict[str, FeatureBank]:
    """Features by pool, of the class token only if the encoder has one."""
    if encoder.cls_token is None:
        return {"mean": extract_features(encoder, images, "mean")}
    both, width = extract_features(encoder, images, "cls+mean"), encoder.width
    return {"cls": both.columns(slice(width)), "mean": both.columns(slice(width, None))}


def _probe(setting: Setting, if_stale: str, probe_images: int, probe_test_images: int) -> dict:
    if isinstance(model(setting, if_stale), Classifier):
        return _classify(setting, if_stale, probe_test_images)
    if probe_images > KEPT:
        return _probe_in_views(setting, if_stale, probe_images, probe_test_images)
    found = banks(setting, if_stale, probe_images, probe_test_images)
    linear = {f"linear probe, {pool}": linear_probe(*banks) for pool, banks in found.items()}
    near = {f"{k} nearest, {pool}": result for pool, banks in found.items()
            for k, result in knn_probe(*banks).items()}
    return _packed(linear, near, without_seed(setting), setting)


def _classify(setting: Setting, if_stale: str, probe_test_images: int) -> dict:
    """A checkpoint that names classes itself needs no probe."""
    test = images_of(setting, "test", probe_test_images)
    right = predict_logits(model(setting, if_stale), test).argmax(1) == test.labels
    return to_value(records_of({"accuracy": right.astype(np.uint8)}, setting=without_seed(setting),
                               seed=setting.seed, dataset=setting.dataset, split="test",
                               protocol="classifier"))


def _probe_in_views(setting: Setting, if_stale: str, probe_images: int,
                    probe_test_images: int) -> dict:
    """Random views of all images in every epoch; the heads are kept, for shifted test sets."""
    train, test = (images_of(setting, split, count) for split, count in
                   (("train", probe_images), ("test", probe_test_images)))
    train = replace(train, view=probing_view(setting.size))
    encoder = model(setting, if_stale).encoder.to(device())
    folder = runs.cache_folder() / "checkpoints" / LINEAR_PROBE.key(
        setting, probe_images=probe_images, probe_test_images=probe_test_images).name
    heads = fit_heads(encoder, train, epochs=EPOCHS, warmup=WARMUP, batch=BATCH, seed=setting.seed,
                      workers=decoders(), checkpoint=folder)
    common = {"setting": without_seed(setting), "seed": setting.seed, "dataset": setting.dataset,
              "split": "test"}
    right = {pool: predict_logits(Probed(encoder, head, pool), test).argmax(1) == test.labels
             for pool, head in heads.items()}
    found = [record for pool, items in right.items()
             for record in records_of({"accuracy": items.astype(np.uint8)}, **common,
                                      protocol=f"linear probe, {pool}")]
    return to_value(found) | {"weights": {f"{pool}.{name}": tensor for pool, head in heads.items()
                                          for name, tensor in head.state_dict().items()}}


def heads_of(value: Mapping, width: int) -> dict[str, nn.Sequential]:
    """The classifiers on class token and mean token that a result of ``LINEAR_PROBE`` has kept.
    """
    found = {}
    for pool in POOLS:
        own = {name.removeprefix(f"{pool}."): tensor for name, tensor in value["weights"].items()
               if name.startswith(f"{pool}.")}
        found[pool] = new_head(width, len(own["1.bias"]), torch.Generator()).eval()
        found[pool].load_state_dict(own)
    return found


def classifiers(setting: Setting, if_stale: str, probe_images: int, probe_test_images: int
                ) -> dict[str, nn.Module]:
    """What gives logits ``[B, K]`` of images ``[B,3,H,W]``, by name: the probes ``"cls"`` and
    ``"mean"``, or the ``"classifier"`` that the setting's checkpoint is."""
    trained = model(setting, if_stale)
    if isinstance(trained, Classifier):
        return {"classifier": trained}
    value = LINEAR_PROBE(setting, if_stale=if_stale, probe_images=probe_images,
                         probe_test_images=probe_test_images).value
    return {pool: Probed(trained.encoder, head, pool)
            for pool, head in heads_of(value, trained.encoder.width).items()}


def _probe_pixels(setting: Setting, if_stale: str, probe_images: int,
                  probe_test_images: int) -> dict:
    """All pixels are thousands of inputs: one strength of the penalty, else it takes hours."""
    sets = [in_memory(images_of(setting, split, count)) for split, count in
            (("train", probe_images), ("test", probe_test_images))]
    patch = setting.vit_patch
    pixels, patches = map(raw_pixels, sets), (raw_pixels(s, patch=patch) for s in sets)
    linear = {"linear probe, pixels": linear_probe(*pixels, C=PIXEL_C),
              "linear probe, mean patch": linear_probe(*patches)}
    return _packed(linear, {}, {"dataset": setting.dataset}, setting)


def _probe_by_lars(setting: Setting, if_stale: str, probe_images: int,
                   probe_test_images: int) -> dict:
    """The optimiser of He et al. on the same features, without augmentation."""
    found = banks(setting, if_stale, probe_images, probe_test_images)
    results = {f"LARS probe, {pool}": linear_probe(*banks, **LARS)
               for pool, banks in found.items()}
    return to_value([result.record(name, setting=without_seed(setting), seed=setting.seed,
                                   dataset=setting.dataset, split="test")
                     for name, result in results.items()])


def _packed(linear: dict[str, ProbeResult], near: dict[str, ProbeResult], described: dict,
            setting: Setting) -> dict:
    seed = setting.seed if "ratio" in described else 0
    found = [result.record(name, setting=described, seed=seed, dataset=setting.dataset,
                           split="test") for name, result in (linear | near).items()]
    return {**to_value(found), "C": {n: r.probe.C_ for n, r in linear.items()},
            "converged": {n: r.probe.converged_ for n, r in linear.items()}}


LINEAR_PROBE = Study("linear_probe", _probe, ("mae_lib.evaluation.probing",),
                     libraries=("scikit-learn",))
PIXEL_PROBE = Study("pixel_probe", _probe_pixels, ("mae_lib.evaluation.probing",),
                    libraries=("scikit-learn",), fields=("dataset", "preset"))
LARS_PROBE = Study("lars_probe", _probe_by_lars, ("mae_lib.evaluation.probing",),
                   libraries=("timm",))
