"""One object a measurement: a setting goes in, a result that is found or computed comes out.

This is what a chapter calls. A study ties data, model, training and evaluation together and keeps
what it finds in :mod:`mae_lib.runs`; the rooms below know nothing of each other's results.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from typing import NamedTuple

import pandas as pd
import torch
from tqdm import tqdm

from mae_lib import runs
from mae_lib.data.fashion_mnist import fashion_mnist, fingerprint_of
from mae_lib.data.images import ImageSet
from mae_lib.data.menagerie import identify, menagerie
from mae_lib.evaluation.records import EvalRecord, frame, from_value, to_value
from mae_lib.models.methods import PRESETS, MaskedAutoencoder, mae
from mae_lib.models.weights import own_names, published_names
from mae_lib.training.pretrain import pretrain
from mae_lib.training.schedule import Recipe

DATASETS = ("menagerie", "fashion_mnist")
SIZE = 32  # pixels, of both data sets
PRESET = "medium32"  # of the procedural set: raw pixels alone do not solve its probe
PIXEL_C = 0.01  # what a held-out tenth of 40,000 images chose on Fashion-MNIST
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Files and signals cannot change a value.
NOT_IN_KEY = ("mae_lib.training.checkpoints", "mae_lib.training.interrupts")


@dataclass(frozen=True)
class Setting:
    """What determines one pretraining run.

    Args:
        dataset: ``"menagerie"`` or ``"fashion_mnist"``.
        ratio: share of hidden patches.
        unit: side of a masking unit in pixels, a multiple of the ViT patch.
        target: ``"pixel"`` or ``"normalised"``.
        seed: of the weights, the order of the images and the masks.
        preset: model, see :data:`mae_lib.models.methods.PRESETS`.
        views: training images seen, repetitions counted; 0 keeps the initial weights.
        train_images: how many different ones there are.
    """

    dataset: str = "menagerie"
    ratio: float = 0.75
    unit: int = 4
    target: str = "pixel"
    seed: int = 0
    preset: str = "laptop"
    views: int = 300_000
    batch: int = 32
    lr: float = 1.5e-3
    train_images: int = 40_000

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise ValueError(f"dataset must be one of {', '.join(DATASETS)}, got {self.dataset!r}")


def grid(datasets: Iterable[str], ratios: Iterable[float], units: Iterable[int],
         seeds: Iterable[int], *, unit_ratio: float, **common) -> list[Setting]:
    """The two series of Kong et al.: ratios at the smallest unit, and units at ``unit_ratio``."""
    units = sorted(units)
    pairs = [(r, units[0]) for r in ratios] + [(unit_ratio, u) for u in units]
    return [Setting(dataset=d, ratio=r, unit=u, seed=s, **common)
            for d, (r, u), s in itertools.product(datasets, dict.fromkeys(pairs), seeds)]


def one_each(settings: Iterable[Setting]) -> list[Setting]:
    """The first setting of each data set, for studies that depend on little else."""
    return list({setting.dataset: setting for setting in reversed(list(settings))}.values())[::-1]


def untrained(settings: Iterable[Setting]) -> list[Setting]:
    """The control of each data set that keeps its initial weights."""
    return [replace(setting, views=0) for setting in one_each(settings)]


@lru_cache(maxsize=4)
def images(dataset: str, split: str, count: int) -> ImageSet:
    """``count`` images of the split ``"train"`` or ``"test"``."""
    if dataset == "menagerie":
        return menagerie(split, count, size=SIZE, preset=PRESET)
    return fashion_mnist(split, count)


@lru_cache(maxsize=16)
def data_fingerprint(dataset: str, split: str, count: int) -> str:
    """What :func:`images` would carry as its fingerprint, without loading or drawing them all."""
    if dataset == "menagerie":
        return identify(split, count, SIZE, PRESET)
    return fingerprint_of(split, count)


@dataclass(frozen=True)
class Study:
    """A measurement that is looked up before it is made; call it with a setting.

    Args:
        kind: its name, and that of its folder.
        compute: ``(setting, if_stale, **arguments) -> value``.
        modules: whose source decides whether a stored result is still fresh.
        libraries: whose version does, besides torch and numpy.
        fields: the fields of a setting that matter; all, and the pretraining code, if None.
    """

    kind: str
    compute: Callable[..., dict]
    modules: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None

    def key(self, setting: Setting, **arguments) -> runs.Key:
        settings = asdict(setting)
        seed = settings.pop("seed") if self.fields is None else 0
        if self.fields is not None:
            settings = {name: settings[name] for name in self.fields}
        pretraining = ("mae_lib.training.pretrain",) if self.fields is None else ()
        counts = {"train": settings.get("train_images"), "probe": arguments.get("probe_images"),
                  "test": arguments.get("test_images")}
        data = {use: data_fingerprint(setting.dataset, "test" if use == "test" else "train", count)
                for use, count in counts.items() if count}
        return runs.Key(self.kind, settings | arguments, seed, self.modules + pretraining,
                        NOT_IN_KEY, self.libraries, data)

    def __call__(self, setting: Setting, *, if_stale: str = "show", **arguments) -> runs.Result:
        """The result of a setting; ``if_stale`` as in :func:`mae_lib.runs.find_or_compute`."""
        return runs.find_or_compute(self.key(setting, **arguments),
                                    lambda: self.compute(setting, if_stale, **arguments),
                                    if_stale=if_stale)


def model(setting: Setting, if_stale: str = "show") -> MaskedAutoencoder:
    """The pretrained model of a setting, or its initial weights if ``views`` is 0."""
    if setting.views == 0:
        return network(setting).eval()
    run = PRETRAINING(setting, if_stale=if_stale).value
    trained = mae(**run["config"])
    weights = own_names({name: tensor.float() for name, tensor in run["weights"].items()})
    trained.load_state_dict(trained.state_dict() | weights)  # fixed positions are not kept
    return trained.eval()


class Sweep(NamedTuple):
    """One study over many settings."""

    settings: list[Setting]
    results: list[runs.Result]

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


def sweep(study: Study, settings: Iterable[Setting], *, workers: int = 1, if_stale: str = "show",
          **arguments) -> Sweep:
    """Run ``study`` for every setting; what is missing is computed by ``workers`` processes.

    Each process computes on one thread: on a CPU two such processes get more done than one with
    two threads, and the numbers do not depend on how many there are.
    """
    settings = list(settings)
    missing = [s for s in settings if not runs.find(study.key(s, **arguments), if_stale=if_stale)]
    job = partial(study, if_stale=if_stale, **arguments)
    context = multiprocessing.get_context("spawn")
    if missing:
        with _one_thread_each(), ProcessPoolExecutor(workers, context, _start_worker) as pool:
            jobs = [pool.submit(job, setting) for setting in missing]
            for done in tqdm(as_completed(jobs), total=len(jobs), desc=study.kind, unit="run"):
                done.result()
    return Sweep(settings, [job(setting) for setting in settings])


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


def records(result: runs.Result) -> list[EvalRecord]:
    """The records of an evaluation, with their items."""
    return from_value(result.value)


def network(setting: Setting) -> MaskedAutoencoder:
    """The model of a setting with its initial weights."""
    mean, std = images(setting.dataset, "train", setting.train_images).standardisation()
    return mae(setting.preset, ratio=setting.ratio, unit=setting.unit, target=setting.target,
               size=SIZE, mean=mean, std=std, seed=setting.seed)


def _pretrain(setting: Setting, if_stale: str) -> dict:
    started = network(setting)
    recipe = Recipe(views=setting.views, batch=setting.batch, lr=setting.lr)
    since = os.environ.get("MAE_LIB_FRESH_SINCE", "")  # older checkpoints do not count then
    folder = runs.cache_folder() / "checkpoints" / since / PRETRAINING.key(setting).name
    history = pretrain(started, images(setting.dataset, "train", setting.train_images), recipe,
                       seed=setting.seed, device=_device(), checkpoint=folder)
    weights = {name: tensor.half() for name, tensor in published_names(started).items()
               if not name.endswith("pos_embed")}
    return {"weights": weights, "losses": history.losses, "config": started.config,
            "images_per_second": history.images_per_second}


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _reconstruct(setting: Setting, if_stale: str, test_images: int, shown: int) -> dict:
    from mae_lib.evaluation.reconstruction import reconstruct_unmasked
    from mae_lib.evaluation.scores import reconstruction_records

    trained, test = model(setting, if_stale), images(setting.dataset, "test", test_images)
    found = reconstruction_records(trained, test, setting=_without_seed(setting),
                                   seed=setting.seed, split="test")
    read_outs = reconstruct_unmasked(trained, test.batch(slice(shown))).pixels
    return {**to_value(found), "originals": test.images[:shown],
            "read_outs": (read_outs * 255 + 0.5).byte().numpy()}


def _floors(setting: Setting, if_stale: str, test_images: int) -> dict:
    from mae_lib.evaluation.scores import floor_records

    test = images(setting.dataset, "test", test_images)
    return to_value(floor_records(test, split="test", patches=(4, 8, 16)))


def _probe(setting: Setting, if_stale: str, probe_images: int, test_images: int) -> dict:
    from mae_lib.evaluation.features import extract_features
    from mae_lib.evaluation.probing import linear_probe

    encoder = model(setting, if_stale).encoder
    banks = [extract_features(encoder, images(setting.dataset, split, count), "cls+mean")
             for split, count in (("train", probe_images), ("test", test_images))]
    halves = {"cls": slice(encoder.width), "mean": slice(encoder.width, None)}
    results = {pool: linear_probe(*(bank.columns(half) for bank in banks))
               for pool, half in halves.items()}
    return _packed_probes(results, setting, _without_seed(setting), setting.seed)


def _probe_pixels(setting: Setting, if_stale: str, probe_images: int, test_images: int) -> dict:
    """All pixels are thousands of inputs: one strength of the penalty, else it takes hours."""
    from mae_lib.evaluation.features import raw_pixels
    from mae_lib.evaluation.probing import linear_probe

    sets = [images(setting.dataset, split, count) for split, count in
            (("train", probe_images), ("test", test_images))]
    patch = PRESETS[setting.preset]["patch"]
    results = {"pixels": linear_probe(*map(raw_pixels, sets), C=PIXEL_C),
               "mean patch": linear_probe(*(raw_pixels(s, patch=patch) for s in sets))}
    return _packed_probes(results, setting, {"dataset": setting.dataset}, 0)


def _packed_probes(results: dict, setting: Setting, described: dict, seed: int) -> dict:
    found = [result.record(f"linear probe, {name}", setting=described, seed=seed,
                           dataset=setting.dataset, split="test")
             for name, result in results.items()]
    return {**to_value(found), "C": {n: r.probe.C_ for n, r in results.items()},
            "converged": {n: r.probe.converged_ for n, r in results.items()}}


def _without_seed(setting: Setting) -> dict:
    return {name: value for name, value in asdict(setting).items() if name != "seed"}


PRETRAINING = Study("pretraining", _pretrain, ())
RECONSTRUCTION = Study("reconstruction", _reconstruct, ("mae_lib.evaluation.scores",),
                       libraries=("piq",))
FLOORS = Study("floors", _floors, ("mae_lib.evaluation.scores",), libraries=("piq",),
               fields=("dataset",))
LINEAR_PROBE = Study("linear_probe", _probe, ("mae_lib.evaluation.probing",),
                     libraries=("scikit-learn",))
PIXEL_PROBE = Study("pixel_probe", _probe_pixels, ("mae_lib.evaluation.probing",),
                    libraries=("scikit-learn",), fields=("dataset", "preset"))
