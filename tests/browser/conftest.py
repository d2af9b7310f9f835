"""A real headless Chromium, from files and from a static host; every request and every word on the console is kept."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.report.site import build_site
from tests.browser.boards import hostile, various, with_gallery
from tests.browser.chromium import FLAGS, find


@dataclass
class Log:
    """What a page did beside what it showed."""

    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    path = find()
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium, or BENCH_TEST_BROWSER=/path/to/chrome")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest site with curves and a picture."""
    folder = tmp_path_factory.mktemp("honest")
    build_site(with_gallery(various(), folder), [("0123456789abcdef", "run_id: is another")], folder / "site")
    return folder / "site"


@pytest.fixture(scope="session")
def bad_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, every text written by an enemy."""
    folder = tmp_path_factory.mktemp("hostile")
    board = hostile(with_gallery(various(), folder))
    build_site(board, [("<img src=x onerror=window.PWNED=3>", "<b>")], folder / "site")
    return folder / "site"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def host(site: Path) -> Iterator[str]:
    """The honest site from a static server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(params=["file", "host"])
def root(request: pytest.FixtureRequest, site: Path) -> str:
    """Where the honest site is: a folder, then a host."""
    return f"{site.as_uri()}/" if request.param == "file" else request.getfixturevalue("host")


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a page; afterwards there was no error on the console and no request to anywhere else."""
    opened: list[tuple[Any, str, Log]] = []

    def go(url: str, *, width: int = 1280, height: int = 900, scheme: str = "light", **context: Any) -> Any:
        place = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **context)
        page, log = place.new_page(), Log()
        page.on("request", lambda request: log.requests.append(request.url))
        page.on("console", lambda m: log.console.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: log.console.append(str(error)))
        page.goto(url)
        opened.append((place, url, log))
        return page

    yield go
    for place, url, log in opened:
        place.close()
        assert log.console == [], url
        home = url.split("/site/")[0] if url.startswith("file:") else "/".join(url.split("/")[:3])
        assert [u for u in log.requests if not u.startswith((home + "/", "data:,"))] == [], url
        assert log.requests
