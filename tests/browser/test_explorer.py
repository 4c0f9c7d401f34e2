"""The explorer in the page finds what Python finds, by click and by key."""

import itertools
import json

import pytest
from axe_playwright_python.sync_playwright import Axe

from mae_lib.theory.explorer import mask_explorer
from mae_lib.theory.families import FIGURE4_MASKS, figure4
from mae_lib.theory.graph import HierGraph
from mae_lib.theory.search import locate

pytestmark = pytest.mark.browser
SKIPPING = HierGraph([("z1", "z2"), ("z1", "x1"), ("z2", "z3"), ("z2", "x2"), ("z4", "z3"),
                      ("z4", "x5"), ("z3", "x2"), ("z3", "x3"), ("z5", "x4"), ("z5", "x1")],
                     ["x1", "x2", "x3", "x4", "x5"])
# Clicks what differs from the wanted mask; returns what the page then says it found.
SET_MASK = """([root, wanted]) => {
  for (const button of root.querySelectorAll(".mae-pixels button")) {
    const pressed = button.getAttribute("aria-pressed") === "true";
    if (pressed !== wanted.includes(button.textContent)) button.click();
  }
  return root.dataset.found;
}"""

# What JupyterLab does with HTML: scripts made anew, before the output is on the page.
AS_A_NOTEBOOK = """(html) => {
  const output = document.createElement("div");
  output.innerHTML = html;
  for (const old of [...output.querySelectorAll("script")]) {
    const made = document.createElement("script");
    for (const { name, value } of old.attributes) made.setAttribute(name, value);
    made.textContent = old.textContent;
    old.replaceWith(made);
  }
  document.body.append(output);
}"""
DARK = {"book": ("<html lang='en' data-theme='dark'>", "--pst-color-text-base: #ced6dd; "
                 "--pst-color-background: #14181e;"),
        "notebook": ("<html lang='en'>", "--jp-ui-font-color0: #fff; --jp-layout-color0: #111;")}


@pytest.fixture
def show(browser):
    page = browser.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))

    def load(*explorers):
        page.set_content("<!doctype html><html lang='en'><title>x</title><body>"
                         + "".join(explorer.html for explorer in explorers) + "</body></html>")
        return page

    yield load
    page.close()
    assert problems == []


@pytest.mark.parametrize("graph", [figure4(), figure4("crossed"), SKIPPING],
                         ids=["trees", "crossed", "skipping"])
def test_every_mask_agrees_with_python(show, graph):
    page = show(mask_explorer(graph))
    root = page.query_selector(".mae-explorer")
    for count in range(len(graph.pixels) + 1):
        for hidden in itertools.combinations(graph.pixels, count):
            said = json.loads(page.evaluate(SET_MASK, [root, list(hidden)]))
            found = locate(graph, hidden)
            assert {name: set(members) for name, members in said.items()} == {
                name: set(getattr(found, name)) for name in ("c", "shared", "s_m", "s_mc")}


def test_the_papers_masks_have_buttons_and_the_words_say_what_was_found(show):
    page = show(mask_explorer(figure4(), FIGURE4_MASKS))
    words = page.locator("p[aria-live]")
    for label, level in (("aggressive", "z6, at mean height 1."), ("between", "z1, z2, at mean "
                                                                   "height 2.")):
        page.get_by_role("button", name=label).click()
        assert f"Located (c): {level}" in words.inner_text()
    before = words.inner_text().partition("Located")[2].partition(" All")[0]
    page.get_by_role("button", name="complement").click()
    after = words.inner_text()
    assert "Hidden: x3, x4." in after
    assert before == after.partition("Located")[2].partition(" All")[0]
    page.get_by_role("button", name="show all").click()
    assert "Hidden: nothing. Located (c): nothing." in words.inner_text()


def test_keys_are_enough(show):
    page = show(mask_explorer(figure4()))
    pixel = page.get_by_role("button", name="x2", exact=True)
    pixel.focus()
    for key, pressed in (("Space", "true"), ("Enter", "false"), ("Space", "true")):
        page.keyboard.press(key)
        assert pixel.get_attribute("aria-pressed") == pressed
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert "Hidden: x2, x3. Located (c): z3," in page.locator("p[aria-live]").inner_text()
    assert page.get_by_role("img").get_attribute("aria-label").endswith("in c: z3")


def test_two_on_one_page_do_not_meet(show):
    page = show(mask_explorer(figure4(), FIGURE4_MASKS), mask_explorer(SKIPPING))
    first, second = page.locator("p[aria-live]").all()
    page.get_by_role("button", name="x5").nth(1).click()
    assert "Hidden: x2, x3." in first.inner_text() and "Hidden: x5." in second.inner_text()


def test_pixels_are_large_enough_for_a_thumb(show):
    page = show(mask_explorer(figure4(), FIGURE4_MASKS))
    page.set_viewport_size({"width": 390, "height": 800})
    boxes = [button.bounding_box() for button in page.get_by_role("button").all()]
    assert all(box["height"] >= 44 and box["width"] >= 44 for box in boxes)
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_a_notebook_runs_it_as_well(show):
    page = show()
    page.evaluate(AS_A_NOTEBOOK, mask_explorer(figure4(), FIGURE4_MASKS).html)
    page.get_by_role("button", name="x3", exact=True).click()
    assert "Hidden: x2. Located (c): z3," in page.locator("p[aria-live]").inner_text()


@pytest.mark.parametrize("theme", ["light", *DARK])
def test_axe_finds_nothing(show, theme):
    page = show()
    start, colours = DARK.get(theme, ("<html lang='en'>", ""))
    ground = "#14181e" if theme in DARK else "#fff"
    page.set_content(f"<!doctype html>{start}<title>x</title><body data-jp-theme-light="
                     f"'{str(theme == 'light').lower()}' style='{colours} background: {ground}'>"
                     f"<main><h1 style='color: #888'>x</h1>"
                     + mask_explorer(figure4(), FIGURE4_MASKS).html + "</main></body></html>")
    page.get_by_role("button", name="x5").focus()
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [n["target"] for n in v["nodes"]]) for v in found] == []
