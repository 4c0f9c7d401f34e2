"""The slider in the page: by key, by mouse, without scripts, twice on a page, light and dark."""

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from mae_lib.figures import slider

pytestmark = pytest.mark.browser
FRAMES = {f".{i}": np.full((3, 4, 8), i / 10) for i in (1, 5, 9)}
# What JupyterLab does with HTML: scripts made anew, before the output is on the page.
AS_A_NOTEBOOK = """(html) => {
  const output = document.createElement("div");
  output.innerHTML = html;
  for (const old of [...output.querySelectorAll("script")]) {
    const made = document.createElement("script");
    made.textContent = old.textContent;
    old.replaceWith(made);
  }
  document.body.append(output);
}"""
DARK = {"book": ("<html lang='en' data-theme='dark'>", "--pst-color-text-base: #ced6dd; "),
        "notebook": ("<html lang='en'>", "--jp-ui-font-color0: #fff;")}


def shown(page, number=0):
    """Alternative texts of the pictures that can be seen in one of the sliders."""
    pictures = page.locator(".mae-slider").nth(number).locator("img").all()
    return [picture.get_attribute("alt") for picture in pictures if picture.is_visible()]


@pytest.fixture
def show(browser):
    pages, problems = [], []

    def load(*sliders, scripts=True, start="<html lang='en'>", body="", theme="light"):
        page = browser.new_page(java_script_enabled=scripts)
        pages.append(page)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("data:", "about:"))
                or problems.append(request.url))
        page.set_content(f"<!doctype html>{start}<title>x</title><body style='{body}' "
                         f"data-jp-theme-light='{str(theme == 'light').lower()}'><main>"
                         f"<h1 style='color: #888'>x</h1>{''.join(sliders)}</main></body></html>")
        return page

    yield load
    for page in pages:
        page.close()
    assert problems == []


def test_keys_choose_the_picture_and_the_value_is_said(show):
    page = show(slider(FRAMES, "masking ratio", "grey", start=".5"))
    bar = page.get_by_role("slider", name="masking ratio")
    assert shown(page) == ["grey; masking ratio .5"]
    page.keyboard.press("Tab")
    for key, value in (("ArrowRight", ".9"), ("ArrowRight", ".9"), ("Home", ".1"),
                       ("ArrowUp", ".5")):
        page.keyboard.press(key)
        assert shown(page) == [f"grey; masking ratio {value}"]
        assert bar.get_attribute("aria-valuetext") == value
        assert page.locator("output").inner_text() == value


def test_the_mouse_chooses_too(show):
    page = show(slider(FRAMES, "masking ratio", "grey"))
    box = page.get_by_role("slider").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    assert shown(page) == ["grey; masking ratio .9"]


def test_without_scripts_every_picture_is_there_under_its_name(show):
    page = show(slider(FRAMES, "masking ratio", "grey"), scripts=False)
    assert shown(page) == [f"grey; masking ratio {value}" for value in FRAMES]
    names = page.locator("figcaption")
    assert names.all_inner_texts() == [f"masking ratio {value}" for value in FRAMES]
    assert names.first.is_visible() and not page.locator("input").is_visible()


def test_two_on_one_page_do_not_meet(show):
    page = show(slider(FRAMES, "ratio", "grey"), slider(FRAMES, "unit", "other", start=".5"))
    page.get_by_role("slider", name="ratio").press("End")
    assert shown(page) == ["grey; ratio .9"] and shown(page, 1) == ["other; unit .5"]
    page.get_by_role("slider", name="unit").press("Home")
    assert shown(page) == ["grey; ratio .9"] and shown(page, 1) == ["other; unit .1"]


def test_the_page_does_not_jump_and_fits_a_telephone(show):
    page = show(slider(FRAMES, "masking ratio in training", "grey"))
    page.set_viewport_size({"width": 390, "height": 800})
    bar, heights = page.get_by_role("slider"), []
    for _ in FRAMES:
        heights.append(page.locator(".mae-slider").bounding_box()["height"])
        bar.press("ArrowRight")
    box = bar.bounding_box()
    assert len(set(heights)) == 1 and box["height"] >= 44 and box["width"] >= 100
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_a_notebook_runs_it_as_well(show):
    page = show()
    page.evaluate(AS_A_NOTEBOOK, slider(FRAMES, "masking ratio", "grey"))
    page.get_by_role("slider").press("End")
    assert shown(page) == ["grey; masking ratio .9"]


@pytest.mark.parametrize("theme", ["light", *DARK])
def test_axe_finds_nothing(show, theme):
    start, colours = DARK.get(theme, ("<html lang='en'>", ""))
    ground = "background: #14181e" if theme in DARK else "background: #fff"
    page = show(slider(FRAMES, "masking ratio", "grey"), start=start, body=colours + ground,
                theme=theme)
    page.get_by_role("slider").focus()
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [n["target"] for n in v["nodes"]]) for v in found] == []
