"""What is said to be treated has a page; the README says the same as the book."""

import re
from pathlib import Path

import pytest

from mae_lib.ledger import paper
from mae_lib.pages import treated
from mae_lib.pages.treated import PAPERS, WORDS, _items, counts, readme, table

ROOT = Path(__file__).parents[2]
ITEMS = [(name, item) for name, items in _items().items() for item in items]


@pytest.mark.parametrize(("name", "item"), ITEMS, ids=lambda x: x if isinstance(x, str) else x[
    "item"])
def test_an_item_has_a_page_in_the_contents_and_says_what_is_missing(name, item):
    assert name in PAPERS and item["status"] in WORDS
    assert ("note" in item) == (item["status"] != "reproduced") or name == "zhang"
    if item["status"] != "open":
        assert (ROOT / f"{item['page']}.md").is_file()
        assert f"file: {item['page']}\n" in (ROOT / "_toc.yml").read_text()


@pytest.mark.parametrize(("seed", "name"), [("S000", "kong"), ("S004", "kong and zhang")])
def test_every_table_that_a_paper_prints_is_named(seed, name):
    printed = {n.partition(".T")[2] for n in paper.names() if n.startswith(f"{seed}.T")}
    named = {item["item"].removeprefix("Table ") for item in _items()[name]}
    assert printed and printed <= named


def test_the_readme_has_the_tables_of_the_book():
    assert readme() in (ROOT / "README.md").read_text()


def test_a_table_links_each_item_to_its_place():
    html = table("kong and zhang")
    assert html.count("<tr>") == 1 + len(_items()["kong and zhang"])
    assert 'href="occlusion_table8.html#fig-rank-reversal"' in html


def test_counts_are_of_all_items(monkeypatch):
    found = counts().set_index("paper")
    assert found.sum(axis=1).tolist() == [len(_items()[name]) for name in PAPERS]
    monkeypatch.setattr(treated, "_items", lambda: {name: [
        {"item": "Table 1", "about": "", "status": "open", "note": "no time"}] for name in PAPERS})
    assert counts()["no"].tolist() == [1] * len(PAPERS)
    assert not re.search("<a ", table("kong"))
