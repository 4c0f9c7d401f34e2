"""Binder and Colab start from files that must stay true to the house."""

import re
import stat
from pathlib import Path

import nbformat

from mae_lib.book.chapters import find_chapters
from mae_lib.cli import _parser

ROOT = Path(__file__).parents[1]
COLAB = nbformat.read(ROOT / "colab" / "run_a_chapter.ipynb", 4)
CODE = [cell.source for cell in COLAB.cells if cell.cell_type == "code"]


def test_binder_installs_the_pins_and_the_package():
    folder = ROOT / ".binder"
    lines = (folder / "requirements.txt").read_text().splitlines()
    included, = (line.removeprefix("-r ") for line in lines if line.startswith("-r "))
    assert (folder / included).resolve() == ROOT / "requirements.txt"
    assert (folder / "runtime.txt").read_text().strip() == "python-3.11"
    assert (folder / "postBuild").stat().st_mode & stat.S_IXUSR
    assert "--no-deps --editable ." in (folder / "postBuild").read_text()


def test_colabs_cells_are_python_between_their_commands():
    nbformat.validate(COLAB)
    for source in CODE:
        plain = "\n".join(re.sub(r"^[!%].*", "pass", line) for line in source.splitlines())
        compile(plain, "cell", "exec")


def test_colab_asks_for_chapters_and_commands_that_exist():
    text = "\n".join(CODE)
    chapter = re.search(r'^chapter = "(\w+)"', text, re.M)[1]
    assert chapter in find_chapters(ROOT)
    tiers = re.findall(r'"(\w+)"', re.search(r"tier = .*\[(.*)\]", text)[1])
    assert tiers and all((ROOT / "params" / f"{tier}.yaml").exists() for tier in tiers)
    command = re.search(r"!mae-book (.*)", text)[1].format(chapter=chapter, tier="smoke")
    assert _parser().parse_args(command.split()).chapters == [chapter]
    extras = re.search(r'"\.\[([\w,]+)\]"', text)[1].split(",")
    declared = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", declared, re.M) for extra in extras)
