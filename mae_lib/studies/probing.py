"""Table 1 of Kong et al., first column: what simple classifiers read from frozen features."""

from __future__ import annotations

from mae_lib.evaluation.features import FeatureBank, extract_features, raw_pixels
from mae_lib.evaluation.probing import ProbeResult, knn_probe, linear_probe
from mae_lib.evaluation.records import to_value
from mae_lib.models.methods import PRESETS
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import images
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study

PIXEL_C = 0.01  # what a held-out tenth of 40,000 images chose on Fashion-MNIST
POOLS = ("cls", "mean")
LARS = {"method": "lars", "batch": 64, "base_lr": 25.6}  # a rate of 6.4 at its peak, as He et al.


def banks(setting: Setting, if_stale: str, probe_images: int,
          probe_test_images: int) -> dict[str, tuple[FeatureBank, FeatureBank]]:
    """Features for training and testing a probe, of the class token and of the mean token."""
    encoder = model(setting, if_stale).encoder
    both = [extract_features(encoder, images(setting.dataset, split, count), "cls+mean")
            for split, count in (("train", probe_images), ("test", probe_test_images))]
    halves = {"cls": slice(encoder.width), "mean": slice(encoder.width, None)}
    return {pool: tuple(bank.columns(halves[pool]) for bank in both) for pool in POOLS}


def _probe(setting: Setting, if_stale: str, probe_images: int, probe_test_images: int) -> dict:
    found = banks(setting, if_stale, probe_images, probe_test_images)
    linear = {f"linear probe, {pool}": linear_probe(*found[pool]) for pool in POOLS}
    near = {f"{k} nearest, {pool}": result for pool in POOLS
            for k, result in knn_probe(*found[pool]).items()}
    return _packed(linear, near, without_seed(setting), setting)


def _probe_pixels(setting: Setting, if_stale: str, probe_images: int,
                  probe_test_images: int) -> dict:
    """All pixels are thousands of inputs: one strength of the penalty, else it takes hours."""
    sets = [images(setting.dataset, split, count) for split, count in
            (("train", probe_images), ("test", probe_test_images))]
    patch = PRESETS[setting.preset]["patch"]
    pixels, patches = map(raw_pixels, sets), (raw_pixels(s, patch=patch) for s in sets)
    linear = {"linear probe, pixels": linear_probe(*pixels, C=PIXEL_C),
              "linear probe, mean patch": linear_probe(*patches)}
    return _packed(linear, {}, {"dataset": setting.dataset}, setting)


def _probe_by_lars(setting: Setting, if_stale: str, probe_images: int,
                   probe_test_images: int) -> dict:
    """The optimiser of He et al. on the same features, without augmentation."""
    found = banks(setting, if_stale, probe_images, probe_test_images)
    results = {f"LARS probe, {pool}": linear_probe(*found[pool], **LARS) for pool in POOLS}
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
