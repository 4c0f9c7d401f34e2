"""Parameters of a tier: `params/<tier>.yaml`, shared, and `params/<tier>/<chapter>.yaml`.

Both are flat, so that plain papermill takes the same files. A chapter receives the keys that it
declares; a key that nobody declares, a value of another type or a key written twice is an error.
"""

import re
from pathlib import Path
from typing import Any

from mae_lib.book.chapters import BookError, Chapter
from mae_lib.book.strict_yaml import read_flat

_USUAL_ORDER = ("smoke", "laptop", "gpu", "paper")
_REFERENCE = "laptop"  # the tier whose values the chapters show when opened by hand


def find_tiers(root: Path) -> list[str]:
    """Names of the tiers, from small to large; a folder of parameters needs its tier's file."""
    names = sorted(path.stem for path in (root / "params").glob("*.yaml"))
    for folder in sorted(path for path in (root / "params").glob("*/") if path.is_dir()):
        if folder.name not in names:
            raise BookError(f"params/{folder.name}/ has no params/{folder.name}.yaml beside it")
    known = [name for name in _USUAL_ORDER if name in names]
    return known + [name for name in names if name not in known]


def read_tier(root: Path, tier: str, chapters: dict[str, Chapter]) -> dict[str, dict[str, Any]]:
    """Values of every chapter's parameters, {stem: {name: value}}, checked.

    A tier's file wins over the defaults in the chapter, the chapter's file over the tier's.
    """
    shared, own = _read_files(root, tier)
    _check_shared(shared, tier, chapters)
    _check_owners(own, tier, chapters)
    return {stem: _merge(chapters[stem], tier, shared, own.get(stem, {})) for stem in chapters}


def check_same_keys(root: Path) -> None:
    """Every tier must set the same keys in the same files; what one forgets is an error."""
    keys = {tier: _keys(root, tier) for tier in find_tiers(root)}
    for tier, mine in keys.items():
        for other, theirs in keys.items():
            for file, key in sorted(theirs - mine):
                name, twin = f"params/{tier}{file}.yaml", f"params/{other}{file}.yaml"
                raise BookError(f"{name} lacks {key!r}, which {twin} sets")


def check_defaults(root: Path, chapters: dict[str, Chapter], tier: str = _REFERENCE) -> None:
    """A chapter's defaults must be those of `tier`: opened by hand, it finds published results."""
    for stem, values in read_tier(root, tier, chapters).items():
        for name, default in chapters[stem].defaults.items():
            if default != values[name]:
                raise BookError(
                    f"{chapters[stem].source}: the default {name} = {default!r} is not that of "
                    f"the {tier} tier, {values[name]!r}"
                )


def parameter_files(root: Path, tier: str, chapter: Chapter) -> list[str]:
    """Files, below the root, from which the chapter takes a value, the stronger one last."""
    shared, own = _read_files(root, tier)
    names = [f"params/{tier}.yaml"] if set(shared) & set(chapter.defaults) else []
    return names + ([f"params/{tier}/{chapter.stem}.yaml"] if chapter.stem in own else [])


def _keys(root: Path, tier: str) -> set[tuple[str, str]]:
    shared, own = _read_files(root, tier)
    return {("", key) for key in shared} | {(f"/{stem}", k) for stem in own for k in own[stem]}


def _read_files(root: Path, tier: str) -> tuple[dict, dict[str, dict]]:
    if tier not in find_tiers(root):
        raise BookError(f"unknown tier {tier!r}: params/ has {', '.join(find_tiers(root))}")
    folder = root / "params"
    own = {path.stem: read_flat(path, root) for path in sorted((folder / tier).glob("*.yaml"))}
    return read_flat(folder / f"{tier}.yaml", root), own


def _check_shared(shared: dict, tier: str, chapters: dict[str, Chapter]) -> None:
    declared = sorted({name for chapter in chapters.values() for name in chapter.defaults})
    for key in shared:
        if key not in declared:
            raise BookError(
                f"params/{tier}.yaml: no chapter has a parameter {key!r} "
                f"(together they have {', '.join(declared)})"
            )


def _check_owners(own: dict[str, dict], tier: str, chapters: dict[str, Chapter]) -> None:
    for stem in own:
        if stem not in chapters:
            raise BookError(
                f"params/{tier}/{stem}.yaml: there is no chapter {stem!r} "
                f"(the chapters are {', '.join(chapters)})"
            )


def _merge(chapter: Chapter, tier: str, shared: dict, own: dict) -> dict[str, Any]:
    for key in own:
        if key not in chapter.defaults:
            raise BookError(
                f"params/{tier}/{chapter.stem}.yaml: {chapter.source} has no parameter {key!r} "
                f"(it has {', '.join(chapter.defaults)})"
            )
    merged = dict(chapter.defaults)
    for values, file in ((shared, f"{tier}.yaml"), (own, f"{tier}/{chapter.stem}.yaml")):
        for key in values.keys() & merged.keys():
            what = f"params/{file}: {key}"
            merged[key] = _same_type(values[key], chapter.defaults[key], what)
    return merged


def _same_type(value: Any, default: Any, what: str) -> Any:
    """`value` if it has the type of `default`; a whole number is welcome where a float stands."""
    if default is None or type(value) is type(default) and not isinstance(default, list):
        return value
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if isinstance(default, list) and isinstance(value, list):
        example = _example(default)
        return [_same_type(item, example, f"{what}: each item") for item in value]
    raise BookError(f"{what} must be {_kind(default)}, got {_show(value)}{_hint(value, default)}")


def _example(items: list) -> Any:
    """One item that stands for the type of all; a float when whole numbers and floats are mixed."""
    return next((item for item in items if isinstance(item, float)), items[0] if items else None)


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return "a list" if isinstance(value, list) else names.get(type(value), "a plain value")


def _show(value: Any) -> str:
    return "nothing" if value is None else f"{_kind(value)}, {value!r}"


def _hint(value: Any, default: Any) -> str:
    """YAML reads 1e-3 as text, off as false and 1:30 as 90."""
    if isinstance(default, float) and re.fullmatch(r"[-+.\d]+e[-+\d]+", str(value)):
        return " (YAML wants a point and a sign: 1.0e-3)"
    return " (put it in quotes)" if isinstance(default, str) and isinstance(value, bool) else ""
