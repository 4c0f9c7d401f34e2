"""The table of claims in a browser: filters, keys, a telephone, both themes, and without script."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from mae_lib.ledger import tally
from mae_lib.ledger.claims import all_claims
from mae_lib.ledger.verdicts import Verdict, all_of, effect, exact
from mae_lib.pages import verdicts as pages

pytestmark = pytest.mark.browser
STATIC = Path(__file__).parents[2] / "book/_static"
CLAIMS = all_claims()
FULL = len(CLAIMS)
GOOD = all_of({"0.1 < 0.25": effect([0.3, 0.31, 0.29]), "0.25 < 0.5": effect([0.5, 0.4, 0.6])}, 0.1)
FIRST = {"K-R1": GOOD, "K-R2": all_of({"a < b": effect([-1, -1.1, -0.9])}, 0.1),
         "K-R3": all_of({"a < b": effect([-1, 1.1, 0.3])}, 0.1),
         "K-A1": Verdict("void", reason="its null fails")}
SECOND = {"K-R1": FIRST["K-R2"], "K-R2": FIRST["K-R3"], "K-R3": FIRST["K-R3"]}
# What the theme's colours are, where its style is not loaded.
COLOURS = {"light": "--pst-color-background: #fff; --pst-color-border: #ccc;",
           "dark": "--pst-color-background: #14181e; --pst-color-border: #555;"}
SHOWN = """() => [...document.querySelectorAll(".ledger tbody tr")]
  .filter((row) => row.checkVisibility()).map((row) => row.id.slice(6))"""
RESET = "document.querySelector('.ledger-count').textContent.startsWith('129 of')"
CUT_OFF = """() => [...document.querySelectorAll(".ledger :is(td, th[scope=row], label)")]
  .filter((cell) => cell.scrollWidth > cell.clientWidth + 1 ||
    cell.getBoundingClientRect().right > innerWidth).map((cell) => cell.textContent.slice(0, 60))"""


def html(theme: str, script: str) -> str:
    ledger = tally.complete({"Menagerie": FIRST, "Fashion-MNIST": SECOND}, {"K-T1": exact(0, 9)})
    style = "".join((STATIC / name).read_text() for name in ("companion.css", "ledger.css"))
    table = (pages.ledger_table(ledger, "Every claim.")
             + pages.summary_table(ledger, "By theme."))
    return (f"<!doctype html><html lang='en' data-theme='{theme}' style='{COLOURS[theme]}'><head>"
            f"<meta name='viewport' content='width=device-width'><title>Claims</title>"
            f"<style>{style}\nbody {{ background: var(--pst-color-background); }}</style>"
            f"<script>{script}</script></head><body><main class='bd-content'>"
            "<article class='bd-article'><h1>Claims</h1><div class='cell_output'>"
            f"<div class='output text_html'>{table}</div></div></article></main></body></html>")


@pytest.fixture(scope="module")
def show(browser):
    context, problems = browser.new_context(), []

    def load(width: int = 1280, theme: str = "light", script: bool = True):
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.set_viewport_size({"width": width, "height": 900})
        page.set_content(html(theme, (STATIC / "ledger.js").read_text() if script else ""))
        return page

    yield load
    context.close()
    assert problems == []


@pytest.fixture(scope="module")
def one(show):
    return show()


@pytest.fixture
def page(one):
    """The page as it is when it has just been opened."""
    one.evaluate("""() => {
      document.querySelector(".ledger-filter").reset();
      document.activeElement.blur();
    }""")
    one.wait_for_function(RESET)
    return one


def test_without_script_the_table_is_whole_and_has_no_form(show):
    page = show(script=False)
    assert page.evaluate(SHOWN) == [c.id for c in CLAIMS]
    assert not page.locator(".ledger-filter").is_visible()


@pytest.mark.parametrize(("label", "choice", "ids"), [
    ("Verdict", "not supported", {"K-R1", "K-R2"}), ("Verdict", "supported", {"K-T1", "K-R1"}),
    ("Verdict", "inconclusive", {"K-R2", "K-R3"}), ("Verdict", "void", {"K-A1"}),
    ("Source", "S004", {c.id for c in CLAIMS if c.id.startswith("O-")}),
    ("Place", "S000.T3", {"K-D1", "K-D2", "K-D3", "K-D7"}),
    ("Importance", "context", {c.id for c in CLAIMS if c.tier == "context"})])
def test_each_filter_leaves_what_fits(page, label, choice, ids):
    page.get_by_role("combobox", name=label).select_option(choice)
    assert set(page.evaluate(SHOWN)) == ids
    assert page.get_by_role("status").inner_text() == f"{len(ids)} of {FULL} claims"


def test_words_are_looked_for_everywhere_in_any_order(page):
    page.get_by_role("searchbox", name="Text").fill("coupled  PATCH")
    wanted = set(page.evaluate(SHOWN))
    assert {"K-R8", "K-S4"} <= wanted and "K-R1" not in wanted
    page.get_by_role("searchbox", name="Text").fill("null fails")
    assert page.evaluate(SHOWN) == ["K-A1"]


def test_filters_work_together_and_can_be_taken_back(page):
    page.get_by_role("combobox", name="Verdict").select_option("not supported")
    page.get_by_role("searchbox", name="Text").fill("ssim")
    assert page.evaluate(SHOWN) == ["K-R1"]
    page.get_by_role("searchbox", name="Text").fill("zebra")
    assert page.get_by_role("status").inner_text() == "No claim fits."
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function(RESET)
    assert len(page.evaluate(SHOWN)) == FULL


def test_keys_are_enough(page):
    page.locator("h1").click()  # from the top of the page
    page.keyboard.press("Tab")
    page.keyboard.type("void")
    assert page.evaluate(SHOWN) == ["K-A1"]
    for _ in range(4):
        page.keyboard.press("Tab")
    page.keyboard.type("zebra")
    assert page.evaluate(SHOWN) == []
    page.keyboard.press("Enter")  # does not leave the page
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.wait_for_function(RESET)
    assert len(page.evaluate(SHOWN)) == FULL


def test_the_number_shown_is_announced(page):
    assert page.get_by_role("status").inner_text() == f"{FULL} of {FULL} claims"


def test_on_a_telephone_rows_are_cards_that_fit(show):
    page = show(390)
    page.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate(CUT_OFF) == []
    boxes = [item.bounding_box() for item in page.locator(".ledger-filter :is(select, input, "
                                                          "button)").all()]
    assert all(box["height"] >= 44 for box in boxes)
    page.get_by_role("combobox", name="Verdict").select_option("void")
    assert page.evaluate(SHOWN) == ["K-A1"]


@pytest.mark.parametrize(("width", "theme"), [(1280, "dark"), (390, "light")])
def test_axe_finds_nothing(show, width, theme):
    page = show(width, theme)
    page.get_by_role("combobox", name="Place").select_option("S000.F5")
    page.evaluate("document.querySelectorAll('.ledger tr[hidden]').forEach((r) => r.remove())")
    page.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [n["target"] for n in v["nodes"]]) for v in found] == []
