"""Where a Chromium is, and how it is started."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No sandbox: it needs rights that a container may lack, and the pages are our own. The rest keeps Chromium from calling
# home, so that each request in a log is one of the pages'.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


def find() -> str | None:
    """The browser's path, or None."""
    return os.environ.get("BENCH_TEST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
