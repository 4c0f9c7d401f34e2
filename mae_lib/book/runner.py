"""Run several chapters at once, one kernel each, one line of news for each that ends."""

import os
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from mae_lib.book.chapters import Chapter
from mae_lib.book.execute import Outcome, execute, running_cell

_NEWS_EVERY = 60.0  # seconds between lines on chapters that still run


def run_chapters(
    work: list[tuple[Chapter, dict[str, Any]]], tier: str, *, jobs: int, timeout: float | None
) -> list[Outcome]:
    """Run every (chapter, parameters) of `work`; a failure does not stop the others.

    Chapters that gather what others computed come when those are done.
    """
    _set_environment(jobs)
    done: list[Outcome] = []
    pool = ThreadPoolExecutor(jobs)
    begun = time.time()
    try:
        for gathers in (False, True):
            waiting = {pool.submit(execute, c, tier, p, timeout): c
                       for c, p in work if c.gathers is gathers}
            while waiting:
                ended, _ = wait(waiting, _NEWS_EVERY, FIRST_COMPLETED)
                if not ended:
                    _say_what_runs(waiting, tier, time.time() - begun)
                for future in ended:
                    del waiting[future]
                    done.append(future.result())
                    _say_how_it_ended(done, len(work))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return done


def stop_kernels() -> None:
    """End the processes that this one started, when it is interrupted."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue


def _set_environment(jobs: int) -> None:
    """Kernels inherit these; a number of threads that is set already stays."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # else no figures
    os.environ["PYTHONHASHSEED"] = "0"


def _say_how_it_ended(done: list[Outcome], total: int) -> None:
    outcome = done[-1]
    count = f"[{len(done)}/{total}]"
    if outcome.error:
        print(f"{count} FAILED {outcome.error}", file=sys.stderr, flush=True)
        if outcome.details:
            print(outcome.details, file=sys.stderr, flush=True)
        return
    chapter, seconds, peak = outcome.chapter.source, outcome.seconds, outcome.peak_mb
    print(f"{count} {chapter}  {seconds:.1f} s  {peak} MB", flush=True)


def _say_what_runs(waiting: dict[Future, Chapter], tier: str, seconds: float) -> None:
    for future, chapter in waiting.items():
        if future.running():
            where = running_cell(chapter, tier)
            print(f"      {chapter.source}  {seconds / 60:.0f} min  {where}".rstrip(), flush=True)
