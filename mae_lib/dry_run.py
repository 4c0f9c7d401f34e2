"""What a tier would run, on what, and what that takes on larger machines. Nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn

from mae_lib.data.clip_sets import FRAMES
from mae_lib.data.official.variants import VARIANTS, variant_spec
from mae_lib.evaluation.similarity import occlusion_masks
from mae_lib.models.cost import (
    COPY,
    STATE,
    TRAINED,
    MethodMacs,
    activation_bytes,
    autoencoder_macs,
    counted,
    encoder_macs,
    followers,
    method_macs,
    parameters,
    trained_parameters,
)
from mae_lib.models.family import MAE, method, views
from mae_lib.models.methods import mae
from mae_lib.models.patches import patch_grid
from mae_lib.models.wider import build
from mae_lib.studies import (
    PRETRAINING,
    Plan,
    Setting,
    Study,
    cue_conflict,
    images_of,
    one_each,
    program,
)
from mae_lib.studies.detection import COCO_SIZE, SCENE_SIZE, objects_of
from mae_lib.studies.probing import EPOCHS, KEPT
from mae_lib.studies.robustness import variant_of
from mae_lib.studies.settings import CLIPS, GAMES, SIZES
from mae_lib.studies.similarity import INPUTS

GB = 1e9
DRAWN = ("menagerie", *CLIPS, *GAMES)  # not found anywhere, but made
# What no transformer is run for; the filter is a small convolutional network, and is not counted.
UNCOUNTED = ("losses", "floors", "pixel_probe", "pixel_embedding", "pixel_latents",
             "pixel_occlusion", "targets", "tracking_bounds", "filter_network")


@dataclass(frozen=True)
class Machine:
    """Devices with their peak in bfloat16 (operations a second) and memory in bytes, as their
    makers state them."""

    name: str
    devices: int
    peak: float
    memory: float


# A TPU v3 chip has two cores, 123e12 operations a second and 32 GB.
MACHINES = (Machine("TPU v3-128", 128, 61.5e12, 16e9), Machine("8 H100", 8, 989e12, 80e9),
            Machine("one H200", 1, 989e12, 141e9))
# Of the peak. He et al. (table 2) print 15.4 hours on 128 TPU v3 cores for ViT-L, 800 epochs:
# by the formula below that is .29.
SHARE = 0.3
FORMULA = f"""\
hours   = 2 x MACs x images x passes / (devices x peak x {SHARE:g}) / 3600;
          a training step counts as {TRAINED} forward passes, but as one where no gradient flows
          (a momentum target), one MAC as 2 operations; InfoNCE is counted as among a whole
          batch, but tells apart only the images that one device holds at a time
memory  = {STATE} bytes x parameters + images at a time x kept bytes;
          weights, gradients and AdamW's moments in float32, activations in bfloat16;
          {COPY} bytes a parameter of a momentum target; what contrastive heads keep comes on top;
          of detection the encoder alone: pyramid and heads come on top
peak    = {", ".join(f"{m.name} {m.devices} x {m.peak / 1e12:g}e12/s" for m in MACHINES)}
"""


def report(plan: Plan) -> tuple[str, bool]:
    """All of it as text, and whether everything that the plan needs is there and fits together."""
    found = data(plan)
    absent = [place for place in found if place.problem]
    kinds, measured = networks(plan), work(plan)
    numbers = {"index": False, "float_format": "{:.3g}".format}
    parts = [f"networks to train\n{kinds.to_string(**numbers)}" if len(kinds) else
             "networks to train: none",
             f"measurements\n{measured.to_string(**numbers)}", f"formulas\n{FORMULA}",
             "data\n" + "\n".join(f"{p.name}: {p.problem or p.found}" for p in found)]
    totals = [f"{measured[f'hours, {m.name}'].sum():,.0f} hours on {m.name}" for m in MACHINES]
    parts.append(f"in all: about {', '.join(totals)}, where decoding keeps up"
                 + (f"; {len(absent)} of {len(found)} data sets cannot be used" if absent else ""))
    return "\n\n".join(parts), not absent


class Place(NamedTuple):
    """A set of pictures that is needed: what is there, or what is wrong with it."""

    name: str
    found: str = ""
    problem: str = ""


def data(plan: Plan) -> list[Place]:
    """Every set of pictures that a plan reads; those on disk are listed, none is decoded."""
    asked: dict[str, Callable[[], Sized]] = {}
    for setting in one_each(s for settings in program(plan).values() for s in settings):
        for split, count in (("train", plan.train_images), ("test", plan.probe_test_images)):
            asked[f"{setting.dataset}, {split}"] = (
                partial(range, count) if setting.dataset in DRAWN else  # when needed
                partial(images_of, setting, split, count))
        if setting.dataset == "imagenet":
            asked |= {name: partial(variant_of, setting, name) for name in VARIANTS}
            asked["cue conflict"] = lambda s=setting: cue_conflict.pictures(s).images
            asked |= {f"COCO, {split}": partial(objects_of, setting, split, count) for split, count
                      in (("train", plan.train_scenes), ("test", plan.test_scenes))}
    return [_place(name, find) for name, find in asked.items()]


def _place(name: str, find: Callable[[], Sized]) -> Place:
    try:
        return Place(name, f"{len(find()):,} pictures")
    except (ValueError, OSError, RuntimeError) as error:
        return Place(name, problem=str(error))


def networks(plan: Plan) -> pd.DataFrame:
    """One row a kind of network that is trained: runs, size, what an image takes forward and in a
    step, and for every machine how many images a device sees at a time and the memory that it then
    needs. The ratio is 0 where nothing is hidden."""
    kinds: dict[tuple, list[Setting]] = {}
    for setting in program(plan)[PRETRAINING]:
        _check(setting)
        masked = setting.kind or "mask" in views(_method_name(setting), setting.augment)
        kinds.setdefault((_size(setting), _method_name(setting), setting.vit_patch,
                          setting.ratio if masked else 0.0), []).append(setting)
    return pd.DataFrame([_network(*kind, runs) for kind, runs in kinds.items()])


def _size(setting: Setting) -> str:
    """The preset, and what is not as it has it."""
    own = {name: getattr(setting, name) for name in SIZES if getattr(setting, name) is not None}
    return ", ".join([setting.preset, *(f"{name} {n}" for name, n in own.items())])


def _check(setting: Setting) -> None:
    """Raise ValueError if a network of this kind cannot be built, or its masks cannot be drawn."""
    if setting.kind:
        build(setting.method, "toy", ratio=setting.ratio, sampling=setting.sampling)
        return
    toy = mae("toy", ratio=setting.ratio, unit=setting.unit, target=setting.target,
              size=setting.size, patch=setting.vit_patch, sampling=setting.sampling or "random")
    method(_method_name(setting), toy, augment=setting.augment, classes=2)


def _network(size: str, name: str, patch: int, ratio: float, runs: list[Setting]) -> dict:
    shape, first = runs[0].shape, runs[0]
    macs = _of_an_image(first)
    trained = trained_parameters(_built(first)[0]) if first.kind else parameters(shape, name)
    row = {"network": size, "method": name, "patch": patch, "ratio": ratio, "runs": len(runs),
           "parameters (M)": trained / 1e6,
           "GMACs an image": macs.forward / 1e9, "GMACs in a step": macs.step / 1e9}
    for machine in () if first.kind else MACHINES:  # of clips and games memory is not estimated
        row[machine.name] = memory(machine, shape, first.ratio, first.batch, name, first.augment)
    return row


def memory(machine: Machine, shape: Mapping, ratio: float, batch: int, name: str = MAE,
           augment: str | None = None) -> str:
    """Memory a device, and images at a time: the most that fit and that divide its part."""
    fixed = STATE * parameters(shape, name) + COPY * followers(shape, name)
    each = activation_bytes(shape, ratio, "bfloat16", name, augment)
    part = -(-batch // machine.devices)
    fitting = [n for n in range(1, part + 1)
               if part % n == 0 and fixed + n * each <= machine.memory]
    if not fitting:
        return f"does not fit ({(fixed + each) / GB:.1f} GB for one image)"
    return f"{(fixed + fitting[-1] * each) / GB:.1f} GB, {fitting[-1]} at a time"


def work(plan: Plan) -> pd.DataFrame:
    """One row a kind of measurement: how many there are, of which data sets, and hours on every
    machine; evaluations count what their networks take, not what is done with the outcome."""
    rows = []
    for study, settings in program(plan).items():
        if settings:
            macs = sum(_macs(plan, study, s) for s in settings)
            rows.append({"kind": study.kind, "results": len(settings),
                         "data": ", ".join(dict.fromkeys(s.dataset for s in settings)),
                         "exa-MACs": macs / 1e18,
                         **{f"hours, {m.name}": hours(m, macs) for m in MACHINES}})
    return pd.DataFrame(rows)


def hours(machine: Machine, macs: float) -> float:
    """By the formula."""
    return 2 * macs / (machine.devices * machine.peak * SHARE) / 3600


def _macs(plan: Plan, study: Study, setting: Setting) -> float:
    """Of one result."""
    shape, kind = setting.shape, study.kind
    if kind == "pretraining":
        return setting.views * _of_an_image(setting).step
    if kind == "partners":  # which trains its networks itself
        tested = 2 * plan.world_test_frames * _of_an_image(setting).forward
        return setting.views * _of_an_image(setting).step + tested
    each = (autoencoder_macs(shape, setting.ratio).total if kind in ("reconstruction", "locality")
            else encoder_macs(shape | {"size": _scene(setting)}) if kind == "detection"
            else _of_an_image(setting).forward if kind == "clip_filling"
            else _encoding(setting) if setting.kind
            else encoder_macs(shape))
    occluded = _occluded(plan, shape) if kind in ("occlusion", "tuned_occlusion") else 0
    return _images(plan, setting)[kind] * each + occluded


def _images(plan: Plan, setting: Setting) -> dict[str, float]:
    """Images times forward passes of one result of each kind, but those of occluded images."""
    test, probe = plan.test_images, plan.probe_images + plan.probe_test_images
    epochs = EPOCHS if plan.probe_images > KEPT else 1
    tuning = TRAINED * plan.finetune_epochs * plan.probe_images + plan.probe_test_images
    return dict.fromkeys(UNCOUNTED, 0) | {
        "reconstruction": 5 * test,  # unmasked, two complements, own masks twice
        "linear_probe": epochs * plan.probe_images + plan.probe_test_images,
        "lars_probe": probe, "latents": plan.probe_images + test,
        "robustness": (2 * sum(variant_spec(name).n_expected for name in VARIANTS)
                       if setting.dataset == "imagenet" else plan.probe_images + 5 * test),
        "shape_bias": 14 * plan.conflict_images,
        "cue_conflict": 2 * plan.conflict_images, "attention": test, "embedding": test,
        "locality": (1 + TRAINED) * test,
        "cross_cka": test * (2 + len(plan.ratios) + len(plan.units)),
        "detection": TRAINED * plan.detector_epochs * plan.train_scenes + plan.test_scenes,
        "finetuning": tuning, "tuned_occlusion": tuning, "occlusion": 0,
        "motion_probe": probe, "clip_tuning": (TRAINED * plan.clip_tuning_views
                                               + plan.probe_test_images),
        "propagation": FRAMES * plan.tracked_clips,
        "clip_filling": plan.world_test_frames,  # a clip may begin with almost every one
        "small_objects": plan.world_test_frames,
        "distances": 2 * test, "from_scratch": (TRAINED * plan.scratch_epochs * plan.probe_images
                                                + plan.probe_test_images),
        "few_labels": (TRAINED * plan.few_label_epochs * plan.label_share * plan.probe_images
                       + plan.probe_test_images)}


def _occluded(plan: Plan, shape: Mapping) -> int:
    """MACs of all test images, whole and under every mask."""
    cells = patch_grid(shape["size"], shape["patch"])
    shown = [occlusion_masks(1, cells, ratio, 1).shape[2] for ratio in plan.occlusion_ratios]
    masked = plan.occlusion_draws * sum(encoder_macs(shape, count) for count in shown)
    return len(INPUTS) * plan.test_images * (encoder_macs(shape) + masked)


def _of_an_image(setting: Setting) -> MethodMacs:
    """Of one training image; a classifier's last product, one number a class, is left out."""
    if setting.kind:
        return MethodMacs(counted(*_built(setting)), 0)
    return method_macs(_method_name(setting), setting.shape, setting.ratio,
                       augment=setting.augment, batch=setting.batch)


@lru_cache(maxsize=32)
def _built(setting: Setting) -> tuple[nn.Module, torch.Tensor]:
    """A network of clips or of world models, and something that it can be counted on."""
    made = build(setting.method, setting.preset, ratio=setting.ratio, sampling=setting.sampling,
                 seed=0, **setting.shape)
    return made, torch.zeros(1, *setting.kind.inputs(setting.shape))


def _encoding(setting: Setting) -> int:
    """MACs of an encoder over a whole clip, or over a frame if it takes single ones."""
    made, inputs = _built(setting)
    clips = hasattr(made.encoder, "frames")
    return counted(made.encoder, inputs if clips or inputs.ndim == 4 else inputs[:, :, 0])


def _method_name(setting: Setting) -> str:
    return setting.method or MAE



def _scene(setting: Setting) -> int:
    return SCENE_SIZE if setting.dataset == "menagerie" else COCO_SIZE
