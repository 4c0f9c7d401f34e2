"""A measurement that is looked up before it is made, for one setting or for many."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import pandas as pd
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from mae_lib import runs
from mae_lib.evaluation.records import EvalRecord, frame, from_value
from mae_lib.studies.sets import fingerprint_of_images, training_fingerprint
from mae_lib.studies.settings import Setting
from mae_lib.training.distributed import world

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Files and signals cannot change a value.
NOT_IN_KEY = ("mae_lib.training.checkpoints", "mae_lib.training.interrupts")
SPLITS = {"probe_images": "train", "test_images": "test", "probe_test_images": "test"}


def image_fingerprints(setting: Setting, arguments: dict) -> dict[str, str]:
    """Fingerprints of the images that arguments of these names count."""
    return {name.removesuffix("_images"): fingerprint_of_images(setting, SPLITS[name], count)
            for name, count in arguments.items() if name in SPLITS}


@dataclass(frozen=True)
class Study:
    """A measurement of one setting; call it with the setting.

    Args:
        kind: its name, and that of its folder.
        compute: ``(setting, if_stale, **arguments) -> value``.
        modules: whose source decides whether a stored result is still fresh, with all that they
            import, beside that of the file in which ``compute`` stands.
        libraries: whose version does, besides torch and numpy.
        fields: the fields of a setting that matter; all, and the pretraining code, if None.
        data: fingerprints of the images that it uses, besides those for pretraining.
        compares: the settings of the networks that it looks at; if None the setting itself where
            all its fields matter, else none.
    """

    kind: str
    compute: Callable[..., dict]
    modules: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None
    data: Callable[[Setting, dict], dict[str, str]] = image_fingerprints
    compares: Callable[..., Iterable[Setting]] | None = None

    def networks(self, setting: Setting, **arguments) -> list[Setting]:
        """The trained networks on which a result rests."""
        if self.compares is not None:
            found = self.compares(setting, **arguments)
        else:
            found = [setting] if self.fields is None else []
        return [s for s in found if s.views > 0]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments that a call needs besides the setting."""
        names = tuple(inspect.signature(self.compute).parameters)
        return tuple(name for name in names if name not in ("setting", "if_stale"))

    def key(self, setting: Setting, **arguments) -> runs.Key:
        settings, data = setting.described(), dict(self.data(setting, arguments))
        modules = self.modules
        if setting.checkpoint:
            settings["checkpoint"] = _digest(setting.checkpoint)
        if self.fields is None:
            seed = settings.pop("seed")
            modules += pretraining_modules(setting)
            data["train"] = training_fingerprint(setting)
        else:
            seed, settings = 0, {name: settings[name] for name in self.fields
                                     if name in settings}
        return runs.Key(self.kind, settings | arguments, seed, modules, NOT_IN_KEY,
                        self.libraries, data, own=_own(self.compute))

    def __call__(self, setting: Setting, *, if_stale: str = "show", **arguments) -> runs.Result:
        """The result of a setting; ``if_stale`` as in :func:`mae_lib.runs.find_or_compute`."""
        return runs.find_or_compute(self.key(setting, **arguments),
                                    lambda: self.compute(setting, if_stale, **arguments),
                                    if_stale=if_stale)


def _own(compute: Callable) -> tuple[str, ...]:
    """The module of this package that a measurement stands in; one's own may stand anywhere."""
    name = inspect.getmodule(compute).__name__
    return (name,) if name.startswith("mae_lib.") else ()


@lru_cache(maxsize=8)
def _digest(path: str) -> str:
    """What tells a file of weights from others, wherever it lies."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def pretraining_modules(setting: Setting) -> tuple[str, ...]:
    """The code that a pretraining run rests on."""
    margin = ("mae_lib.models.margins",) if setting.margin else ()
    guided = ("mae_lib.models.guided_masks", "mae_lib.data.groups") if setting.policy else ()
    if setting.kind:
        return ("mae_lib.training.pretrain", setting.kind.build.__module__)
    other = ("mae_lib.models.family",) if setting.method or setting.augment else ()
    few = ("mae_lib.data.subsets",) if setting.chosen else ()
    return ("mae_lib.training.pretrain", *margin, *guided, *other, *few)


class Sweep(NamedTuple):
    """One study over many settings."""

    settings: list[Setting]
    results: list[runs.Result]

    def of(self, settings: Iterable[Setting]) -> Sweep:
        """The part of it that is about these settings, in their order; others are passed over."""
        found = dict(zip(self.settings, self.results, strict=True))
        chosen = [setting for setting in settings if setting in found]
        return Sweep(chosen, [found[setting] for setting in chosen])

    @property
    def records(self) -> list[EvalRecord]:
        return [record for result in self.results for record in records(result)]

    @property
    def frame(self) -> pd.DataFrame:
        """One row a record; see :func:`mae_lib.evaluation.records.frame`."""
        return frame(self.records)

    @property
    def stale(self) -> list[str]:
        """Why some of it is out of date, each reason once."""
        return sorted({reason for result in self.results for reason in result.stale})


def records(result: runs.Result) -> list[EvalRecord]:
    """The records of an evaluation, with their items."""
    return from_value(result.value)


def sweep(study: Study, settings: Iterable[Setting], *, workers: int = 1, if_stale: str = "show",
          **arguments) -> Sweep:
    """Run ``study`` for every setting; what is missing is computed by ``workers`` processes.

    Each process computes on one thread: on a CPU two such processes get more done than one with
    two threads, and the numbers do not depend on how many there are. A single worker is this
    process itself, which saves the start of another. The processes of a job (torchrun) compute one
    setting after the other, each together.
    """
    settings, here = list(settings), world()
    missing = [s for s in settings if here.size > 1  # then all ask for the same, in the same order
               or not runs.find(study.key(s, **arguments), if_stale=if_stale)]
    job = partial(study, if_stale=if_stale, **arguments)
    if missing:
        done = _done(job, missing, workers)
        for _ in tqdm(done, total=len(missing), desc=study.kind, unit="run",
                      disable=not here.first):
            pass
    return Sweep(settings, [job(setting) for setting in settings])


def _done(job: Callable, settings: list[Setting], workers: int) -> Iterator[runs.Result]:
    if world().size > 1:
        return map(job, settings)
    return _in_turn(job, settings) if workers == 1 else _by_processes(job, settings, workers)


def _in_turn(job: Callable, settings: list[Setting]) -> Iterator[runs.Result]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):  # of BLAS and OpenMP
            yield from map(job, settings)
    finally:
        torch.set_num_threads(threads)


def _by_processes(job: Callable, settings: list[Setting], workers: int) -> Iterator[runs.Result]:
    context = multiprocessing.get_context("spawn")
    with _one_thread_each(), ProcessPoolExecutor(workers, context, _start_worker) as pool:
        for done in as_completed([pool.submit(job, setting) for setting in settings]):
            yield done.result()


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started now use one thread in each of their libraries.

    Otherwise BLAS and OpenMP of two workers wait for each other's cores, ten times as long.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker() -> None:
    """One thread for the numbers, one that ends this process when its parent is gone."""
    torch.set_num_threads(1)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
