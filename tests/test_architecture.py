"""Data flows one way: imports inside mae_lib go down the list of rooms only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mae_lib"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = ["theory", "data", "models", "training", "evaluation", "ledger"]
# What stands beside the rooms, and what of the rest each may import.
BASE = {"sources", "store", "runs"}
TOP = {"studies", "identification", "measurements", "theory_claims", "pages", "figures", "verify",
       "vouch", "progress", "dry_run"}


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """First names below mae_lib that a file imports, and other packages by their own name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own(path: Path) -> set[str]:
    names = {name.split(".")[1] for name in imported(path) if name.startswith("mae_lib.")}
    return names & {place(file) for file in FILES}


def allowed(name: str) -> set[str]:
    if name in ROOMS:
        return set(ROOMS[:ROOMS.index(name) + 1])
    if name in BASE:
        return BASE
    if name == "figures":
        return {"figures"}
    if name in TOP:
        return {*ROOMS, *BASE, *TOP}
    if name == "book":
        return {"book", *BASE}
    return {"book", "verify", "vouch", "progress", "dry_run", "studies"} if name == "cli" else set()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_down_the_list_only(path):
    assert own(path) <= allowed(place(path))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_relative_imports_stay_inside_their_room(path):
    deepest = len(path.relative_to(PACKAGE).parts) - 1
    levels = [n.level for n in ast.walk(ast.parse(path.read_text()))
              if isinstance(n, ast.ImportFrom)]
    assert max(levels, default=0) <= deepest


def test_only_the_training_step_knows_torch_xla():
    users = [p for p in FILES if any(n.split(".")[0] == "torch_xla" for n in imported(p))]
    assert [p.relative_to(PACKAGE).as_posix() for p in users] == ["training/step.py"]


@pytest.mark.parametrize("module", ["mae_lib", "mae_lib.cli", "mae_lib.runs",
                                    "mae_lib.data.images"])
def test_a_light_module_stays_light(module):
    code = f"import sys, {module}; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_tree_in_the_readme_names_every_room_and_file_beside_them():
    tree = (PACKAGE.parent / "README.md").read_text().partition("## What is where")[2]
    missing = {place(f) for f in FILES if f.name != "__init__.py" or f.parent != PACKAGE}
    assert [name for name in sorted(missing) if f"{name}.py" not in tree
            and f"{name}/" not in tree] == []
