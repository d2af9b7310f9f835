"""Build time, rendering time and size of the leaderboard.

    python benchmarks/leaderboard.py --runs 1000

Synthetic runs are written as a results folder; then the steps of `bench leaderboard build` are timed: reading
and checking, the board, the pages, writing. If a browser is installed, the table's first paint is timed from the start
of the navigation to the frame after the first line appears, and the same for the view of all groups.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' generator of runs

from bench.report.board import make_board
from bench.report.site.build import files, table_weight
from bench.report.site.folder import weight, write_site
from bench.submissions.intake import read_all
from tests.browser.chromium import FLAGS, find
from tests.unit.report.synthetic import write

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

Result = TypeVar("Result")
ALL = "#kind=all&profile=all&protocol=all&norm=all&eps=all&scope=all&adversary=all&n=all"
# Two frames after the first line is in the table, it is rendered.
WATCH = """new MutationObserver((_, o) => {
if (!document.querySelector('#board tbody td.robust')) return;
o.disconnect();
requestAnimationFrame(() => requestAnimationFrame(() => { window.painted = performance.now(); })); })
.observe(document, {childList: true, subtree: true});"""


def main() -> None:
    """Time it and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5, help="of the painting")
    parser.add_argument("--out", type=Path, help="keep the site here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = given.out or Path(folder) / "leaderboard"
        print(json.dumps(measure(Path(folder) / "results", out, given.runs, given.repeats), indent=2))


def measure(results: Path, out: Path, runs: int, repeats: int) -> dict[str, object]:
    """Seconds and bytes of one build, milliseconds of paintings."""
    write(results, runs)
    seconds: dict[str, float] = {}
    taken, refused = timed(seconds, "read", lambda: read_all(results))
    board = timed(seconds, "board", lambda: make_board(taken))
    made = timed(seconds, "site", lambda: files(board, []))
    timed(seconds, "write", lambda: write_site(out, made))
    timed(seconds, "write again", lambda: write_site(out, made))
    raw, packed = table_weight(made)
    every = weight(made.values())
    return {
        "runs": len(taken), "refused": len(refused), "standings": len(board.standings), "seconds": seconds,
        "table bytes": raw, "table bytes, gzip": packed, "all bytes": every[0], "all bytes, gzip": every[1],
        "painted after ms": {"first view": paint(out, "", repeats), "all groups": paint(out, ALL, repeats)},
    }  # fmt: skip


def timed(seconds: dict[str, float], name: str, work: Callable[[], Result]) -> Result:
    """The result of the work; its time is recorded."""
    start = time.perf_counter()
    result = work()
    seconds[name] = round(time.perf_counter() - start, 2)
    return result


def paint(out: Path, view: str, repeats: int) -> dict[str, float] | str:
    """Milliseconds until the table is rendered, median and worst."""
    path, times = find(), []
    if sync_playwright is None or path is None:
        return "not timed: needs playwright and a Chromium"
    with sync_playwright() as started:
        for _ in range(repeats):
            browser = started.chromium.launch(executable_path=path, args=FLAGS)
            page = browser.new_page()
            page.add_init_script(WATCH)
            page.goto(f"{out.resolve().as_uri()}/index.html{view}")
            page.wait_for_function("window.painted")
            times.append(page.evaluate("window.painted"))
            browser.close()
    return {"median": round(statistics.median(times), 1), "worst": round(max(times), 1)}


if __name__ == "__main__":
    main()
