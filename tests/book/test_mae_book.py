"""The command line as a newcomer meets it."""

import subprocess
import sys

import mae_lib


def test_help_says_what_it_does_and_shows_every_command(mae_book):
    code, stdout, _ = mae_book("--help")
    assert code == 0
    for word in ("list", "run", "build", "verify", "--version", "Exit codes", "params/<tier>.yaml"):
        assert word in stdout
    assert max(map(len, stdout.splitlines())) <= 100


def test_version(mae_book):
    assert mae_book("--version")[:2] == (0, f"mae-book {mae_lib.__version__}\n")


def test_unknown_names_end_with_2_and_the_known_ones(book, mae_book):
    book.chapter("fig5")
    book.write("params/smoke.yaml", "seed: 0\n")
    for verb in ("list", "run", "build"):
        code, _, stderr = mae_book(verb, "--tier", "lap")
        assert (code, stderr) == (2, "error: unknown tier 'lap': params/ has smoke, laptop\n")
    code, _, stderr = mae_book("run", "fig6")
    assert (code, stderr) == (2, "error: unknown chapter 'fig6': the book has fig5\n")
    assert mae_book("nonsense")[0] == 2
    assert mae_book("run", "-j", "0")[0] == 2
    assert mae_book("run", "--timeout", "never")[0] == 2


def test_outside_a_book_it_says_where_to_go(mae_book, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    code, _, stderr = mae_book("list")
    assert code == 2 and "run mae-book inside the repository" in stderr


def test_it_works_from_a_folder_inside_the_book(book, mae_book, monkeypatch):
    book.chapter("fig5")
    monkeypatch.chdir(book.root / "book")
    assert mae_book("list")[:2] == (0, "fig5  missing\n")


def test_tiers_stand_beside_each_other(book, mae_book):
    book.chapter("x", "print(seed)")
    book.write("params/smoke.yaml", "seed: 7\n")
    assert mae_book("run")[0] == mae_book("run", "x", "--tier", "smoke")[0] == 0
    assert '"0\\n"' in book.executed("x").read_text()
    assert '"7\\n"' in book.executed("x", "smoke").read_text()


def test_verify_checks_parameters_and_published_results(book, mae_book, monkeypatch):
    book.chapter("x", parameters="seed = 0")
    asked = []
    monkeypatch.setattr("mae_lib.verify.verify", lambda *, full: asked.append(full) or full)
    assert mae_book("verify")[0] == 1 and mae_book("verify", "--full")[0] == 0
    assert asked == [False, True]
    book.chapter("x", parameters="seed = 1")
    code, _, stderr = mae_book("verify")
    assert code == 2 and "the default seed = 1 is not that of the laptop tier, 0" in stderr


def test_the_command_imports_neither_torch_nor_papermill_to_list():
    code = (
        "import sys, mae_lib.cli; "
        "sys.exit(sorted({'torch', 'numpy', 'papermill', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torchrun_is_for_computing_only(book, mae_book, monkeypatch):
    book.chapter("fig5")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for verb in ("list", "run", "build", "status"):
        code, _, stderr = mae_book(verb)
        assert code == 2 and "torchrun is for `mae-book compute` only" in stderr
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert mae_book("list")[0] == 0
