"""Run one chapter with papermill; keep its executed notebook with a record of how it was made."""

import json
import logging
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from mae_lib.book import freshness
from mae_lib.book.chapters import Chapter, notebook

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_BARS = re.compile(r"[^\r\n]*\d+%\|[^\r\n]*")  # tqdm's
_PROBE = "from mae_lib.book import probe\nprint(probe.report({root!r}))"


@dataclass(frozen=True)
class Outcome:
    """How running a chapter ended; `error` is empty when it went well."""

    chapter: Chapter
    seconds: float
    peak_mb: int = 0
    error: str = ""
    details: str = ""


def execute(
    chapter: Chapter, tier: str, parameters: dict[str, Any], timeout: float | None = None
) -> Outcome:
    """Run `chapter` and write `_build/executed/<tier>/<docname>.ipynb`.

    timeout: seconds that one cell may take; None for no limit.
    When a cell fails, what ran so far is kept beside it as `*.failed.ipynb`, and an executed
    notebook of an earlier run stays as it was.
    """
    target = freshness.executed_path(chapter, tier)
    target.parent.mkdir(parents=True, exist_ok=True)
    part, failed = (target.with_suffix(f".{kind}.ipynb") for kind in ("part", "failed"))
    started = time.time()
    try:
        nb = _run(chapter, parameters, part, timeout)
    except Exception as error:
        problem, details = _explain(error, part, chapter)
        if part.exists():
            part.replace(failed)
            details += f"\nwhat ran so far: {failed.relative_to(chapter.root)}"
        return Outcome(chapter, time.time() - started, 0, problem, details)
    told = _take_probe(nb)
    if told is None:
        part.replace(failed)
        return Outcome(chapter, time.time() - started, 0, _ended_early(nb, chapter))
    record = _record(chapter, tier, parameters, told, started)
    _write(_tidy(nb, chapter, parameters, record), part, target)
    failed.unlink(missing_ok=True)
    return Outcome(chapter, record["seconds"], record["peak_mb"])


def running_cell(chapter: Chapter, tier: str) -> str:
    """'cell 3 of 8' and the last line that it printed, while the chapter runs; '' if unknown."""
    part = freshness.executed_path(chapter, tier).with_suffix(".part.ipynb")
    try:
        nb = nbformat.read(part, as_version=4)
    except (OSError, ValueError):
        return ""
    cell = _last_started(nb.cells)
    if cell is None:
        return ""
    text = "".join(o.get("text", "") for o in cell.outputs if o.output_type == "stream")
    lines = re.split(r"[\r\n]+", _ANSI.sub("", text).strip())
    return f"{_place(cell, nb)} {lines[-1][:100]}".rstrip()


def _run(chapter: Chapter, parameters: dict, part: Path, timeout: float | None):
    import papermill
    from jupyter_core.utils import ensure_event_loop

    logging.getLogger("papermill").setLevel(logging.ERROR)
    nb = notebook(chapter)
    nb.cells.append(nbformat.v4.new_code_cell(_PROBE.format(root=str(chapter.root)), id="probe"))
    try:
        return papermill.execute_notebook(
            nb,
            str(part),
            parameters,
            progress_bar=False,
            kernel_name="python3",
            start_timeout=120,
            execution_timeout=timeout,
            autosave_cell_every=10,  # seconds; `running_cell` reads what is saved
            shutdown_kernel="immediate",  # asking politely costs 2.5 s a chapter
            # Not cwd=: papermill would chdir the whole process, which other threads share.
            resources={"metadata": {"path": str((chapter.root / chapter.docname).parent)}},
            extra_arguments=["--IPKernelApp.log_level=40"],
        )
    finally:
        ensure_event_loop().close()  # nbclient leaves this thread's open


def _take_probe(nb) -> dict | None:
    """Remove the last cell and return what it told; None when it did not run."""
    outputs = nb.cells.pop().outputs
    lines = "".join(o.get("text", "") for o in outputs if o.get("name") == "stdout").splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        return None


def _record(chapter: Chapter, tier: str, parameters: dict, told: dict, started: float) -> dict:
    from mae_lib.runs import commit  # brings numpy, which nothing else here needs

    made_from = freshness.made_from(
        chapter, parameters, told["modules"], told["files"], told["versions"]
    )
    for name in told["modules"]:
        if (chapter.root / name).stat().st_mtime > started:  # edited meanwhile: not what ran
            made_from["modules"][name] = "changed during the run"
    return {
        "key": freshness.key(made_from),
        "made_from": made_from,
        "tier": tier,
        "commit": commit(),
        "date": _date(),
        "device": told["device"],
        "seconds": round(time.time() - started, 1),
        "peak_mb": told["peak_mb"],
    }


def _date() -> str:
    """Today in UTC, or the date that SOURCE_DATE_EPOCH asks for."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _tidy(nb, chapter: Chapter, parameters: dict, record: dict):
    """Drop what differs from run to run, keep line numbers true, attach the record."""
    lines = nb.metadata.source_map
    for index, cell in enumerate(nb.cells):
        if "injected-parameters" in cell.metadata.get("tags", []):
            lines.insert(index, lines[index - 1])
            cell.id = "injected-parameters"
            if parameters == chapter.defaults:  # it would only repeat the cell above
                cell.metadata.tags.append("remove-cell")
        for name in ("papermill", "execution", "chapter_cell", "chapter_line"):
            cell.metadata.pop(name, None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _only_bars(output)]
    nb.metadata.pop("papermill", None)
    nb.metadata["companion"] = record
    return nb


def _only_bars(output) -> bool:
    """Progress bars are news while a cell runs and noise afterwards."""
    text = output.get("text", "") if output.get("name") == "stderr" else "kept"
    return not _BARS.sub("", _ANSI.sub("", text)).strip()


def _write(nb, part: Path, target: Path) -> None:
    nbformat.write(nb, part)
    part.replace(target)


def _explain(error: Exception, part: Path, chapter: Chapter) -> tuple[str, str]:
    """One sentence with chapter, line and cell, and the traceback."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    sentence, details = f"{type(error).__name__}: {error}", ""
    if isinstance(error, PapermillExecutionError):
        sentence = f"{error.ename}: {error.evalue}"
        details = _ANSI.sub("", "\n".join(error.traceback))
    elif isinstance(error, CellTimeoutError):
        sentence = "took longer than --timeout allows"
    elif isinstance(error, DeadKernelError):
        sentence = "its process died (killed, or out of memory)"
    nb = nbformat.read(part, as_version=4) if part.exists() else nbformat.v4.new_notebook()
    return f"{_where(nb, chapter, details)}: {sentence}", details


def _ended_early(nb, chapter: Chapter) -> str:
    return f"{_where(nb, chapter, '')}: ended the chapter early (a call of exit?)"


def _where(nb, chapter: Chapter, traceback: str) -> str:
    """'book/fig5.md:39: cell 3 of 4' for the cell that ran last.

    A killed kernel's cell is marked "completed", so that the status of cells says nothing.
    """
    cell = _last_started(nb.cells)
    if cell is None:
        return chapter.source
    return f"{chapter.source}:{_line(cell, traceback)}: {_place(cell, nb)}"


def _last_started(cells):
    """The cell that began to run last, if it is one of the chapter's own; else None."""
    started = [cell for cell in cells if cell.metadata.get("papermill", {}).get("start_time")]
    own = [cell for cell in started if "chapter_cell" in cell.metadata]
    return own[-1] if own and own[-1] is started[-1] else None


def _line(cell, traceback: str) -> int:
    first = cell.metadata.get("chapter_line", 1)
    inside = re.findall(r"Cell In\[\d+\], line (\d+)", traceback)
    return first + int(inside[0]) - 1 if inside else first


def _place(cell, nb) -> str:
    total = sum("chapter_cell" in c.metadata for c in nb.cells)
    return f"cell {cell.metadata.get('chapter_cell', '?')} of {total}"
