"""What holds for the real book: its configuration, its chapters and the pages built from them.

Tests of the pages need `mae-book build`, which `make test` runs first.
"""

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jupyter_book
import pytest
import yaml

from mae_lib.book import freshness, parameters
from mae_lib.book.chapters import Chapter, find_chapters, notebook

ROOT = Path(__file__).parents[1]
HTML = ROOT / "_build/html"
CHAPTERS = find_chapters(ROOT)
PAGES = sorted(path.relative_to(HTML).as_posix() for path in (HTML / "book").rglob("*.html"))
COVERAGE = yaml.safe_load((ROOT / "book/coverage.yml").read_text())
ITEMS = [entry for entries in COVERAGE.values() for entry in entries]
needs_pages = pytest.mark.skipif(not PAGES, reason="no pages yet: run 'make book'")
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS.values(), ids=list(CHAPTERS))
each_page = pytest.mark.parametrize("page", PAGES)


class Page(HTMLParser):
    """Ids, links, sources and pictures of one page."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids, self.links, self.sources, self.pictures = set(), [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in attributes:
            self.sources.append(attributes["src"])
        if tag == "link" and attributes.get("rel") not in ("canonical", "search"):
            self.sources.append(attributes["href"])
        if tag == "img":
            self.pictures.append(attributes)


@cache
def read_page(name: str) -> Page:
    return Page(HTML / name)


def toc_pages() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())

    def files(node):
        yield from (node[name] for name in ("root", "file") if name in node)
        for children in (node.get("parts", []), node.get("chapters", []), node.get("sections", [])):
            for child in children:
                yield from files(child)

    return list(files(toc))


def test_the_configuration_has_only_keys_that_jupyter_book_knows():
    known = yaml.safe_load((Path(jupyter_book.__file__).parent / "default_config.yml").read_text())
    known |= {"bibtex_bibfiles": None}
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert set(config) <= set(known)
    for name, part in config.items():
        assert not isinstance(known[name], dict) or set(part) <= set(known[name]), name


def test_every_page_is_in_the_table_of_contents_once_and_the_other_way_round():
    texts = (path.relative_to(ROOT) for path in (ROOT / "book").rglob("*.md"))
    texts = [path.with_suffix("") for path in texts if not path.parts[1].startswith("_")]
    assert sorted(toc_pages()) == sorted(map(Path.as_posix, texts))


def test_the_four_tiers_set_the_same_keys_and_the_laptop_tier_is_the_default():
    assert parameters.find_tiers(ROOT)[:4] == ["smoke", "laptop", "gpu", "paper"]
    parameters.check_same_keys(ROOT)
    parameters.check_defaults(ROOT, CHAPTERS)
    for tier in parameters.find_tiers(ROOT):
        parameters.read_tier(ROOT, tier, CHAPTERS)


@each_chapter
def test_a_chapter_is_short_and_plain(chapter: Chapter):
    cells = notebook(chapter).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert re.search(r"^## ", prose, re.MULTILINE), "the theme's script needs a section"
    for cell in cells:
        if cell.cell_type != "code":
            continue
        where = f"{chapter.source}:{cell.metadata.chapter_line}"
        lines = cell.source.splitlines()
        parameters_cell = "parameters" in cell.metadata.get("tags", [])  # hidden on the page
        assert parameters_cell or len(lines) <= 15, f"{where}: {len(lines)} lines"
        assert max(map(len, lines)) <= 100, where
        assert not re.search(r"^\s*(def|class) |pip install|tqdm\.(auto|notebook)|https?://",
                             cell.source, re.MULTILINE), where


@each_chapter
@needs_pages
def test_a_chapter_is_executed_and_up_to_date_without_error_or_warning(chapter: Chapter):
    values = parameters.read_tier(ROOT, "laptop", CHAPTERS)[chapter.stem]
    assert freshness.state(chapter, "laptop", values) == "fresh"
    nb = json.loads(freshness.executed_path(chapter, "laptop").read_text())
    for cell in nb["cells"]:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error" and output.get("name") != "stderr", output


def test_coverage_lists_every_item_of_each_paper_once():
    def numbered(kind: str, numbers) -> list[str]:
        return [f"{kind} {n}" for n in numbers]

    expected = {
        "kong": [*numbered("Figure", range(1, 11)), *numbered("Table", range(1, 6)),
                 *numbered("Algorithm", (1, 2)), *numbered("Theorem", (1, 2, 3))],
        "kong and zhang": ["Equations 3 to 8", "Figure 1", *numbered("Table", range(1, 9))],
        "he": [*numbered("Figure", (5, 7)), *(f"Table 1{c}" for c in "abcdef"), "Table 2"],
        "xie": ["Table 2"],
        "feichtenhofer": ["Masking ratio", "Table 2a", "Figure 5"],
        "tong": ["Tube masking", "Mask sampling", "Data sizes"], "gupta": ["Method", "Figure 2"],
        "zhang": numbered("Theorem", (3.2, 3.3, 4.1, 4.2))}
    assert {name: [e["item"] for e in entries] for name, entries in COVERAGE.items()} == expected
    for entry in ITEMS:
        assert entry["status"] in ("reproduced", "partly", "open"), entry
        assert "note" in entry or entry["status"] == "reproduced", entry
        assert ("page" in entry) == (entry["status"] != "open"), entry


@needs_pages
@pytest.mark.parametrize("entry", [e for e in ITEMS if "page" in e],
                         ids=lambda e: f"{e['page']}: {e['item']}")
def test_what_coverage_names_is_on_its_page(entry):
    assert entry["label"] in read_page(f"{entry['page']}.html").ids


@needs_pages
def test_no_page_of_a_removed_text_is_left():
    assert sorted(f"{name}.html" for name in toc_pages()) == PAGES


@each_page
def test_links_inside_the_book_lead_somewhere(page: str):
    for link in read_page(page).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (HTML / page).parent / unquote(parts.path) if parts.path else HTML / page
        assert target.exists(), link
        if parts.fragment and target.suffix == ".html":
            name = target.resolve().relative_to(HTML.resolve()).as_posix()
            assert unquote(parts.fragment) in read_page(name).ids, link


@each_page
def test_a_page_loads_nothing_from_another_site(page: str):
    outside = [s for s in read_page(page).sources if re.match(r"(https?:)?//", s)]
    assert outside == []


@each_page
def test_every_picture_is_described(page: str):
    for picture in read_page(page).pictures:
        words = picture.get("alt", "")
        assert words and not words.endswith((".png", ".svg", ".jpg")), picture.get("src")
