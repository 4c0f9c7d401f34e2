"""What a module's source says, apart from its comments, and which modules it rests on.

Both are read from the text alone, without importing anything and without depending on the Python
version, so that a result's key is the same on every machine.
"""

import ast
import functools
import hashlib
import io
import threading
import tokenize
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
_ONE_PARSER = threading.Lock()  # Python 3.11's is not safe in several threads
_HAVE_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def source_digest(path: str | Path) -> str:
    """sha256 (hex) of a Python file's code: comments, docstrings and blank lines do not count.

    Raises ValueError when the file is not valid Python.
    """
    text = Path(path).read_text(encoding="utf-8-sig")
    try:
        return _digest(text)
    except (SyntaxError, tokenize.TokenError) as error:
        raise ValueError(f"{path} is not valid Python: {error}") from error


def import_closure(module: str, package: str | Path = PACKAGE) -> dict[str, str]:
    """Digest of `module` and of every module of its package that it imports, directly or not.

    Imports inside functions count. The package's own `__init__` does not: it holds the version
    number only, and a new version alone must not make every result stale. Of this package the
    files are read once: they are the code that runs, whatever is written to them meanwhile.
    Returns {dotted name: sha256 hex} in alphabetical order. ValueError for an unknown module.
    """
    package = Path(package).resolve()
    return dict(_own_closure(module) if package == PACKAGE else _closure(module, package))


def _closure(module: str, package: Path) -> dict[str, str]:
    if _module_file(module, package) is None:
        raise ValueError(f"module must be one of the package {package.name}, got {module!r}")
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _module_file(name, package)
        if name in found or name == package.name or path is None:
            continue
        found[name] = source_digest(path)
        waiting += [*_imported(name, path, package.name), name.rpartition(".")[0]]
    return dict(sorted(found.items()))


@functools.cache
def _own_closure(module: str) -> dict[str, str]:
    """A chapter asks for the same ones thousands of times."""
    return _closure(module, PACKAGE)


def module_name(path: str | Path, package: str | Path = PACKAGE) -> str:
    """Dotted name of a file of the package: `mae_lib/models/vit.py` is `mae_lib.models.vit`."""
    package = Path(package).resolve()
    parts = Path(path).resolve().relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.lru_cache(maxsize=1024)
def _digest(text: str) -> str:
    return hashlib.sha256("\n".join(_code_lines(text)).encode()).hexdigest()


def _code_lines(text: str) -> Iterator[str]:
    """Lines of code as written; lines that end inside a string keep their blanks."""
    tree = _parse(text)
    lines = text.split("\n")
    in_string = _lines_ending_in_a_string(tree)
    spans = [*_comments(text), *_docstrings(tree, lines)]
    for start, end in sorted(spans, reverse=True):  # from the end, so that columns stay true
        _erase(lines, start, end)
        in_string -= {start[0], *range(start[0], end[0])}
    for number, line in enumerate(lines, start=1):
        if number in in_string:
            yield line
        elif line.strip():
            yield line.rstrip()


def _parse(text: str) -> ast.Module:
    with _ONE_PARSER:
        return ast.parse(text)


def _lines_ending_in_a_string(tree: ast.AST) -> set[int]:
    strings = (n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) or _is_text(n))
    return {line for node in strings for line in range(node.lineno, node.end_lineno)}


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _comments(text: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start, token.end


def _docstrings(tree: ast.AST, lines: list[str]):
    for node in ast.walk(tree):
        first = node.body[0] if isinstance(node, _HAVE_DOCSTRING) and node.body else None
        if isinstance(first, ast.Expr) and _is_text(first.value):
            text = first.value
            yield (
                (text.lineno, _characters(lines[text.lineno - 1], text.col_offset)),
                (text.end_lineno, _characters(lines[text.end_lineno - 1], text.end_col_offset)),
            )


def _characters(line: str, utf8_offset: int) -> int:
    """ast counts bytes, tokenize counts characters."""
    return len(line.encode()[:utf8_offset].decode())


def _erase(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> None:
    (first, left), (last, right) = start, end
    rest = lines[last - 1][right:]
    lines[first - 1] = lines[first - 1][:left] + rest
    for number in range(first + 1, last + 1):
        lines[number - 1] = ""


def _module_file(name: str, package: Path) -> Path | None:
    parts = name.split(".")
    if parts[0] != package.name:
        return None
    stem = package.joinpath(*parts[1:])
    candidates = (stem.with_name(stem.name + ".py"), stem / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _imported(name: str, path: Path, top: str) -> tuple[str, ...]:
    """Names that may be modules of the package `top`; the caller drops those that are not."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return tuple(n for n in _import_names(path.read_text(encoding="utf-8-sig"), package)
                 if n.partition(".")[0] == top)


@functools.lru_cache(maxsize=1024)
def _import_names(text: str, package: str) -> tuple[str, ...]:
    found = []
    for node in ast.walk(_parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, package)
            found += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _origin(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parent = package.split(".")
    parent = parent[: len(parent) - node.level + 1]
    return ".".join([*parent, *([node.module] if node.module else [])])
