"""What a chapter used, told by its own kernel in one last cell.

The cell is `print(probe.report(root))`; it runs after the chapter's cells and is removed again.
"""

import json
import resource
import sys
from importlib import metadata
from pathlib import Path

# A new version of one of these may change what a chapter shows: {module: distribution}.
VERSIONED = {
    "lightly": "lightly",
    "matplotlib": "matplotlib",
    "networkx": "networkx",
    "numba": "numba",
    "numpy": "numpy",
    "pandas": "pandas",
    "PIL": "pillow",
    "piq": "piq",
    "scipy": "scipy",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "timm": "timm",
    "torch": "torch",
    "torch_xla": "torch_xla",
    "torchvision": "torchvision",
    "transformers": "transformers",
}


def report(root: str) -> str:
    """JSON: modules below `root` and files that were read, versions, device, peak memory in MB."""
    return json.dumps(
        {
            "modules": _modules(Path(root)),
            "files": _files(),
            "versions": versions(name for name in VERSIONED if name in sys.modules),
            "device": _hardware(),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
    )


def versions(modules) -> dict[str, str]:
    """Installed versions by distribution name, the interpreter's among them."""
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for module in modules:
        try:
            found[VERSIONED[module]] = metadata.version(VERSIONED[module])
        except metadata.PackageNotFoundError:
            found[VERSIONED[module]] = "not installed"
    return found


def _modules(root: Path) -> list[str]:
    """Source files of the repository that are imported, below `root`, this room left out."""
    own = Path(__file__).resolve().parent
    found = set()
    for module in list(sys.modules.values()):
        given = Path(getattr(module, "__file__", None) or "/")
        if not given.is_absolute():  # compiled modules name a source file that is not there
            continue
        path = given.resolve()
        if path.suffix == ".py" and path.is_relative_to(root) and path.parent != own:
            found.add(path.relative_to(root).as_posix())
    installed = (name for name in found if "site-packages" in name or name.startswith("_build/"))
    return sorted(found.difference(installed))


def _files() -> list[str]:
    """Published results that the chapter opened, below the root."""
    runs = sys.modules.get("mae_lib.runs")
    return sorted(set(map(str, runs.files_read()))) if runs else []


def _hardware() -> str:
    from mae_lib.runs import hardware  # late: it must not count as a module of the chapter

    return hardware()
