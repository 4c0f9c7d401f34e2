"""Sphinx extension: show each chapter with the outputs of its executed notebook.

While Sphinx reads `book/x.md`, its text is swapped for `_build/executed/<tier>/book/x.ipynb`.
Pages, edit links and warnings thus belong to the text in the repository; nothing is executed.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
from pathlib import Path

import nbformat
from docutils import nodes
from myst_nb.core.read import is_myst_markdown_notebook
from sphinx.util import logging

from mae_lib.book import freshness, parameters
from mae_lib.book.chapters import Chapter, notebook

_LOG = logging.getLogger(__name__)
_GLUED = re.compile(r"`(?:[^`<]*<)?([\w./-]+\.md)::|:doc:\s*(\S+\.md)")
_MATHJAX = ("tex-chtml.js", "output/chtml/fonts/woff-v2/*.woff", "input/tex/extensions/*.js")
_REPAIRS = {
    'role="doc-biblioentry"': 'role="listitem"',  # docutils puts it into a list
    ' aria-label="Toggle hidden content"': "",  # hides the words that stand on the button
}
_SMOKE = "Smoke tier: trained for seconds. These pages show that the code runs, no more."


def setup(app) -> dict:
    """Register everything; a change of this file or of the tier makes Sphinx read all anew."""
    app.add_config_value("companion_tier", os.environ.get("MAE_BOOK_TIER", "laptop"), "env")
    app.connect("config-inited", _announce)
    app.connect("env-get-outdated", _glued_again)
    app.connect("source-read", _show_outputs)
    app.connect("doctree-resolved", _ask_for_descriptions)
    app.connect("build-finished", _copy_mathjax)
    app.connect("build-finished", _repair_for_readers)
    version = int(hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:6], 16)
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}


def read(text: str):
    """Reader for myst-nb: an executed notebook, a notebook as text, or a plain page."""
    if text.startswith("{"):
        return nbformat.reads(text, as_version=4)
    if is_myst_markdown_notebook(text):
        return notebook(Chapter(Path(), "draft", text))
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    nb.metadata["source_map"] = [-1]  # myst-nb adds 2 to the line within a cell, from 0
    return nb


def _glued_again(app, env, added, changed, removed) -> list[str]:
    """The landing page shows an output of the ledger: it is read again whenever that is."""
    return ["book/intro"] if "book/ledger" in added | changed else []


def _announce(app, config) -> None:
    if config.companion_tier == "smoke":
        config.html_theme_options["announcement"] = _SMOKE


def _show_outputs(app, docname: str, source: list[str]) -> None:
    text = source[0]
    for name in (name for pair in _GLUED.findall(text) for name in pair if name):
        other = Path(docname).parent / name
        app.env.note_dependency(str(_executed(app, other.with_suffix("").as_posix())))
    if not is_myst_markdown_notebook(text):
        return
    path = _executed(app, docname)
    app.env.note_dependency(str(path))
    record = freshness.read_record(path)
    if record is None:
        _LOG.warning("not executed yet: run 'mae-book run'", location=docname)
        return
    if record["made_from"]["source"] != freshness.text_digest(text):
        _LOG.warning("outputs are older than the text: run 'mae-book run'", location=docname)
    source[0] = json.dumps(_with_run_box(app, docname, text, path, record))


def _executed(app, docname: str) -> Path:
    return freshness.executed_path(
        Chapter(Path(app.srcdir), docname, ""), app.config.companion_tier
    )


def _with_run_box(app, docname: str, text: str, path: Path, record: dict):
    nb = nbformat.read(path, as_version=4)
    box = _run_box(Chapter(Path(app.srcdir), docname, text), path, record)
    nb.cells.append(nbformat.v4.new_markdown_cell(box, id="run-box"))
    nb.metadata.source_map.append(text.count("\n"))
    return nb


def _run_box(chapter: Chapter, path: Path, record: dict) -> str:
    """Two collapsed boxes: how to run the chapter again, and where its numbers come from."""
    tier, up = record["tier"], "../" * (chapter.docname.count("/"))
    files = parameters.parameter_files(chapter.root, tier, chapter)
    options = "".join(f" -f {name}" for name in files)
    copy = f"_build/{chapter.stem}.ipynb"
    return f"""
:::{{admonition}} Run this chapter again
:class: dropdown run-box

It runs when its text, its parameters, a library or a result that it reads has changed:

```console
$ mae-book run {chapter.stem} --tier {tier}
```

The same with papermill alone. Change a value in the file, or add `-p name value`:

```console
$ jupytext --to ipynb --output {copy} {chapter.source}
$ papermill --cwd {os.path.dirname(chapter.docname)}{options} {copy} _build/{chapter.stem}-run.ipynb
```

{{download}}`The executed notebook <{up}{path.relative_to(chapter.root)}>`
holds every output of this page.
:::

:::{{admonition}} Where this page comes from
:class: dropdown run-box provenance

{_facts(record)}
:::
"""


def _facts(record: dict) -> str:
    made, code = record["made_from"], "`{}`".format
    rows = [
        ("Tier", code(record["tier"])),
        *((f"`{name}`", code(json.dumps(v))) for name, v in made["parameters"].items()),
        ("Commit", code(record["commit"])),
        ("Date", record["date"]),
        ("Device", record["device"]),
        ("Time, peak memory", f"{record['seconds']} s, {record['peak_mb']} MB"),
        ("Versions", ", ".join(f"{name} {v}" for name, v in made["versions"].items())),
        ("Results read", ", ".join(map(code, made["files"])) or "none"),
        ("Key", code(record["key"][:16])),
    ]
    lines = "\n".join(f"| {name} | {value.replace('|', '/')} |" for name, value in rows)
    return f"| What | Value |\n|---|---|\n{lines}"


def _ask_for_descriptions(app, doctree, docname: str) -> None:
    """Pictures need words for those who cannot see them."""
    for cell in doctree.findall(lambda node: "cell_index" in getattr(node, "attributes", ())):
        for image in cell.findall(nodes.image):
            if "jupyter_execute" in image.get("alt", image["uri"]):
                lines = json.loads(_executed(app, docname).read_text())["metadata"]["source_map"]
                place = (docname, lines[cell["cell_index"]] + 2)
                _LOG.warning("a cell's picture has no 'alt' text", location=place)


def _copy_mathjax(app, error) -> None:
    """MathJax from the installed package: 2 of its 24 MB are needed."""
    if error or app.builder.format != "html":
        return
    package = importlib.metadata.distribution("sphinx-mathjax-offline")
    origin = Path(package.locate_file("sphinx-mathjax-offline/static/mathjax"))
    target = Path(app.outdir, "_static/mathjax")
    for pattern in _MATHJAX:
        for file in origin.glob(pattern):
            copy = target / file.relative_to(origin)
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)


def _repair_for_readers(app, error) -> None:
    """Repair what libraries write and assistive software stumbles over."""
    if error or app.builder.format != "html":
        return
    for page in Path(app.outdir, "book").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        repaired = text
        for written, wanted in _REPAIRS.items():
            repaired = repaired.replace(written, wanted)
        if repaired != text:
            page.write_text(repaired, encoding="utf-8")
