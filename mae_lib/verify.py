"""Published results computed again, in part or in full, and compared with what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mae_lib import runs, store, studies
from mae_lib.data.images import ImageSet
from mae_lib.studies import Setting, Study
from mae_lib.training.pretrain import batch_index, mask_generator
from mae_lib.training.schedule import Recipe
from mae_lib.training.step import adamw, compile_step

FIRST_STEPS, FIRST_IMAGES = 60, 200
STUDIES = {study.kind: study for study in (studies.PRETRAINING, studies.RECONSTRUCTION,
                                           studies.FLOORS, studies.LINEAR_PROBE,
                                           studies.PIXEL_PROBE)}


class Check(NamedTuple):
    """One comparison: ``difference`` must not exceed ``tolerance``."""

    name: str
    what: str
    difference: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        mark = "ok" if self.ok else "FAILED"
        return (f"{mark:6} {self.name}: {self.what}, largest difference {self.difference:.2g} "
                f"(tolerance {self.tolerance:g})")


def verify(*, full: bool = False, report: Callable[[str], object] = print) -> bool:
    """Check the published results; True if all is well.

    Checksums of all files; then, of one training run and one reconstruction per data set, the
    first losses (relative tolerance .001) and the unmasked read-out of the first images (.001 in
    every metric); and the floors in full (.001). One line each goes to ``report``.

    Args:
        full: compute every result again from nothing. On another processor a whole training may
            end elsewhere within .02, which is the tolerance.
    """
    found, sound = _records(report)
    stale = [name for name, key, _ in found if runs.find(key).stale]
    for name in stale:
        report(f"stale  {name}: its code or data have changed since; see the chapter's badge")
    good = sound
    for check in _full(found) if full else _sample(found):
        report(str(check))
        good &= check.ok
    return good and not stale


def first_losses(setting: Setting, steps: int) -> np.ndarray:
    """The losses of the first steps of a pretraining run, computed from nothing, ``[steps]``."""
    recipe = Recipe(views=setting.views, batch=setting.batch, lr=setting.lr)
    images = studies.images(setting.dataset, "train", setting.train_images)
    network = studies.network(setting)
    step = compile_step(network, adamw(network, recipe), "eager")
    return np.array([_loss(step, network, images, recipe, setting.seed, i)
                     for i in range(min(steps, recipe.steps))])


def _loss(step, network, images: ImageSet, recipe: Recipe, seed: int, i: int) -> float:
    batch = images.batch(batch_index(len(images), recipe.batch, seed, i))
    mask = network.sample_mask(recipe.batch, mask_generator(seed, i))
    return step(batch, mask, recipe.rate(i)).item()


def _records(report) -> tuple[list[tuple[str, runs.Key, Setting]], bool]:
    """Name, key and setting of every published result that is whole, and whether all are."""
    found, sound = [], True
    for file in sorted(runs.published_folder().glob("*/*.json")):
        name = f"{file.parent.name}/{file.stem}"
        try:
            record, _, _ = store.read(file.with_suffix(""))
        except store.Damaged as error:
            report(f"FAILED {name}: {error}")
            sound = False
            continue
        study, setting, arguments = _setting(record)
        found.append((name, study.key(setting, **arguments), setting))
    report(f"{'ok' if sound else 'FAILED':6} checksums of {len(found)} published results")
    return found, sound


def _setting(record: dict) -> tuple[Study, Setting, dict]:
    fields = Setting.__dataclass_fields__
    settings = {k: v for k, v in record["settings"].items() if k in fields}
    arguments = {k: v for k, v in record["settings"].items() if k not in fields}
    return STUDIES[record["kind"]], Setting(**settings, seed=record["seed"]), arguments


def _sample(found) -> Iterator[Check]:
    """The first of each kind and data set, as far as it can be computed in a minute or two."""
    seen = set()
    for name, key, setting in found:
        if (key.kind, setting.dataset) in seen or key.kind not in _SAMPLED or setting.views == 0:
            continue
        seen.add((key.kind, setting.dataset))
        yield _SAMPLED[key.kind](name, key, setting)


def _check_losses(name: str, key: runs.Key, setting: Setting) -> Check:
    kept = runs.find(key).value["losses"][:FIRST_STEPS]
    again = first_losses(setting, FIRST_STEPS)
    return Check(name, f"first {len(again)} losses of {setting.dataset}, ratio {setting.ratio}",
                 float(np.abs(again / kept - 1).max()), 1e-3)


def _check_read_out(name: str, key: runs.Key, setting: Setting) -> Check:
    from mae_lib.evaluation.reconstruction import reconstruct_unmasked
    from mae_lib.evaluation.scores import score

    count = min(FIRST_IMAGES, key.settings["test_images"])
    images = studies.images(setting.dataset, "test", key.settings["test_images"])
    network = studies.model(setting)
    again = score(images.subset(slice(count)), lambda x: reconstruct_unmasked(network, x))
    kept = {r.metric: r.items[:count] for r in studies.records(runs.find(key))
            if r.protocol == "unmasked" and r.items is not None}
    worst = max(np.abs(again[metric] - kept[metric]).max() for metric in kept)
    return Check(name, f"unmasked read-out of {count} images of {setting.dataset}",
                 float(worst), 1e-3)


def _check_floors(name: str, key: runs.Key, setting: Setting) -> Check:
    return Check(name, f"floors of {setting.dataset}", _again(key, setting), 1e-3)


def _again(key: runs.Key, setting: Setting) -> float:
    """Largest difference between the kept numbers and those computed from nothing."""
    arguments = {k: v for k, v in key.settings.items() if k not in Setting.__dataclass_fields__}
    kept = runs.find(key).value
    again = STUDIES[key.kind].compute(setting, "show", **arguments)
    if key.kind == "pretraining":
        return float(np.abs(again["losses"][-200:].mean() / kept["losses"][-200:].mean() - 1))
    pairs = zip(again["records"], kept["records"], strict=True)
    return max(abs(a["value"] - b["value"]) for a, b in pairs)


def _full(found) -> Iterator[Check]:
    torch.set_num_threads(1)
    for name, key, setting in found:
        if key.kind == "pretraining":
            _forget_checkpoints(key)
        yield Check(name, f"everything, {setting.dataset}", _again(key, setting), 0.02)


def _forget_checkpoints(key: runs.Key) -> None:
    """Else the run would go on from its end."""
    for file in Path(runs.cache_folder() / "checkpoints" / key.name).glob("step-*.json"):
        file.unlink()


_SAMPLED = {"pretraining": _check_losses, "reconstruction": _check_read_out,
            "floors": _check_floors}
