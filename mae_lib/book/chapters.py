"""Chapters: MyST text notebooks in `book/`, their cells and the parameters that they declare."""

import ast
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class BookError(ValueError):
    """Something in the book's folder or on the command line is wrong, in one sentence."""

    exit_code = 2


@dataclass(frozen=True, eq=False)
class Chapter:
    """One notebook of the book: `docname` is its path below the root, without suffix."""

    root: Path
    docname: str
    text: str

    @property
    def stem(self) -> str:
        return self.docname.rpartition("/")[2]

    @property
    def source(self) -> str:
        """Path below the root, as error messages print it."""
        return f"{self.docname}.md"

    @functools.cached_property
    def defaults(self) -> dict[str, Any]:
        """Parameters with the values that stand in the chapter's `parameters` cell."""
        cells = [c for c in notebook(self).cells if "parameters" in c.metadata.get("tags", [])]
        if len(cells) != 1:
            raise BookError(
                f"{self.source}: expected one cell tagged 'parameters', found {len(cells)}"
            )
        return _assignments(cells[0].source, cells[0].metadata.chapter_line, self.source)

    @property
    def gathers(self) -> bool:
        """Whether it shows what other chapters computed: `gathers: true` in its front matter."""
        return _front_matter(self.text, self.source).get("gathers") is True


def find_root(start: str | Path) -> Path:
    """The nearest folder, from `start` upwards, that holds a `_toc.yml`."""
    start = Path(start).resolve()
    for folder in (start, *start.parents):
        if (folder / "_toc.yml").is_file():
            return folder
    raise BookError(f"no _toc.yml in {start} or above it: run mae-book inside the repository")


def find_chapters(root: Path) -> dict[str, Chapter]:
    """All notebooks below `book/`, by stem, in alphabetical order; plain pages are left out."""
    found: dict[str, Chapter] = {}
    for path in sorted((root / "book").rglob("*.md")):
        docname = path.relative_to(root).with_suffix("").as_posix()
        text = path.read_text(encoding="utf-8")
        if any(part.startswith(("_", ".")) for part in docname.split("/")):
            continue
        if not _is_notebook(text, f"{docname}.md"):
            continue
        chapter = Chapter(root, docname, text)
        if chapter.stem in found:
            other = found[chapter.stem].source
            raise BookError(f"{chapter.source} and {other} have the same name: rename one")
        found[chapter.stem] = chapter
    return found


def notebook(chapter: Chapter):
    """The chapter as a notebook; every code cell carries its number and its first line."""
    from jupytext.myst import myst_to_notebook

    nb = myst_to_notebook(chapter.text, add_source_map=True)
    lines = chapter.text.splitlines()
    number = 0
    for index, (cell, fence) in enumerate(zip(nb.cells, nb.metadata.source_map, strict=True)):
        cell.id = f"cell-{index}"  # jupytext draws a random one
        first = _first_line(lines, fence, cell.source)
        nb.metadata.source_map[index] = first - 2  # myst-nb adds 2 in its warnings
        if cell.cell_type == "code":
            number += 1
            cell.metadata["chapter_cell"] = number
            cell.metadata["chapter_line"] = first
    return nb


def _first_line(lines: list[str], fence: int, source: str) -> int:
    """Line (from 1) where a cell's own text begins, below its fence and its options."""
    own = source.splitlines()
    for start in range(fence, len(lines)):
        if lines[start : start + len(own)] == own:
            return start + 1
    return fence


def _is_notebook(text: str, source: str) -> bool:
    is_notebook = "kernelspec" in _front_matter(text, source)
    if not is_notebook and "```{code-cell}" in text:
        raise BookError(f"{source}: has code cells, but no kernelspec in its front matter")
    return is_notebook


def _front_matter(text: str, source: str) -> dict:
    front = text.split("---\n", 2)[1] if text.startswith("---\n") else ""
    try:
        return yaml.safe_load(front) or {}
    except yaml.YAMLError as error:
        raise BookError(f"{source}: its front matter is not valid YAML") from error


def _assignments(code: str, first_line: int, source: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for node in ast.parse(code).body:
        where = f"{source}:{first_line + node.lineno - 1}"
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            raise BookError(f"{where}: a parameters cell holds lines 'name = value' only")
        name = node.targets[0].id
        if len(node.targets) > 1 or name in values:
            raise BookError(f"{where}: give each parameter one line of its own")
        values[name] = _literal(node.value, f"{where}: {name}")
    return values


def _literal(node: ast.expr, what: str) -> Any:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        raise BookError(f"{what} must be a plain value (number, text, truth value, list)") from None
    if isinstance(value, tuple | set | dict | bytes | complex):
        raise BookError(f"{what} must be a number, text, truth value or list, got {value!r}")
    return value
