"""The site as people use it: in a real browser, from a file and from a host, by mouse, keyboard and phone."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from bench.checks.statistics.paired import PairedTable, mcnemar, newcombe
from bench.core.nouns import Outcome
from tests.browser.boards import various

pytestmark = pytest.mark.browser

ALL = "#kind=all&profile=all&protocol=all&norm=all&eps=all&scope=all&adversary=all&n=all"
ROWS = "#board tbody tr:not(.group)"
PHONE = {"width": 375, "height": 812}


def curved() -> str:
    """A run whose page has curves."""
    return next(r.evidence.record.run_id for r in various().runs if r.curves)


def pair(same: bool) -> tuple[str, str]:
    """Two runs that judged the same images, or other ones."""
    runs = various().runs
    records = [r.evidence.record for r in runs if r.evidence.record.metrics.robust_accuracy < 0.9]
    a = records[0]
    b = next(r for r in records[1:] if (r.digests.data == a.digests.data) == same and r.run_id != a.run_id)
    return a.run_id, b.run_id


def kinds() -> dict[str, str]:
    a, b = pair(same=True)
    first = various().runs[0].evidence.record.run_id
    return {"index": "index.html", "groups": f"index.html{ALL}", "about": "about.html", "run": f"runs/{curved()}.html",
            "gallery": f"runs/{first}.html", "compare": f"compare.html#a={a}&b={b}"}  # fmt: skip


def cells(page, name: str) -> list[str]:
    return [text.strip() for text in page.locator(f"#board tbody td.{name}").all_inner_texts()]


def test_the_first_view_is_one_ranking(visit, root):
    page = visit(f"{root}index.html")
    assert "one ranking" in page.inner_text("#summary")
    assert page.locator("#board tr.group").count() == 0
    assert page.locator(ROWS).count() > 1
    assert all("≤" in text for text in cells(page, "robust"))
    ranks = [int(text.split()[0]) for text in cells(page, "rank") if text[0].isdigit()]
    assert ranks == sorted(ranks)


def test_sorting_stays_inside_groups(visit, root):
    page = visit(f"{root}index.html{ALL}")
    headings = page.locator("#board tr.group").all_inner_texts()
    assert len(headings) == len(set(headings)) > 2
    page.locator("#board thead th.robust .dt-column-order").click()
    page.locator("#board thead th[aria-sort=ascending]").wait_for()
    assert page.locator("#board tr.group").all_inner_texts() == headings
    order = page.evaluate(
        """() => { const out = []; for (const row of document.querySelectorAll("#board tbody tr"))
        if (row.classList.contains("group")) out.push([]);
        else out.at(-1).push(parseFloat(row.querySelector(".robust strong").textContent.slice(2))); return out; }"""
    )
    assert all(group == sorted(group) for group in order)
    assert [x for group in order for x in group] != sorted(x for group in order for x in group)
    assert "sort=robust-asc" in page.url


def test_filters_narrow_and_the_address_keeps_them(visit, root):
    page = visit(f"{root}index.html")
    page.select_option("#f-kind", "reported")
    assert "reported" in page.inner_text("#summary")
    assert page.locator("#board .badge", has_text="reported").count() == page.locator(ROWS).count() > 0
    assert "Also changed" in page.inner_text("#summary")  # digits have no published figure
    page.select_option("#f-adversary", "all")
    assert "groups" in page.inner_text("#summary")
    before = page.inner_text("#summary"), cells(page, "defense")
    page.reload()
    page.locator(ROWS).first.wait_for()
    assert (page.inner_text("#summary"), cells(page, "defense")) == before
    page.click("#reset")
    assert "one ranking" in page.inner_text("#summary")
    assert "measured" in page.inner_text("#summary")


def test_search_and_what_is_said_when_nothing_fits(visit, root):
    page = visit(f"{root}index.html{ALL}")
    page.fill("#f-q", "KEY-LORA")
    assert page.locator(ROWS).count() > 0
    assert all("key-lora" in text for text in cells(page, "defense"))
    page.fill("#f-q", "no such defense")
    assert page.locator("#board").is_hidden()
    assert "No line matches" in page.inner_text("#nothing")


def test_open_a_record_and_go_back(visit, root):
    page = visit(f"{root}index.html")
    page.select_option("#f-scope", "white-box")
    shown = page.inner_text("#summary")
    page.locator("#board td.defense a").first.click()
    page.wait_for_url("**/runs/*.html")
    assert page.locator(".figure strong").inner_text().startswith("≤")
    page.go_back()
    page.locator(ROWS).first.wait_for()
    assert page.inner_text("#summary") == shown


def test_every_figure_leads_to_its_runs(visit, root):
    page = visit(f"{root}index.html")
    line = page.locator("#board td.defense details").first
    said = int(line.locator("summary").inner_text().split()[0])
    line.locator("summary").click()
    assert line.locator("a[href^='runs/']").count() >= said


def test_choose_two_and_compare(visit, root):
    page = visit(f"{root}index.html")
    boxes = page.locator("#board input[data-run]")
    boxes.nth(0).check()
    assert page.locator("#chosen-link").is_hidden()
    boxes.nth(1).check()
    page.click("#chosen-link")
    page.wait_for_url("**/compare.html#a=*&b=*")
    page.locator("#side tr.differs").first.wait_for()
    assert "≠ differs" in page.inner_text("#side")
    everything = page.locator("#side tbody tr:visible").count()
    page.check("#only")
    assert 0 < page.locator("#side tbody tr:visible").count() < everything
    assert page.locator("#side tr.same:visible").count() == 0


def test_the_same_images_are_compared_in_pairs(visit, root):
    a, b = pair(same=True)
    rows = {r.evidence.record.run_id: [x.outcome is Outcome.ROBUST for x in r.evidence.rows] for r in various().runs}
    table = PairedTable.of(rows[a], rows[b])
    page = visit(f"{root}compare.html#a={a}&b={b}")
    page.locator(".counts").wait_for()
    shown = [int(x) for x in page.locator(".counts tbody td:nth-child(2)").all_inner_texts()]
    assert shown == [table.both, table.only_a, table.only_b, table.neither]
    text = page.inner_text("#paired-body").replace("\N{MINUS SIGN}", "-")
    assert f"{100 * table.difference:+.1f} points" in text
    low, high = newcombe(table)
    assert f"{100 * low:+.1f} to {100 * high:+.1f}" in text
    p = mcnemar(table)
    assert (f"{p:.4f}" if p >= 0.0001 else "below 0.0001") in text


def test_other_images_are_not_paired(visit, root):
    a, b = pair(same=False)
    page = visit(f"{root}compare.html#a={a}&b={b}")
    page.locator("#side tr.differs").first.wait_for()
    assert "different images" in page.inner_text("#paired-body")
    assert page.locator(".counts").count() == 0


@pytest.mark.parametrize("address", ["#a=../../x&b=<b>", "#a=0000000000000000", "", "#a=%00"])
def test_an_address_that_names_no_run_is_explained(visit, root, address):
    page = visit(f"{root}compare.html{address}")
    assert re.search(r"Choose two runs|is not on this board", page.inner_text("#message"))
    assert page.locator("#fields").is_hidden()


def test_paired_statistics_are_those_of_the_package(visit, site):
    page = visit(f"{site.as_uri()}/compare.html")
    draw = random.Random(0)
    cases = [
        (0, 0, 0, 5),
        (5, 0, 0, 0),
        (0, 3, 0, 0),
        (0, 0, 7, 2),
        (1, 1, 1, 1),
        (20000, 3000, 2800, 24200),
        (0, 9, 9, 0),
    ]
    cases += [tuple(draw.randrange(10 ** draw.randrange(1, 5)) for _ in range(4)) for _ in range(60)]
    for case in (c for c in cases if sum(c)):
        both, only_a, only_b, neither = case
        t = {"both": both, "onlyA": only_a, "onlyB": only_b, "neither": neither, "n": sum(case)}
        got = page.evaluate("t => [Paired.mcnemar(t), ...Paired.newcombe(t)]", t)
        want = PairedTable(*case)
        assert got == pytest.approx([mcnemar(want), *newcombe(want)], rel=1e-7, abs=1e-9), case


def test_theme_follows_the_system_then_the_reader(visit, root):
    paper = "getComputedStyle(document.body).backgroundColor"
    page = visit(f"{root}index.html", scheme="dark")
    dark = page.evaluate(paper)
    page.click("#theme")
    light = page.evaluate(paper)
    assert light != dark
    page.goto(f"{root}about.html")
    assert page.evaluate(paper) == light  # remembered
    assert visit(f"{root}about.html", scheme="light").evaluate(paper) == light
    assert visit(f"{root}about.html", scheme="dark").evaluate(paper) == dark


def test_paper_is_light_and_the_choice_is_back_afterwards(visit, root, tmp_path):
    paper = "getComputedStyle(document.body).backgroundColor"
    page = visit(f"{root}index.html", scheme="dark")
    dark = page.evaluate(paper)
    page.evaluate(f"addEventListener('beforeprint', () => window.printed = {paper})")
    page.pdf(path=tmp_path / "index.pdf")
    light = visit(f"{root}about.html", scheme="light").evaluate(paper)
    assert page.evaluate("window.printed") == light != dark
    assert page.evaluate(paper) == dark


@pytest.mark.parametrize("kind", ["index", "groups", "about", "run", "gallery", "compare"])
def test_nothing_overflows_on_a_phone(visit, root, kind):
    page = visit(root + kinds()[kind], **PHONE)
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    wide = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter(e => !e.closest(".scroller, .chart, .sr, caption") &&
        e.getBoundingClientRect().right > 376).map(e => e.tagName + "." + e.className)"""
    )
    assert wide == []
    if kind in {"index", "groups"}:  # cards, each value with its name, all of it in sight
        assert page.evaluate("document.querySelector('.scroller').scrollWidth <= 375")
        assert page.locator("#board td.robust strong").first.is_visible()


def test_by_keyboard_alone(visit, root):
    page = visit(f"{root}index.html")

    def tab_to(selector: str, most: int = 60) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", selector
                return
        raise AssertionError(f"Tab does not reach {selector}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    tab_to("#f-scope")
    before = page.inner_text("#summary")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#summary") != before
    tab_to("th.robust .dt-column-order")
    page.keyboard.press("Enter")
    page.locator("th.robust[aria-sort]").wait_for()
    first = page.locator("#board td.defense a").first.get_attribute("href")
    tab_to("td.defense a")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{first}")
    tab_to("#copy")
    page.keyboard.press("Enter")
    page.locator("#copied", has_text=re.compile("Copied|Selected")).wait_for()


def test_the_command_is_copied(visit, host, site):
    page = visit(f"{host}runs/{curved()}.html", permissions=["clipboard-read", "clipboard-write"])
    page.click("#copy")
    page.locator("#copied", has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#command")
    page = visit(f"{site.as_uri()}/runs/{curved()}.html")
    page.click("#copy")
    page.locator("#copied", has_text=re.compile("Copied|Selected")).wait_for()


def test_curves_are_read_by_mouse_and_keyboard(visit, root):
    page = visit(f"{root}runs/{curved()}.html")
    over = page.locator("#curves .u-over")
    box = over.bounding_box()
    over.hover(position={"x": box["width"] - 2, "y": 40})
    assert re.search(r"eps \S+: .*≤ [\d.]+%", page.inner_text(".reading"))
    page.mouse.move(0, 0)
    frame = page.locator("#curves [tabindex='0']")
    frame.focus()
    seen = set()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        seen.add(page.inner_text(".reading"))
    assert len(seen) > 1
    toggle = page.locator("#curves .series button").first
    pressed = toggle.get_attribute("aria-pressed")
    toggle.focus()
    page.keyboard.press("Space")
    assert page.locator("#curves .series button").first.get_attribute("aria-pressed") != pressed
    assert page.locator("#curves canvas").count() == 1
    assert page.locator("details.numbers table").count() >= 1


def test_what_an_enemy_wrote_is_text(visit, bad_site: Path):
    root, runs = f"{bad_site.as_uri()}/", various().runs
    a, b = pair(same=True)
    urls = [f"index.html{ALL}", "about.html", f"compare.html#a={a}&b={b}"]
    urls += [f"runs/{r.evidence.record.run_id}.html" for r in (runs[0], next(r for r in runs if r.curves))]
    for url in urls:
        page = visit(root + url)
        page.wait_for_timeout(250)
        for details in page.locator("summary").all()[:3]:
            details.click()
        assert page.evaluate("window.PWNED") is None, url
        assert page.evaluate("document.querySelectorAll('[onerror], img[src=\"x\"]').length") == 0, url
        assert "<script>window.PWNED=1</script>" in page.inner_text("main") or url == "about.html", url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("kind", ["index", "groups", "about", "run", "gallery", "compare"])
def test_no_serious_finding_of_axe(visit, site, kind, size, scheme):
    package = pytest.importorskip("axe_playwright_python", reason="axe is not installed: pip install '.[dev]'")
    page = visit(f"{site.as_uri()}/{kinds()[kind]}", scheme=scheme, **size)
    page.wait_for_timeout(200)
    page.evaluate("[...document.querySelectorAll('details')].slice(0, 6).forEach(d => { d.open = true; })")
    page.wait_for_timeout(100)
    page.evaluate((Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run({preload: false})).violations")
    grave = [
        (v["id"], v["help"], [n["html"] for n in v["nodes"]][:3])
        for v in found
        if v["impact"] in {"serious", "critical"}
    ]
    assert grave == []
