import ast
import random
import textwrap

import pytest

from mae_lib import sources

CODE = '''"""Module text."""
import os  # the system


def area(r):
    """Docstring é
    of two lines."""
    # a comment
    text = """kept

    # not a comment
    """
    return 3 * r ** 2, text, "#"
'''


@pytest.fixture
def digest(tmp_path):
    def of(code):
        path = tmp_path / "module.py"
        path.write_text(code, encoding="utf-8")
        return sources.source_digest(path)

    return of


@pytest.mark.parametrize(
    "old, new",
    [
        ('"""Module text."""\n', ""),
        ("  # the system", ""),
        ("# the system", "# another one"),
        ("    # a comment\n", "\n\n"),
        ("Docstring é\n    of two lines.", "One line"),
        ("import os", "\n\nimport os"),
        ("import os  # the system", "import os   "),
    ],
)
def test_comments_docstrings_and_blank_lines_do_not_count(digest, old, new):
    assert old in CODE
    assert digest(CODE.replace(old, new)) == digest(CODE)


@pytest.mark.parametrize(
    "old, new",
    [
        ("3 * r", "4 * r"),
        ('"#"', '"# "'),
        ("# not a comment", "# another text"),
        ('"""kept\n\n', '"""kept\n'),
        ("kept\n", "kept  \n"),
        ("import os", "import  sys"),
    ],
)
def test_every_change_of_the_code_counts(digest, old, new):
    assert old in CODE
    assert digest(CODE.replace(old, new)) != digest(CODE)


def test_line_endings_and_byte_order_mark_do_not_count(digest, tmp_path):
    path = tmp_path / "windows.py"
    path.write_bytes(b"\xef\xbb\xbf" + CODE.replace("\n", "\r\n").encode())
    assert sources.source_digest(path) == digest(CODE)


def test_docstrings_of_one_line_functions_and_formatted_strings(digest):
    assert digest('def f(): "a"; return 1\n') != digest('def f(): "a"; return 2\n')
    assert digest('x = f"""a\n\n{1}"""\n') != digest('x = f"""a\n{1}"""\n')
    assert digest('x = ("a"  # one\n     "b")\n') == digest('x = ("a"\n     "b")\n')


def test_own_files_with_random_comments_keep_their_digest(digest):
    rng = random.Random(0)
    for path in sorted(sources.PACKAGE.rglob("*.py"))[:40]:
        text = path.read_text(encoding="utf-8")
        ends = {n.end_lineno for n in ast.parse(text).body}
        lines = text.split("\n")
        for number in sorted(ends, reverse=True):
            if rng.random() < 0.5:
                lines.insert(number, "# a remark\n")
        assert digest("\n".join(lines)) == sources.source_digest(path), path


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(ValueError, match="broken.py is not valid Python"):
        sources.source_digest(tmp_path / "broken.py")


@pytest.fixture
def package(tmp_path):
    files = {
        "pkg/__init__.py": "__version__ = '1'\n",
        "pkg/a.py": "import numpy\nfrom pkg.room import b\n",
        "pkg/room/__init__.py": "",
        "pkg/room/b.py": "def f():\n    from ..late import thing\n    return thing\n",
        "pkg/room/lonely.py": "import pkg.a\n",
        "pkg/late.py": "import pkg.a\nthing = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path / "pkg"


def test_the_closure_follows_absolute_relative_late_and_circular_imports(package):
    closure = sources.import_closure("pkg.a", package)
    assert list(closure) == ["pkg.a", "pkg.late", "pkg.room", "pkg.room.b"]


def test_the_closure_changes_with_the_modules_in_it_only(package):
    before = sources.import_closure("pkg.a", package)
    (package / "room/lonely.py").write_text("import pkg.late\n")
    (package / "__init__.py").write_text("__version__ = '2'\n")
    assert sources.import_closure("pkg.a", package) == before
    (package / "late.py").write_text("import pkg.a\nthing = 2\n")
    after = sources.import_closure("pkg.a", package)
    assert {name for name in after if after[name] != before[name]} == {"pkg.late"}


def test_an_unknown_module_is_refused(package):
    with pytest.raises(ValueError, match="got 'pkg.nothing'"):
        sources.import_closure("pkg.nothing", package)


def test_a_file_has_a_module_name():
    assert sources.module_name(sources.PACKAGE / "models/masks.py") == "mae_lib.models.masks"
    assert sources.module_name(sources.PACKAGE / "models/__init__.py") == "mae_lib.models"
