"""Clips in the page: frame by frame, by the clock, by key, in sight or not, without scripts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from torchvision.io import decode_png

from mae_lib.figures import player

pytestmark = pytest.mark.browser
BOOK = (Path(__file__).parents[2] / "book/_static/companion.css").read_text()
COUNT, HEIGHT, WIDTH = 10, 12, 16  # more frames than the sheet has columns
CLIPS = dict(zip(("first", "second"), np.random.default_rng(0).integers(
    0, 256, (2, 3, COUNT, HEIGHT, WIDTH), np.uint8), strict=True))
ENLARGED = 10  # a pixel of these clips, in pixels of the page
# What the canvases hold, and what slider and words say, in one question.
STATE = """(root) => [
  [...root.querySelectorAll("canvas")].map((canvas) => [...canvas.getContext("2d")
    .getImageData(0, 0, canvas.width, canvas.height).data]),
  root.querySelector("input").value,
  root.querySelector("input").getAttribute("aria-valuetext"),
  root.querySelector("output").textContent]"""
# Observers are told in the order in which they were made: when this one is, the player's was.
IN_SIGHT = """(element) => new Promise((told) => new IntersectionObserver(told).observe(element))"""
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
FAR = "<div style='height: 3000px'></div>"
DARK = {"book": ("<html lang='en' data-theme='dark'>", "--pst-color-text-base: #ced6dd; "
                 "--pst-color-background: #14181e; "),
        "notebook": ("<html lang='en'>", "--jp-ui-font-color0: #fff; --jp-layout-color0: #111; ")}


def one(rows=CLIPS, caption="Two clips", **options) -> str:
    return player(rows, caption, "noise", **options)


class Shown:
    """One of the players of a page whose clock stands still until :meth:`wait`."""

    def __init__(self, page, number=0):
        self.page, self.root = page, page.locator(".mae-player").nth(number)
        self.button, self.bar = self.root.get_by_role("button"), self.root.get_by_role("slider")

    def frame(self) -> int:
        """The frame, from 0, that all canvases hold bit for bit and that slider and words tell."""
        canvases, value, *words = self.root.evaluate(STATE)
        pixels = np.reshape(canvases, (len(CLIPS), HEIGHT, WIDTH, 4))
        assert (pixels[..., 3] == 255).all()
        held = pixels[..., :3].transpose(0, 3, 1, 2)[:, :, None]
        same = (held == np.stack(list(CLIPS.values()))).all((1, 3, 4))  # [clips, frames]
        found = np.flatnonzero(same.all(0)).item()
        assert value == str(found + 1) and words == [f"{found + 1} of {COUNT}"] * 2
        return found

    def wait(self, seconds: float) -> int:
        """The frame after so long by the page's clock."""
        self.page.clock.run_for(round(1000 * seconds))
        return self.frame()

    def look(self, top: int) -> None:
        self.page.evaluate(f"scrollTo(0, {top})")
        self.root.evaluate(IN_SIGHT)


@pytest.fixture
def show(browser, tmp_path):
    contexts, problems = [], []
    file = tmp_path / "page.html"

    def check_request(request):
        if request.url != file.as_uri() and not request.url.startswith("data:"):
            problems.append(request.url)

    def load(*players, scripts=True, motion="no-preference", start="<html lang='en'>", body="",
             style="", theme="light", width=1280):
        contexts.append(browser.new_context(java_script_enabled=scripts, reduced_motion=motion,
                                            viewport={"width": width, "height": 800}))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", check_request)
        file.write_text(f"<!doctype html>{start}<head><meta charset='utf-8'><title>x</title>"
                        "<meta name='viewport' content='width=device-width'>"
                        f"<style>{style}</style></head><body style='{body}' data-jp-theme-light="
                        f"'{str(theme == 'light').lower()}'><main class='bd-content'>"
                        f"<h1 style='color: #888'>x</h1><div class='cell_output'>"
                        f"{''.join(players)}</div></main></body></html>")
        if scripts:
            page.clock.install(time=0)
            page.clock.pause_at(1000)
        page.goto(file.as_uri())
        found = [Shown(page, i) for i in range(len(players))]
        for each in found if scripts else ():
            each.bar.wait_for()
            each.root.evaluate(IN_SIGHT)
        return page if len(found) != 1 else found[0]

    yield load
    for context in contexts:
        context.close()
    assert problems == []


def seen(page, place) -> np.ndarray:
    """What a screen of the size of a clip shows, its pixels made small again, ``[3,H,W]``."""
    box = place.bounding_box()
    corner = {name: round(box[name]) for name in "xy"}
    data = page.screenshot(clip={**corner, "width": ENLARGED * WIDTH, "height": ENLARGED * HEIGHT})
    large = decode_png(torch.frombuffer(bytearray(data), dtype=torch.uint8)).numpy()[:3]
    small = large[:, ::ENLARGED, ::ENLARGED]
    squares = small.repeat(ENLARGED, 1).repeat(ENLARGED, 2)
    assert np.array_equal(squares, large), "pixels are not squares"
    return small


def test_the_frame_asked_for_is_the_frame_shown_in_squares(show):
    it = show(one(), motion="reduce")
    for t in range(COUNT):
        assert it.frame() == t
        it.bar.press("ArrowRight")
    for canvas, clip in zip(it.root.locator("canvas").all(), CLIPS.values(), strict=True):
        assert np.array_equal(seen(it.page, canvas), clip[:, -1])
    it.bar.press("Home")
    assert it.frame() == 0


def test_it_plays_by_itself_in_step_round_and_round(show):
    it = show(one(frames_per_second=4))
    assert it.frame() == 0 and it.wait(0.2) == 0 and it.wait(0.1) == 1
    assert [it.wait(0.5) for _ in range(5)] == [3, 5, 7, 9, 1]


def test_the_button_pauses_and_plays_on(show):
    it = show(one(frames_per_second=4))
    assert it.wait(0.5) == 2 and it.button.inner_text() == "Pause"
    it.button.click()
    assert it.button.inner_text() == "Play" and it.wait(0.75) == 2
    it.button.click()
    assert it.button.inner_text() == "Pause" and it.wait(0.5) == 4


def test_keys_are_enough(show):
    it = show(one(frames_per_second=4))
    it.page.keyboard.press("Tab")
    for key, word in (("Space", "Play"), ("Enter", "Pause"), ("Space", "Play"), ("Space", "Pause")):
        it.page.keyboard.press(key)
        assert it.button.inner_text() == word
    assert it.wait(0.5) == 2
    it.page.keyboard.press("Tab")
    it.page.keyboard.press("ArrowLeft")
    assert it.frame() == 1 and it.button.inner_text() == "Play" and it.wait(0.75) == 1


def test_the_mouse_on_the_slider_pauses_too(show):
    it = show(one())
    box = it.bar.bounding_box()
    it.page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    assert it.frame() == COUNT - 1 and it.wait(0.75) == COUNT - 1


def test_where_less_motion_is_wanted_it_waits_for_the_button(show):
    it = show(one(frames_per_second=4), motion="reduce")
    assert it.button.inner_text() == "Play" and it.wait(0.75) == 0
    it.button.click()
    assert it.wait(0.5) == 2
    it.root.evaluate("(root, far) => root.insertAdjacentHTML('afterend', far)", FAR)
    it.look(2000)
    it.look(0)
    assert it.button.inner_text() == "Play" and it.wait(0.75) == 2


def test_it_stops_when_less_motion_is_wanted_from_now_on(show):
    it = show(one(frames_per_second=4))
    assert it.wait(0.5) == 2
    it.page.emulate_media(reduced_motion="reduce")
    it.root.get_by_role("button", name="Play").wait_for()
    assert it.wait(0.75) == 2


def test_it_plays_only_where_it_can_be_seen(show):
    it = show(FAR + one(frames_per_second=4) + FAR)
    assert it.wait(0.75) == 0
    it.look(2800)
    assert it.wait(0.5) == 2
    for away in (0, 5000):
        it.look(away)
        before = it.frame()
        assert it.wait(0.75) == before
        it.look(2800)
        assert it.wait(0.5) == before + 2
    it.button.click()
    it.look(0)
    it.look(2800)
    assert it.wait(0.75) == 6


def test_two_on_one_page_do_not_meet(show):
    page = show(one(frames_per_second=4), one(frames_per_second=2))
    first, second = Shown(page, 0), Shown(page, 1)
    assert (first.wait(1), second.frame()) == (4, 2)
    first.button.click()
    assert (first.wait(1), second.frame()) == (4, 4)
    second.bar.press("Home")
    assert (first.frame(), second.frame()) == (4, 0)


def test_without_scripts_the_first_frame_stands_there_also_on_dark_ground(show):
    it = show(one(), scripts=False, start=DARK["book"][0], style=BOOK)
    screens = it.root.locator(".mae-player-screen").all()
    for screen, clip in zip(screens, CLIPS.values(), strict=True):
        assert np.array_equal(seen(it.page, screen), clip[:, 0])
    assert it.root.get_by_text("Two clips").is_visible()
    assert it.root.get_by_role("img", name="noise; second").is_visible()
    assert not it.button.is_visible() and not it.bar.is_visible()


def test_on_paper_all_frames_stand_there(show):
    it = show(one())
    it.page.emulate_media(media="print")
    sheets = it.root.locator("img")
    assert [sheet.is_visible() for sheet in sheets.all()] == [True, True]
    assert not it.root.locator("canvas").first.is_visible() and not it.button.is_visible()
    sheet, screen = sheets.first.bounding_box(), it.root.locator(".mae-player-screen").first
    assert screen.bounding_box() == sheet and sheet["width"] <= it.root.bounding_box()["width"]
    assert sheet["width"] / sheet["height"] == pytest.approx(8 * WIDTH / (2 * HEIGHT), rel=1e-3)


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_page_and_does_not_jump(show, width):
    clips = {"a label that is much longer than its clip is wide": CLIPS["first"], **CLIPS}
    it, places = show(one(clips, "words " * 40), width=width), set()
    it.button.click()
    for key in ("Home", "End", "ArrowLeft"):
        it.bar.press(key)
        boxes = [part.bounding_box() for part in (it.root, it.bar, it.button)]
        places.add(tuple(tuple(box.values()) for box in boxes))
    assert len(places) == 1
    assert all(box["height"] >= 44 for box in boxes[1:]) and boxes[1]["width"] >= 200
    screens = [canvas.bounding_box()["width"] for canvas in it.root.locator("canvas").all()]
    assert screens == [ENLARGED * WIDTH] * 3
    assert it.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_clip_wider_than_the_page_is_made_smaller(show):
    wide = {"wide": np.zeros((3, 2, 4, 1000), np.uint8)}
    it = show(one(wide), width=390)
    box = it.root.locator("canvas").bounding_box()
    assert box["width"] <= 390 and box["width"] / box["height"] == pytest.approx(250, rel=0.01)
    assert it.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_notebook_runs_it_as_well(show):
    page = show()
    page.evaluate(AS_A_NOTEBOOK, one(frames_per_second=4))
    it = Shown(page)
    it.bar.wait_for()
    it.look(0)
    assert it.wait(0.5) == 2


@pytest.mark.parametrize("theme", ["light", *DARK])
def test_axe_finds_nothing(show, theme):
    start, colours = DARK.get(theme, ("<html lang='en'>", ""))
    ground = "background: #14181e" if theme in DARK else "background: #fff"
    it = show(one(), start=start, body=colours + ground, theme=theme)
    it.bar.focus()
    it.page.clock.resume()  # axe waits by the page's clock
    found = Axe().run(it.page).response["violations"]
    assert [(v["id"], [n["target"] for n in v["nodes"]]) for v in found] == []
    assert [canvas.get_attribute("aria-label") for canvas in it.root.get_by_role("img").all()] == [
        f"noise; {label}" for label in CLIPS]
