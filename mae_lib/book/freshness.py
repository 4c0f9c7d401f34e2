"""Is an executed chapter still what running it now would give?

The executed notebook carries a record of everything that determined it. It is fresh while all of
that is unchanged; otherwise the first difference is named.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mae_lib.book import probe
from mae_lib.book.chapters import Chapter
from mae_lib.sources import source_digest


def executed_path(chapter: Chapter, tier: str) -> Path:
    return chapter.root / "_build" / "executed" / tier / f"{chapter.docname}.ipynb"


def state(chapter: Chapter, tier: str, parameters: dict[str, Any]) -> str:
    """'fresh', 'missing' or 'stale: <why>'."""
    record = read_record(executed_path(chapter, tier))
    if record is None:
        return "missing"
    then = record["made_from"]
    now = made_from(chapter, parameters, then["modules"], then["files"], then["versions"])
    if record["key"] == key(now):
        return "fresh"
    return f"stale: {next(_differences(then, now), 'its record is damaged')}"


def read_record(path: Path) -> dict | None:
    """The record in an executed notebook; None when there is none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))["metadata"]["companion"]
        return record if {"key", "made_from"} <= record.keys() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def key(made_from: dict) -> str:
    """sha256 (hex) of everything that determines an executed chapter."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def made_from(chapter: Chapter, parameters: dict, modules, files, distributions) -> dict:
    """What determines the chapter's outputs, as it is now.

    modules, files: paths below the root; distributions: names among `probe.VERSIONED`.
    """
    names = [module for module, name in probe.VERSIONED.items() if name in distributions]
    return {
        "source": text_digest(chapter.text),
        "parameters": parameters,
        "modules": {name: _module_digest(chapter.root / name) for name in modules},
        "files": {name: _file_digest(chapter.root / name) for name in files},
        "versions": probe.versions(names),
    }


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _module_digest(path: Path) -> str:
    try:
        return source_digest(path)
    except (OSError, ValueError):
        return "missing"


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "missing"


def _differences(then: dict, now: dict) -> Iterator[str]:
    if then["source"] != now["source"]:
        yield "its text changed"
    for name, old, new in _changed(then["parameters"], now["parameters"]):
        yield f"parameter {name} is {new!r}, was {old!r}"
    for part in ("modules", "files"):
        for name, _, new in _changed(then[part], now[part]):
            yield f"{name} {'is gone' if new == 'missing' else 'changed'}"
    for name, old, new in _changed(then["versions"], now["versions"]):
        yield f"{name} is {new}, was {old}"


def _changed(then: dict, now: dict) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            yield name, then.get(name), now.get(name)
