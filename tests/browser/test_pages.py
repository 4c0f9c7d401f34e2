"""The built pages in a browser: offline, typeset, on a telephone, and for readers of all kinds."""

from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

HTML = Path(__file__).parents[2] / "_build/html"
PAGES = sorted(path.relative_to(HTML).as_posix() for path in (HTML / "book").rglob("*.html"))
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
TYPESET = "() => !window.MathJax || (MathJax.startup?.promise ?? new Promise(() => {}))"
FORMULAS = """() => {
  const written = document.querySelectorAll("span.math, div.math").length;
  const typeset = document.querySelectorAll(".math > mjx-container, .math mjx-container").length;
  return [written, typeset, document.querySelectorAll("mjx-merror").length];
}"""
NARROW = """() => [...document.querySelectorAll(".cell_output figure.align-default > img")]
  .filter((img) => img.clientWidth < 500 || img.parentElement.tabIndex !== 0)
  .map((img) => img.parentElement.id)"""
WIDER = "() => document.documentElement.scrollWidth - window.innerWidth"
OPEN_ALL = """async () => {
  document.querySelectorAll("details").forEach((box) => { box.open = true; });
  document.querySelectorAll(".admonition.dropdown .toggle-button").forEach((b) => b.click());
  await Promise.allSettled(document.getAnimations()
    .filter((a) => a.effect?.getTiming().iterations !== Infinity).map((a) => a.finished));
}"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("name", PAGES or ["book/intro.html"]),
]


@contextmanager
def opened(browser, address: str, width: int = 1280, theme: str = "light"):
    """A loaded and typeset page, and the list of what went wrong on it."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page, problems = context.new_page(), []
    origin = "/".join(address.split("/")[:3])

    def check_request(request):
        if not request.url.startswith((origin, "data:", "blob:")):
            problems.append(f"asks for {request.url}")

    def check_message(message):
        if message.type == "error":
            problems.append(f"console: {message.text}")

    page.on("request", check_request)
    page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
    page.on("console", check_message)
    page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    page.goto(address, wait_until="load")
    page.evaluate(TYPESET)
    yield page, problems
    context.close()


@pytest.mark.parametrize("way", ["http", "file"])
def test_a_page_is_complete_without_any_other_site(browser, server, html, name, way):
    address = f"{server}/{name}" if way == "http" else (html / name).as_uri()
    with opened(browser, address) as (page, problems):
        written, typeset, wrong = page.evaluate(FORMULAS)
        assert problems == []
        assert typeset == written and wrong == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_fits_and_axe_finds_nothing(browser, server, name, width, theme):
    with opened(browser, f"{server}/{name}", width, theme) as (page, _):
        page.evaluate(OPEN_ALL)
        assert page.evaluate(WIDER) <= 0
        found = Axe().run(page, options={"runOnly": TAGS, "preload": False}).response["violations"]
        assert [(v["id"], [n["target"] for n in v["nodes"]]) for v in found] == []


def test_on_a_telephone_figures_scroll_so_that_labels_can_be_read(browser, server, name):
    with opened(browser, f"{server}/{name}", 390) as (page, _):
        assert page.evaluate(NARROW) == []
