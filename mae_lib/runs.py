"""Results that are found or computed, each under a key of everything that determines it.

A result's *identity* (kind, settings, seed) names its file. Its *freshness* (the source of the
modules that computed it, the library versions that matter) is kept inside: a result whose code has
changed since is still found, and says that it is stale and why.

Looked up in this order: the published results of the checkout (``book/published``, committed), then
the reader's cache. Environment: ``MAE_LIB_PUBLISHED`` and ``MAE_LIB_CACHE`` name other folders,
``MAE_LIB_FRESH_SINCE=<seconds since 1970>`` ignores everything that was computed before.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from mae_lib import __version__, store
from mae_lib.sources import import_closure

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("torch", "numpy")  # of these, the first two numbers count for every result
PUBLISHED_LIMIT = 80 * 2**20  # bytes: seeds of all methods, clips and games beside the paper's
_read: set[Path] = set()


@dataclass(frozen=True)
class Key:
    """What determines a result.

    Args:
        kind: the measurement, a folder name: ``"pretraining"``.
        settings: JSON-able; numbers that are equal count as equal (1 and 1.0).
        seed: of the run.
        modules: dotted names; what they import from ``mae_lib`` counts, too.
        ignore: modules that cannot change a value (progress, files), left out of the freshness.
        libraries: distributions whose version matters, besides torch and numpy.
        data: fingerprint of each image set by name; part of the freshness.
        own: dotted names of modules whose own source counts, but not what they import.
    """

    kind: str
    settings: dict
    seed: int
    modules: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    data: dict[str, str] = field(default_factory=dict)
    own: tuple[str, ...] = ()

    @property
    def identity(self) -> dict:
        return _plain({"kind": self.kind, "settings": self.settings, "seed": self.seed})

    @property
    def name(self) -> str:
        """``<kind>/<16 hex digits of the identity's SHA-256>``."""
        digest = hashlib.sha256(canonical(self.identity).encode()).hexdigest()
        return f"{self.kind}/{digest[:16]}"

    def freshness(self) -> dict[str, str]:
        """Digests of modules and data and versions of libraries that the result rests on."""
        closure: dict[str, str] = {}
        for module in self.modules:
            closure |= import_closure(module)
        closure |= {module: import_closure(module)[module] for module in self.own}
        kept = {m: digest for m, digest in closure.items() if m not in self.ignore}
        versions = {name: _version(name) for name in (*VERSIONS, *self.libraries)}
        return kept | {f"data: {name}": mark for name, mark in self.data.items()} | versions


@dataclass(frozen=True)
class Result:
    """``value``: JSON values, numpy arrays and torch tensors by name. ``provenance``: where it
    came from. ``stale``: what has changed since, in words, empty if nothing. ``where``:
    ``"published"``, ``"cache"`` or ``"computed"``. ``notes``: what went wrong on the way."""

    value: dict
    provenance: dict
    where: str
    stale: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_or_compute(key: Key, compute: Callable[[], dict], *,
                    if_stale: str = "recompute") -> Result:
    """The result of ``key``: published, from the cache, or computed now and put into the cache.

    When two processes want the same result at once, the second waits for the first. A damaged file
    is noticed, noted and computed again. A result that cannot be stored (disk full) is returned
    all the same, with a note. The processes of one job (torchrun) ask and compute together: the
    first decides, holds the lock and writes.

    Args:
        compute: returns ``{name: JSON value, numpy array or torch tensor}``; a dict whose values
            are all tensors is stored as such.
        if_stale: ``"recompute"``, or ``"show"`` to return a stale result with its reasons.

    Raises:
        ValueError: unknown ``if_stale``.
        RuntimeError: processes of one job that want different results, or see different folders.
    """
    if if_stale not in ("recompute", "show"):
        raise ValueError(f"if_stale must be 'recompute' or 'show', got {if_stale!r}")
    notes: list[str] = []
    if found := _find_together(key, if_stale, notes):
        return found
    with store.lock(cache_folder() / key.name) if _rank() == 0 else contextlib.nullcontext():
        notes.clear()  # looked at again below, when nobody is writing
        if found := _find_together(key, if_stale, notes):
            return found
        return _compute(key, compute, notes)


def find(key: Key, *, if_stale: str = "show", notes: list[str] | None = None) -> Result | None:
    """A stored result that is fresh or, with ``if_stale="show"``, the first that is stale."""
    notes = [] if notes is None else notes
    candidates = [r for r in (_load(key, "published", notes), _load(key, "cache", notes)) if r]
    fresh = [r for r in candidates if not r.stale]
    usable = fresh or (candidates if if_stale == "show" else [])
    return usable[0] if usable else None


def _find_together(key: Key, if_stale: str, notes: list[str]) -> Result | None:
    """As :func:`find`, but in a job of many processes all find what the first does, or nothing."""
    found = find(key, if_stale=if_stale, notes=notes)
    if (group := _job()) is None:
        return found
    said = [None] * group.get_world_size()
    group.all_gather_object(said, (key.name, found is not None))
    if len(wanted := sorted({name for name, _ in said})) > 1:
        raise RuntimeError("processes of one job must want the same results in the same order, "
                           f"got {' and '.join(wanted)}")
    first_found = said[0][1]
    if first_found and not (found := found or find(key, if_stale=if_stale, notes=notes)):
        raise RuntimeError(f"MAE_LIB_CACHE must be a folder that all processes see; process "
                           f"{_rank()} does not find {key.name} in {cache_folder()}")
    return found if first_found else None


def _job():
    """``torch.distributed`` if this process has joined others, else None."""
    torch = sys.modules.get("torch")  # joining needs it; nothing else here does
    group = torch and torch.distributed
    return group if group and group.is_available() and group.is_initialized() else None


def _rank() -> int:
    return group.get_rank() if (group := _job()) else 0


def publish(names: Iterable[str] | None = None) -> list[Path]:
    """Copy results of the cache into the published folder.

    Args:
        names: kinds (``"pretraining"``) or names of keys (``"pretraining/0123456789abcdef"``); all
            if None, those of other tiers included.

    Raises:
        ValueError: the published folder would exceed ``PUBLISHED_LIMIT``, or a result is damaged;
            nothing is copied.
    """
    wanted = None if names is None else set(names)
    records = [r for r in sorted(cache_folder().glob("*/*.json")) if wanted is None
               or wanted & {r.parent.name, f"{r.parent.name}/{r.stem}"}]
    for record in records:
        store.read(record)
    chosen = [file for record in records for file in reversed(store.files(record))]  # JSON last
    kept = [f for f in published_folder().rglob("*") if f.is_file()]
    replaced = {f.relative_to(cache_folder()) for f in chosen}
    size = sum(f.stat().st_size for f in chosen) + sum(
        f.stat().st_size for f in kept if f.relative_to(published_folder()) not in replaced)
    if size > PUBLISHED_LIMIT:
        raise ValueError(f"published results must stay below {PUBLISHED_LIMIT / 2**20:.0f} MB, "
                         f"got {size / 2**20:.1f} MB")
    for file in chosen:
        target = published_folder() / file.relative_to(cache_folder())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return records


def files_read() -> list[str]:
    """Published files that this process has read or looked for, relative to the checkout."""
    return sorted(path.relative_to(ROOT).as_posix() for path in _read if path.is_relative_to(ROOT))


def note_read(path: Path) -> None:
    """Count a committed file, there or not, among those whose change makes a chapter stale."""
    _read.add(path)


def published_folder() -> Path:
    return Path(os.environ.get("MAE_LIB_PUBLISHED", ROOT / "book" / "published"))


def cache_folder() -> Path:
    """The reader's own results: ``.cache/mae_lib`` in a checkout, else in the home folder."""
    home = ROOT if (ROOT / "_toc.yml").exists() else Path.home()
    return Path(os.environ.get("MAE_LIB_CACHE", home / ".cache" / "mae_lib"))


def canonical(value) -> str:
    """JSON in which equal values have one spelling: sorted keys, 1 for 1.0."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _compute(key: Key, compute: Callable[[], dict], notes: list[str]) -> Result:
    notes = [f"{note}; computed again" for note in notes]
    freshness, start = key.freshness(), time.perf_counter()
    value = compute()
    provenance = {**key.identity, "freshness": freshness, "hardware": hardware(),
                  "seconds": round(time.perf_counter() - start, 2), "commit": commit(),
                  "created": datetime.now(UTC).isoformat(timespec="seconds")}
    plain, arrays, tensors = _split(value)
    try:
        if _rank() == 0:
            store.write(cache_folder() / key.name, {**provenance, "value": plain}, arrays, tensors)
    except OSError as error:
        notes.append(str(error))
    return Result(_join(plain, arrays, tensors), provenance, "computed", [], notes)


def _load(key: Key, where: str, notes: list[str]) -> Result | None:
    path = {"published": published_folder, "cache": cache_folder}[where]() / key.name
    if not _recent(path, where):
        return None
    try:
        stored = store.read(path)
    except store.Damaged as error:
        notes.append(str(error))
        return None
    if where == "published":  # a file that is not there counts: it may come
        _read.update(file.resolve() for file in store.files(path) or [path.with_suffix(".json")])
    if stored is None:
        return None
    record, arrays, tensors = stored
    if canonical({name: record.get(name) for name in key.identity}) != canonical(key.identity):
        notes.append(f"{path}.json is another result under this name")
        return None
    value = _join(record.pop("value"), arrays, tensors)
    return Result(value, record, where, _reasons(record["freshness"], key.freshness()), notes)


def _recent(path: Path, where: str) -> bool:
    since, file = os.environ.get("MAE_LIB_FRESH_SINCE"), path.with_suffix(".json")
    if since is None:
        return True
    return where == "cache" and file.exists() and file.stat().st_mtime >= float(since)


def _reasons(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """What differs, in words: modules by name, libraries with both versions."""
    changed = [name for name in sorted(then.keys() | now.keys())
               if then.get(name) != now.get(name)
               and not _harmless(name, then.get(name), now.get(name))]
    return [f"{name} has changed" if name.startswith(("mae_lib", "data: "))
            else f"{name} {then.get(name, 'absent')} then, {now.get(name, 'absent')} now"
            for name in changed]


def _harmless(module: str, then: str | None, now: str | None) -> bool:
    """Whether changes that were vouched for lead from one source of a module to the other."""
    steps = {change["before"]: change["after"] for change in vouched()
             if change["module"] == module}
    seen = set()
    while then in steps and then not in seen:
        seen.add(then)
        then = steps[then]
        if then == now:
            return True
    return False


def vouched() -> list[dict]:
    """Changes of source that were shown to leave results as they were, see :mod:`mae_lib.vouch`.

    Each has ``module``, ``before`` and ``after`` (digests, None for a module that was not there),
    ``why`` and ``evidence``.
    """
    file = published_folder() / "source_changes.json"
    return json.loads(file.read_text()) if file.exists() else []


def _split(value: dict) -> tuple[dict, dict, dict]:
    """JSON values, arrays and tensors; tensors of a dict are stored as ``name/key``."""
    plain, arrays, tensors = {}, {}, {}
    for name, item in value.items():
        if isinstance(item, np.ndarray):
            arrays[name] = item
        elif isinstance(item, dict) and item and all(map(_is_tensor, item.values())):
            tensors |= {f"{name}/{k}": v for k, v in item.items()}
        elif _is_tensor(item):
            tensors[name] = item
        else:
            plain[name] = _plain(item)
    return plain, arrays, tensors


def _join(plain: dict, arrays: dict, tensors: dict) -> dict:
    value = {**plain, **arrays}
    for name, tensor in tensors.items():
        head, slash, tail = name.partition("/")
        if slash:
            value.setdefault(head, {})[tail] = tensor
        else:
            value[name] = tensor
    return value


def _is_tensor(item) -> bool:
    return type(item).__module__.partition(".")[0] == "torch"


def _plain(value):
    """Tuples as lists, numpy scalars as numbers, whole floats as integers."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _version(distribution: str) -> str:
    try:
        return ".".join(importlib.metadata.version(distribution).split(".")[:2])
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def hardware() -> str:
    """Processor and cores, the accelerator if torch is loaded and has one, processes of the job."""
    name = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        models = [s.partition(":")[2].strip() for s in info.read_text().splitlines()
                  if s.startswith("model name")]
        name = models[0] if models else name
    text = f"{name}, {os.cpu_count()} cores"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        text += f", {torch.cuda.get_device_name()}"
    return text if (group := _job()) is None else f"{text}, {group.get_world_size()} processes"


@lru_cache(maxsize=1)
def commit() -> str:
    """The commit of the checkout, ``-dirty`` with changes; the version of an installed package."""
    if not (ROOT / ".git").exists():  # an environment may lie inside someone else's repository
        return __version__
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return __version__
