"""A tiny book in a temporary folder, with chapters of a few lines and no heavy import."""

import textwrap
from pathlib import Path

import pytest

from mae_lib import cli

FRONT = """\
---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {name: python3, display_name: Python 3, language: python}
---

# A chapter

"""


class TinyBook:
    """Writes files below its root and runs `mae-book` there."""

    def __init__(self, root: Path):
        self.root = root

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def chapter(self, stem: str, *cells: str, parameters: str = "seed = 0") -> Path:
        """A chapter whose first cell declares `parameters`; line 11 is that cell's first."""
        first = f"```{{code-cell}} python3\n:tags: [parameters]\n{parameters}\n```\n"
        rest = "".join(f"\nText.\n\n```{{code-cell}} python3\n{cell}\n```\n" for cell in cells)
        return self.write(f"book/{stem}.md", FRONT + first + rest)

    def executed(self, stem: str, tier: str = "laptop") -> Path:
        return self.root / "_build/executed" / tier / "book" / f"{stem}.ipynb"


@pytest.fixture
def book(tmp_path):
    tiny = TinyBook(tmp_path.resolve())
    tiny.write("_toc.yml", "format: jb-book\nroot: book/plain\n")
    tiny.write("book/plain.md", "# A page without code\n")
    tiny.write("params/laptop.yaml", "seed: 0\n")
    return tiny


@pytest.fixture
def mae_book(book, monkeypatch, capfd):
    """Calls the command in the tiny book: (exit code, stdout, stderr)."""
    monkeypatch.chdir(book.root)
    usual = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONHASHSEED": "1"}
    for name, value in usual.items():
        monkeypatch.setenv(name, value)  # so that what a run sets is undone after the test

    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            code = cli.main(list(arguments))
        except SystemExit as end:  # argparse
            code = end.code
        return (code, *capfd.readouterr())

    return call
