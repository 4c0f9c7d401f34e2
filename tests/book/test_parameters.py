"""Wrong parameters end with exit code 2 and one sentence that says what to change."""

import pytest

from mae_lib.book import parameters
from mae_lib.book.chapters import BookError, find_chapters


@pytest.fixture
def fig5(book):
    declared = "seed = 0\nratios = [0.1, 0.5]\nlr = 0.001\nname = 'toy'\nquick = False"
    book.chapter("fig5", parameters=declared)
    return book


@pytest.mark.parametrize(
    "file, text, sentence",
    [
        (
            "params/laptop/fig5.yaml",
            "stpes: 3",
            "params/laptop/fig5.yaml: book/fig5.md has no parameter 'stpes' "
            "(it has seed, ratios, lr, name, quick)",
        ),
        (
            "params/laptop.yaml",
            "sede: 3",
            "params/laptop.yaml: no chapter has a parameter 'sede' "
            "(together they have lr, name, quick, ratios, seed)",
        ),
        (
            "params/laptop/fgi5.yaml",
            "seed: 3",
            "params/laptop/fgi5.yaml: there is no chapter 'fgi5' (the chapters are fig5)",
        ),
        (
            "params/laptop/fig5.yaml",
            "ratios: [0.1]\nlr: 0.1\nratios: [0.5]",
            "params/laptop/fig5.yaml:3: 'ratios' is set twice",
        ),
        (
            "params/laptop/fig5.yaml",
            "lr: 1e-3",
            "params/laptop/fig5.yaml: lr must be a number, got text, '1e-3' "
            "(YAML wants a point and a sign: 1.0e-3)",
        ),
        (
            "params/laptop/fig5.yaml",
            "name: off",
            "params/laptop/fig5.yaml: name must be text, got true or false, False "
            "(put it in quotes)",
        ),
        (
            "params/laptop/fig5.yaml",
            "ratios: 0.5",
            "params/laptop/fig5.yaml: ratios must be a list, got a number, 0.5",
        ),
        (
            "params/laptop/fig5.yaml",
            "ratios: [0.5, half]",
            "params/laptop/fig5.yaml: ratios: each item must be a number, got text, 'half'",
        ),
        (
            "params/laptop/fig5.yaml",
            "seed: true",
            "params/laptop/fig5.yaml: seed must be a whole number, got true or false, True",
        ),
        (
            "params/laptop/fig5.yaml",
            "seed:",
            "params/laptop/fig5.yaml: seed must be a whole number, got nothing",
        ),
        (
            "params/laptop/fig5.yaml",
            "seed: {a: 1}",
            "params/laptop/fig5.yaml: seed must be a plain value or a list, got a mapping",
        ),
        ("params/laptop/fig5.yaml", "a: [1", "params/laptop/fig5.yaml:1: not valid YAML"),
        ("params/laptop/fig5.yaml", "- 1", "params/laptop/fig5.yaml: expected lines 'name: value'"),
        ("params/lpatop/x.yaml", "seed: 1", "params/lpatop/ has no params/lpatop.yaml beside it"),
        ("params/gpu.yaml", "lr: 1.0", "params/laptop.yaml lacks 'lr', which params/gpu.yaml sets"),
    ],
)
def test_a_wrong_parameter_file_is_refused_in_one_sentence(fig5, mae_book, file, text, sentence):
    fig5.write(file, text)
    for verb in ("list", "run"):
        code, _, stderr = mae_book(verb)
        assert (code, stderr) == (2, f"error: {sentence}\n")


@pytest.mark.parametrize(
    "cell, sentence",
    [
        ("seed = max(1, 2)", "book/x.md:11: seed must be a plain value"),
        ("a, b = 1, 2", "book/x.md:11: a parameters cell holds lines 'name = value' only"),
        ("seed = 1\nseed = 2", "book/x.md:12: give each parameter one line of its own"),
        ("seed = (1, 2)", "must be a number, text, truth value or list, got (1, 2)"),
    ],
)
def test_a_chapter_declares_plain_values_only(book, mae_book, cell, sentence):
    book.chapter("x", parameters=cell)
    code, _, stderr = mae_book("list")
    assert code == 2 and sentence in stderr


def test_a_chapter_without_a_parameters_cell_is_refused(book, mae_book):
    path = book.chapter("x")
    path.write_text(path.read_text().replace("[parameters]", "[other]"))
    code, _, stderr = mae_book("list")
    assert code == 2
    assert stderr == "error: book/x.md: expected one cell tagged 'parameters', found 0\n"


def test_code_cells_without_a_kernel_are_refused(book, mae_book):
    book.write("book/x.md", "# Title\n\n```{code-cell} python3\n1\n```\n")
    code, _, stderr = mae_book("list")
    assert code == 2 and "no kernelspec in its front matter" in stderr


def test_two_chapters_of_one_name_are_refused(book, mae_book):
    book.chapter("x")
    book.chapter("part/x")
    code, _, stderr = mae_book("list")
    assert code == 2 and "book/x.md and book/part/x.md have the same name" in stderr


def test_the_stronger_file_wins_and_only_declared_keys_are_passed(fig5):
    fig5.chapter("other", parameters="seed = 0")
    fig5.write("params/laptop.yaml", "seed: 1\nlr: 1\nname: shared\n")
    fig5.write("params/laptop/fig5.yaml", "name: own\nratios: [1, 0.5]\n")
    values = parameters.read_tier(fig5.root, "laptop", find_chapters(fig5.root))
    assert values["other"] == {"seed": 1}
    own = {"seed": 1, "ratios": [1.0, 0.5], "lr": 1.0, "name": "own", "quick": False}
    assert values["fig5"] == own
    assert type(values["fig5"]["lr"]) is float  # a whole number stands for a float


def test_defaults_must_be_those_of_the_laptop_tier(fig5):
    chapters = find_chapters(fig5.root)
    parameters.check_defaults(fig5.root, chapters)
    fig5.write("params/laptop/fig5.yaml", "name: vit\n")
    with pytest.raises(BookError, match="the default name = 'toy' is not that of the laptop tier"):
        parameters.check_defaults(fig5.root, chapters)


def test_tiers_are_listed_from_small_to_large(book):
    for tier in ("paper", "mine", "smoke", "gpu"):
        book.write(f"params/{tier}.yaml", "seed: 0\n")
    assert parameters.find_tiers(book.root) == ["smoke", "laptop", "gpu", "paper", "mine"]
