"""Pages are made from executed notebooks, with warnings as errors, and need no other site."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FIGURE = """\
---
mystnb:
  image: {alt: A rising line}
  figure: {caption: It rises., name: fig-line}
tags: [hide-input]
---
import matplotlib.pyplot as plt
plt.plot([0, seed]);"""
GLUED = "The value is {glue:text}`x.md::value:s`."


@pytest.fixture
def pages(book):
    """The tiny book with this repository's configuration, one chapter and two plain pages."""
    shutil.copy(REPOSITORY / "_config.yml", book.root)
    for name in ("book/_ext", "book/_static"):
        shutil.copytree(REPOSITORY / name, book.root / name)
    files = "".join(f"  - file: book/{name}\n" for name in ("x", "old"))
    book.write("_toc.yml", f"format: jb-book\nroot: book/plain\nchapters:\n{files}")
    book.write("book/plain.md", f"# Start\n\n## Part\n\n{GLUED}\n\n$$a^2$$ (eq-a)\n")
    book.write("book/old.md", "# Old\n\n## Part\n\nText.\n")
    book.write("book/references.bib", "")
    glue = "from myst_nb import glue\nglue('value', f'seed {seed}', display=False)"
    book.chapter("x", glue, FIGURE, "print('<last>')")
    return book


def html(book, name: str) -> str:
    return (book.root / f"_build/html/book/{name}.html").read_text()


def test_a_book_from_start_to_finish(pages, mae_book):
    code, stdout, stderr = mae_book("build")
    assert (code, stdout.splitlines()[-1]) == (0, "pages: _build/html/index.html"), stderr
    page = html(pages, "x")
    assert "&lt;last&gt;" in page and 'alt="A rising line"' in page and "It rises." in page
    words = re.sub(r"<[^>]+>", "", page)
    assert "mae-book run x --tier laptop" in words and "papermill --cwd book" in words
    assert all(word in page for word in ("Commit", "Device", "Versions", "matplotlib", "MB"))
    assert "injected-parameters" not in page and "The value is" in html(pages, "plain")
    assert "seed 0" in html(pages, "plain")
    assert (pages.root / "_build/html/_static/mathjax/tex-chtml.js").exists()
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', page)

    # A value pasted into another page follows its chapter.
    pages.write("params/laptop/x.yaml", "seed: 3\n")
    code, stdout, _ = mae_book("build")
    assert code == 0 and "[1/1] book/x.md" in stdout
    assert "seed 3" in html(pages, "plain")

    # Nothing changed: nothing is run.
    assert "nothing to run" in mae_book("build")[1]

    # A page whose text is gone leaves no page behind.
    (pages.root / "book/old.md").unlink()
    pages.write("_toc.yml", "format: jb-book\nroot: book/plain\nchapters:\n  - file: book/x\n")
    assert mae_book("build")[0] == 0
    assert not (pages.root / "_build/html/book/old.html").exists() and html(pages, "x")


def test_a_warning_fails_the_build_every_time_and_names_the_line(pages, mae_book):
    see = "See {numref}`fig-nothing`.\n"
    pages.write("book/old.md", f"# Old\n\n## Part\n\n{see}")
    chapter = pages.root / "book/x.md"
    chapter.write_text(chapter.read_text() + f"\nText.\n+++\n\n{see}")
    last = len(chapter.read_text().splitlines())
    for _ in range(2):  # Sphinx remembers pages; the second build must not pass for that
        code, _, stderr = mae_book("build")
        assert code == 1
        assert "book/old.md:5: WARNING: undefined label: 'fig-nothing'" in stderr
        assert f"book/x.md:{last}: WARNING: undefined label: 'fig-nothing'" in stderr


def test_outputs_with_warnings_without_words_or_out_of_date_fail_the_build(pages, mae_book):
    bare = "import matplotlib.pyplot as plt\nplt.plot([0, 1]);"
    pages.chapter("x", "import sys; print('careful', file=sys.stderr)", bare)
    pages.write("book/plain.md", "# Start\n\n## Part\n\nText.\n")
    code, _, stderr = mae_book("build")
    assert code == 1 and "stderr was found in the cell outputs" in stderr
    assert re.search(r"book/x\.md:23: WARNING: a cell's picture has no 'alt' text", stderr)

    pages.chapter("x", "print(1)")
    assert mae_book("run")[0] == 0
    path = pages.root / "book/x.md"
    path.write_text(path.read_text() + "\nMore.\n")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    done = subprocess.run(
        [*command, "build", str(pages.root), "-W", "-q"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "outputs are older than the text: run 'mae-book run'" in done.stderr


def test_the_printed_commands_run_the_chapter(pages, mae_book):
    pages.write("params/laptop/x.yaml", "seed: 4\n")
    assert mae_book("build")[0] == 0
    text = re.sub(r"<[^>]+>", "", html(pages, "x")).replace("$ ", "\n$ ")
    commands = re.findall(r"^\$ ((?:jupytext|papermill) .*)$", text, re.MULTILINE)
    assert [shlex.split(command)[0] for command in commands] == ["jupytext", "papermill"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in commands:
        done = subprocess.run(
            shlex.split(command), cwd=pages.root, env={**os.environ, "PATH": path},
            capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stderr
    assert "unknown parameter" not in done.stderr
    assert "seed 4" in (pages.root / "_build/x-run.ipynb").read_text()


def test_another_tier_has_pages_of_its_own_and_smoke_says_what_it_is(pages, mae_book):
    pages.write("params/smoke.yaml", "seed: 9\n")
    code, stdout, _ = mae_book("build", "--tier", "smoke")
    html = "_build/tiers/smoke/_build/html"
    assert (code, stdout.splitlines()[-1]) == (0, f"pages: {html}/index.html")
    page = (pages.root / html / "book/x.html").read_text()
    assert "Smoke tier" in page
    assert not (pages.root / "_build/html").exists()
