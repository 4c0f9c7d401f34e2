"""Published results computed again, in part or in full, and compared with what is kept."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mae_lib import runs, store, studies
from mae_lib.identification import IDENTIFIABILITY, Trial
from mae_lib.studies import Setting, Study
from mae_lib.theory.identifiability.cases import run
from mae_lib.training.schedule import Recipe
from mae_lib.training.step import adamw, compile_step
from mae_lib.training.stream import Steps

FIRST_STEPS, FIRST_IMAGES = 60, 200
STUDIES = {study.kind: study for study in (*studies.ALL, IDENTIFIABILITY)}
# Of every number of a kind; a whole training, which may end elsewhere on another processor, by the
# mean of its last losses, relatively.
TOLERANCES = {"pretraining": 0.02, "filter_network": 0.02, "losses": 0.02, "reconstruction": 1e-3,
              "floors": 1e-4, "linear_probe": 2e-3, "pixel_probe": 2e-3, "lars_probe": 5e-3,
              "robustness": 2e-3, "shape_bias": 0.01, "attention": 5e-3, "embedding": 0.02,
              "pixel_embedding": 0.02, "latents": 5e-3, "pixel_latents": 5e-3, "locality": 5e-3,
              "cross_cka": 1e-3, "detection": 0.05, "cue_conflict": 0.01, "few_labels": 0.01,
              "finetuning": 0.01, "occlusion": 5e-3, "tuned_occlusion": 0.02,
              "pixel_occlusion": 1e-3, "distances": 5e-3, "from_scratch": 0.01, "targets": 1e-3,
              "motion_probe": 5e-3, "clip_filling": 5e-3, "clip_tuning": 0.01, "propagation": 5e-3,
              "tracking_bounds": 1e-4, "small_objects": 0.02, "partners": 0.05,
              "identifiability": 0.02}
TRAINED = ("pretraining", "filter_network")


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


class Published(NamedTuple):
    """A result as it is kept, and what it takes to compute it again."""

    name: str
    study: Study
    setting: Setting | Trial
    arguments: dict
    result: runs.Result

    @property
    def key(self) -> runs.Key:
        return self.study.key(self.setting, **self.arguments)


def verify(*, full: bool = False, report: Callable[[str], object] = print) -> bool:
    """Check the published results; True if all is well.

    Checksums of all files; then, of one training run and one reconstruction per data set, the
    first losses (relative tolerance .001) and the unmasked read-out of the first images (.001 in
    every metric); the floors (.0001) and an identifiability trial (.02) in full. One line each goes
    to ``report``. A result whose code or data have changed since is not well either. The reader's
    own cache is left alone.

    Args:
        full: compute every result again: trainings from nothing, evaluations from the published
            weights. Tolerances are ``TOLERANCES``. Not all weights are published; evaluations
            whose weights are not are counted and passed over.
    """
    with published_only():
        found, good = read_all(report)
        for kept in found:
            if kept.result.stale:
                report(f"stale  {kept.name}: {'; '.join(kept.result.stale)}")
                good = False
        able = [kept for kept in found if has_weights(kept)]
        for kept, compare in _everything(able) if full else _sample(able):
            good &= _report(kept, compare, report)
        if full and len(able) < len(found):
            report(f"passed over: {len(found) - len(able)} evaluations of networks whose weights "
                   "are not published; `mae-book compute --from-scratch` trains those again")
    return good


def first_losses(setting: Setting, steps: int) -> np.ndarray:
    """The losses of the first steps of a pretraining run, computed from nothing, ``[steps]``."""
    recipe = Recipe(views=setting.views, batch=setting.batch, lr=setting.lr)
    network = studies.network(setting)
    step = compile_step(network, adamw(network, recipe), "eager")
    seen = Steps(studies.images_of(setting, "train", setting.train_images), recipe.batch,
                 setting.seed, studies.masks(setting, network), slice(None))
    return np.array([step(*seen[i], recipe.rate(i)).item()
                     for i in range(min(steps, recipe.steps))])


@contextlib.contextmanager
def published_only() -> Iterator[None]:
    """Find nothing but published results, and leave nothing behind in the cache."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MAE_LIB_CACHE"] = folder
        os.environ.pop("MAE_LIB_FRESH_SINCE", None)
        try:
            yield
        finally:
            for name in ("MAE_LIB_CACHE", "MAE_LIB_FRESH_SINCE"):
                os.environ.pop(name, None)
                if name in before:
                    os.environ[name] = before[name]


def read_all(report) -> tuple[list[Published], bool]:
    """Every published result that is whole, and whether all are."""
    found, sound = [], True
    folder = runs.published_folder()
    files = (file for suffix in (".json", *store.SUFFIXES.values())
             for file in folder.glob(f"*/*{suffix}"))
    for stem in sorted({file.with_suffix("") for file in files}):
        try:
            found.append(_read(stem))
        except (LookupError, ValueError) as error:
            report(f"FAILED {stem.relative_to(folder)}: {error}")
            sound = False
    if not found:
        report(f"FAILED no published results in {folder}")
        return found, False
    report(f"{'ok' if sound else 'FAILED':6} checksums of {len(found)} published results")
    return found, sound


def _read(stem: Path) -> Published:
    """Raises ValueError if a result is damaged, incomplete or not what its name says."""
    stored = store.read(stem)
    if stored is None:
        raise ValueError("its record is missing")
    record = stored[0]
    if record["kind"] not in STUDIES:
        raise ValueError(f"no study is called {record['kind']}")
    described = Trial if record["kind"] == IDENTIFIABILITY.kind else Setting
    fields = described.__dataclass_fields__
    settings = {k: v for k, v in record["settings"].items() if k in fields}
    arguments = {k: v for k, v in record["settings"].items() if k not in fields}
    study = STUDIES[record["kind"]]
    setting = described(**{"seed": record["seed"]} | settings)
    key = study.key(setting, **arguments)
    result = runs.find(key) if key.name == f"{stem.parent.name}/{stem.name}" else None
    if result is None:
        raise ValueError("no study looks for it: name or settings are out of date")
    return Published(key.name, study, setting, arguments, result)


def _report(kept: Published, compare: Callable[[Published], Check], report) -> bool:
    """Whether a comparison holds; one that cannot be made does not."""
    try:
        check = compare(kept)
    except (ArithmeticError, LookupError, OSError, RuntimeError, ValueError) as error:
        report(f"FAILED {kept.name}: could not be computed again ({error})")
        return False
    report(str(check))
    return check.ok


def _sample(found: list[Published]) -> Iterator[tuple[Published, Callable]]:
    """The first of each kind and data set, as far as it can be computed in a minute or two."""
    sampled = {"pretraining": _compare_losses, "reconstruction": _compare_read_out,
               "floors": _compare_all, "identifiability": _compare_trial}
    seen = set()
    for kept in found:
        place = kept.study.kind, getattr(kept.setting, "dataset", None)
        trained = getattr(kept.setting, "views", True)
        if kept.study.kind in sampled and trained and place not in seen:
            seen.add(place)
            yield kept, sampled[kept.study.kind]


def _everything(found: list[Published]) -> Iterator[tuple[Published, Callable]]:
    return ((kept, _compare_trial if kept.study is IDENTIFIABILITY else _compare_all)
            for kept in found)


def _compare_losses(kept: Published) -> Check:
    again = first_losses(kept.setting, FIRST_STEPS)
    losses = kept.result.value["losses"][:FIRST_STEPS]
    return Check(kept.name, f"first {len(again)} losses of {_words(kept)}",
                 float(np.abs(again / losses - 1).max()), 1e-3)


def _compare_read_out(kept: Published) -> Check:
    from mae_lib.evaluation.reconstruction import reconstruct_unmasked
    from mae_lib.evaluation.scores import score

    test = studies.images_of(kept.setting, "test", kept.arguments["test_images"])
    some, network = test.subset(slice(FIRST_IMAGES)), studies.model(kept.setting)
    again = score(some, lambda x: reconstruct_unmasked(network, x))
    items = {r.metric: r.items[:len(some)] for r in studies.records(kept.result)
             if r.protocol == "unmasked" and r.items is not None}
    worst = max(float(np.abs(again[metric] - items[metric]).max()) for metric in items)
    return Check(kept.name, f"unmasked read-out of {len(some)} images, {_words(kept)}", worst, 1e-3)


def _compare_all(kept: Published) -> Check:
    """Every number of a result against a computation of the whole."""
    again = kept.study.compute(kept.setting, "show", **kept.arguments)
    differ = _last_losses if kept.study.kind in TRAINED else _records
    return Check(kept.name, f"everything, {_words(kept)}", differ(again, kept.result.value),
                 TOLERANCES[kept.study.kind])


def _compare_trial(kept: Published) -> Check:
    trial, old = kept.setting, kept.result.value
    again = run(trial.case, trial.seed, trial.steps)
    worst = max(abs(again[score] - old[score]) for score in old)
    return Check(kept.name, f"every score, {trial.case}, seed {trial.seed}", worst,
                 TOLERANCES[kept.study.kind])


def has_weights(kept: Published) -> bool:
    """Whether it can be computed again without training a network first."""
    if kept.study is studies.PRETRAINING or isinstance(kept.setting, Trial):
        return True
    networks = kept.study.networks(kept.setting, **kept.arguments)
    return all(runs.find(studies.PRETRAINING.key(s)) is not None for s in networks)


def _last_losses(again: dict, kept: dict) -> float:
    return abs(float(again["losses"][-200:].mean() / kept["losses"][-200:].mean()) - 1)


def _records(again: dict, kept: dict) -> float:
    """Largest difference of a value; infinite if the two do not measure the same things."""
    names = "protocol", "metric", "split", "seed"
    new, old = ({tuple(r[name] for name in names): r["value"] for r in value["records"]}
                for value in (again, kept))
    if {k for k in new if new[k] is not None} != {k for k in old if old[k] is not None}:
        return float("inf")
    return max(abs(new[k] - old[k]) for k in new if new[k] is not None)


def _words(kept: Published) -> str:
    setting = kept.setting
    if kept.study.fields is not None:
        return setting.dataset
    return f"{setting.dataset}, ratio {setting.ratio:g}, unit {setting.unit}, seed {setting.seed}"
