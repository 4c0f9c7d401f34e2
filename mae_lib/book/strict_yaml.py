"""Flat YAML files in which a key written twice is an error."""

from pathlib import Path
from typing import Any

import yaml

from mae_lib.book.chapters import BookError


class _StrictLoader(yaml.SafeLoader):
    """YAML without keys written twice."""


def _unique_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict:
    seen: set = set()
    for key_node, _ in node.value:
        if key_node.value in seen:
            line = key_node.start_mark.line + 1
            raise BookError(f"{loader.name}:{line}: {key_node.value!r} is set twice")
        seen.add(key_node.value)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read_flat(path: Path, root: Path) -> dict[str, Any]:
    """Lines `name: value` of a file below `root`; a value is plain or a list."""
    name = path.relative_to(root).as_posix()
    loader = _StrictLoader(path.read_text(encoding="utf-8"))
    loader.name = name
    try:
        values = loader.get_single_data() or {}
    except yaml.YAMLError as error:
        line = f":{error.problem_mark.line + 1}" if getattr(error, "problem_mark", None) else ""
        raise BookError(f"{name}{line}: not valid YAML") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise BookError(f"{name}: expected lines 'name: value'")
    nested = [key for key, value in values.items() if isinstance(value, dict)]
    if nested:
        raise BookError(f"{name}: {nested[0]} must be a plain value or a list, got a mapping")
    return values
