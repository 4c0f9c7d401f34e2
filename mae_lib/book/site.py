"""Render the pages with Jupyter Book, warnings as errors, without executing anything."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PUBLISHED = "laptop"  # the tier whose pages stand in _build/html


def html_folder(root: Path, tier: str) -> Path:
    """Where the pages of a tier are written."""
    return _output(root, tier) / "_build" / "html"


def render(root: Path, tier: str) -> int:
    """Build the pages of `tier`; returns Jupyter Book's exit code.

    After a failure everything is read anew the next time: Sphinx would otherwise keep the pages
    that it warned about and say nothing of them in the next build.
    """
    _forget_removed_pages(root, tier)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command += ["build", str(root), "--path-output", str(_output(root, tier))]
    command += ["-W", "-n", "--keep-going", "-q"]
    environment = {**os.environ, "MAE_BOOK_TIER": tier}
    # Problems go to stderr; what it says on stdout is a banner.
    code = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode
    if code:
        shutil.rmtree(_doctrees(root, tier), ignore_errors=True)
    else:
        (html_folder(root, tier) / ".nojekyll").touch()
    return code


def _output(root: Path, tier: str) -> Path:
    return root if tier == PUBLISHED else root / "_build" / "tiers" / tier


def _doctrees(root: Path, tier: str) -> Path:
    return html_folder(root, tier).parent / ".doctrees"


def _forget_removed_pages(root: Path, tier: str) -> None:
    """Start from nothing when a page's text is gone: Sphinx never removes a page."""
    html = html_folder(root, tier)
    for page in (html / "book").rglob("*.html"):
        if not (root / page.relative_to(html)).with_suffix(".md").exists():
            shutil.rmtree(html)
            shutil.rmtree(_doctrees(root, tier), ignore_errors=True)
            return
