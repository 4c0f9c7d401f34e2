"""`mae-book`: run the chapters of the companion and build its pages."""

import argparse
import os
import signal
import sys
from pathlib import Path

from mae_lib import __version__
from mae_lib.book import freshness, lock, parameters, runner, site
from mae_lib.book.chapters import BookError, Chapter, find_chapters, find_root

_ABOUT = """\
Run the chapters of the MAE companion and build its pages.

A chapter is a text notebook in book/. It is run with the parameters in params/<tier>.yaml and
params/<tier>/<chapter>.yaml, and only when something that it depends on has changed.

  mae-book list                    which chapters are up to date, and why others are not
  mae-book run fig5                run one chapter (result: _build/executed/laptop/book/fig5.ipynb)
  mae-book build                   run what is out of date, then write _build/html
  mae-book build --tier smoke      the same at toy size: minutes, but the numbers mean nothing
  mae-book verify                  recompute a sample of the published results and compare
  mae-book status                  what of a tier has been computed, and how long the rest takes
  mae-book compute                 compute the rest; it may be stopped and started again
  mae-book plan --tier paper       what would run, on what, and hours and memory on larger machines
  torchrun --nproc_per_node 8 -m mae_lib.cli compute --tier paper
                                   the same by eight processes together, one a GPU

Tiers: smoke (only shows that the code runs), laptop (the published book), gpu, paper.
Exit codes: 0 all is well, 1 something failed, 2 a wrong argument or parameter, 130 interrupted.
"""


def main(argv: list[str] | None = None) -> int:
    """Entry point of `mae-book`; returns the exit code."""
    options = _parser().parse_args(argv)
    if argv is None:  # run as a program: being told to end is like Ctrl-C
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
    try:
        _refuse_many_processes(options)
        return options.command(options)
    except BookError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mae-book", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"mae-book {__version__}")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)

    show = verbs.add_parser("list", help="show the chapters and whether they are up to date")
    show.add_argument("--check", action="store_true", help="exit with 1 if one is not up to date")
    show.set_defaults(command=_list)

    run = verbs.add_parser("run", help="run the chapters that are out of date")
    run.add_argument("chapters", nargs="*", metavar="CHAPTER", help="e.g. fig5 (default: all)")
    run.set_defaults(command=_run)

    build = verbs.add_parser("build", help="run what is out of date, then write the pages")
    build.set_defaults(command=_build, chapters=[])

    for verb in (show, run, build):
        verb.add_argument("--tier", default="laptop", help="set of parameters (default: laptop)")
    for verb in (run, build):
        verb.add_argument("-j", "--jobs", type=_count, default=min(2, os.cpu_count() or 1),
                          metavar="N", help="chapters to run at once (default: %(default)s)")
        verb.add_argument("--force", action="store_true", help="run also what is up to date")
        verb.add_argument("--timeout", type=_seconds, metavar="S",
                          help="give up on a cell after S seconds (default: never)")

    verify = verbs.add_parser("verify", help="recompute a sample of the published results")
    verify.add_argument("--full", action="store_true",
                        help="recompute every one of them from nothing (hours)")
    verify.set_defaults(command=_verify)

    status = verbs.add_parser("status", help="how much of a tier has been computed, and how many "
                                             "hours are left")
    status.set_defaults(command=_status)
    compute = verbs.add_parser("compute", help="compute what is missing of a tier, trainings "
                                               "first; may be stopped and started again")
    compute.set_defaults(command=_compute)
    plan = verbs.add_parser("plan", help="what a tier would run, whether its data are there, and "
                                         "what it takes on larger machines; nothing is run")
    plan.set_defaults(command=_show_plan, from_scratch=False)
    for verb in (status, compute, plan):
        verb.add_argument("--tier", default="laptop", help="set of parameters (default: laptop)")
    for verb in (status, compute):
        verb.add_argument("--from-scratch", action="store_true",
                          help="pass over the published results; keep others in .cache/scratch")

    vouch = verbs.add_parser("vouch", help="show that a change of source changed no published "
                                           "number, so that results need not be computed again")
    vouch.add_argument("--why", required=True, metavar="TEXT", help="what was changed")
    vouch.set_defaults(command=_vouch)
    return parser


def _refuse_many_processes(options: argparse.Namespace) -> None:
    if options.command is not _compute and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise BookError("torchrun is for `mae-book compute` only: other commands are one process, "
                        "and find what that has computed")


def _list(options: argparse.Namespace) -> int:
    states = _states(*_read(options), options.tier)
    width = max((len(chapter.stem) for chapter, _, _ in states), default=0)
    for chapter, _, state in states:
        print(f"{chapter.stem:{width}}  {state}")
    return int(options.check and any(state != "fresh" for _, _, state in states))


def _run(options: argparse.Namespace) -> int:
    with lock.only_builder(find_root(Path.cwd())):
        return _run_stale(options)


def _build(options: argparse.Namespace) -> int:
    root = find_root(Path.cwd())
    with lock.only_builder(root):
        if failed := _run_stale(options):
            return failed
        code = site.render(root, options.tier)
    if code:
        print("error: Jupyter Book found the problems above", file=sys.stderr)
        return 1
    print(f"pages: {site.html_folder(root, options.tier).relative_to(root)}/index.html")
    return 0


def _run_stale(options: argparse.Namespace) -> int:
    chapters, values = _read(options)
    wanted = _selected(chapters, options.chapters)
    states = _states({stem: chapters[stem] for stem in wanted}, values, options.tier)
    work = [(c, p) for c, p, state in states if options.force or state != "fresh"]
    if not work:
        print(f"nothing to run: tier {options.tier} is up to date")
        return 0
    outcomes = runner.run_chapters(work, options.tier, jobs=options.jobs, timeout=options.timeout)
    return int(any(outcome.error for outcome in outcomes))


def _verify(options: argparse.Namespace) -> int:
    root = find_root(Path.cwd())
    parameters.check_same_keys(root)
    parameters.check_defaults(root, find_chapters(root))
    print("parameters: the same keys in every tier, and chapters show the laptop tier's values")

    from mae_lib.verify import verify

    return int(not verify(full=options.full))


def _status(options: argparse.Namespace) -> int:
    from mae_lib import progress

    plan = _plan(options)
    print(progress.table(progress.status(plan), plan.workers))
    return 0


def _compute(options: argparse.Namespace) -> int:
    from mae_lib import progress

    progress.compute(_plan(options))
    return 0


def _show_plan(options: argparse.Namespace) -> int:
    from mae_lib import dry_run

    text, complete = dry_run.report(_plan(options))
    print(text)
    return int(not complete)


def _plan(options: argparse.Namespace):
    """The plan of a tier: the parameters of all its chapters together."""
    _, values = _read(options)
    if options.from_scratch:
        folder = find_root(Path.cwd()) / ".cache" / "scratch"
        os.environ |= {"MAE_LIB_PUBLISHED": str(folder / "none"), "MAE_LIB_CACHE": str(folder)}
    from mae_lib.studies import Plan

    return Plan.of({name: value for chapter in values.values() for name, value in chapter.items()})


def _vouch(options: argparse.Namespace) -> int:
    from mae_lib.vouch import vouch

    return int(not vouch(options.why))


def _read(options: argparse.Namespace) -> tuple[dict[str, Chapter], dict[str, dict]]:
    root = find_root(Path.cwd())
    chapters = find_chapters(root)
    values = parameters.read_tier(root, options.tier, chapters)
    parameters.check_same_keys(root)
    return chapters, values


def _selected(chapters: dict[str, Chapter], names: list[str]) -> list[str]:
    for name in names:
        if name not in chapters:
            raise BookError(f"unknown chapter {name!r}: the book has {', '.join(chapters)}")
    return names or list(chapters)


def _states(chapters: dict[str, Chapter], values: dict, tier: str) -> list[tuple]:
    return [(c, values[s], freshness.state(c, tier, values[s])) for s, c in chapters.items()]


def _interrupted() -> int:
    """Kernels run in threads that cannot be asked to end: end them, and then ourselves."""
    runner.stop_kernels()
    print("interrupted: chapters that had ended are kept", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(130)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
