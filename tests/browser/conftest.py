"""A headless Chromium and a web server for the built pages.

Without a browser the tests are skipped; where the variable CI is set, they fail.
"""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

HTML = Path(__file__).parents[2] / "_build/html"


def missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """One line a request would hide the tests' own words."""


@pytest.fixture(scope="session")
def html() -> Path:
    if not (HTML / "index.html").exists():
        missing("no pages in _build/html: run 'make book'")
    return HTML


@pytest.fixture(scope="session")
def browser(html):
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    program = next(filter(None, found), None)
    if program is None:
        missing("no Chromium found; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(html) -> str:
    """Address of a web server with the pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=html)) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()
