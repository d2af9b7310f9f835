"""The site as files: untrusted text stays text, nothing leads outside, and the folder has the expected content."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from bench.core.errors import InputError
from bench.report.board.model import Board
from bench.report.site import build_site
from bench.report.site.build import files, table_weight
from bench.submissions.intake import read_all
from tests.browser.boards import CAPTION, HOSTILE, honest, hostile, picture, with_gallery
from tests.unit.report.synthetic import write

REFUSED = [("0123456789abcdef", "metrics.robust_accuracy: is not that of the rows")]
OURS = {"script", "style", "img", "iframe", "object", "embed", "base", "form"}


class Page(HTMLParser):
    """Tags with attributes, ids, text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    @property
    def ids(self) -> set[str]:
        return {a["id"] for _, a in self.tags if a.get("id")}


@pytest.fixture(scope="module")
def board() -> Board:
    return honest(30)


@pytest.fixture(scope="module")
def site(board, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    build_site(with_gallery(board, tmp_path_factory.mktemp("gallery")), REFUSED, out)
    return out


def pages(folder: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}


def data(path: Path):
    """What a data file assigns."""
    return json.loads(path.read_text(encoding="utf-8").split(" = ", 1 if "runs/" not in str(path) else 2)[-1][:-2])


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_one_page_for_each_run_and_four_kinds_of_pages(site, board):
    made = {str(p.relative_to(site)) for p in site.rglob("*.html")}
    runs = {f"runs/{run.evidence.record.run_id}.html" for run in board.runs}
    assert made == {"index.html", "compare.html", "about.html"} | runs
    assert len(data(site / "data/board.js")["standings"]) == len(board.standings)


def test_every_link_leads_to_a_file_of_the_site(site):
    seen = pages(site)
    for path, page in seen.items():
        for tag, attributes in page.tags:
            for name in ("href", "src"):
                link = attributes.get(name)
                if link is None or link == "data:,":
                    continue
                parts = urlsplit(link)
                assert not parts.scheme, (path, tag, link)
                assert not parts.netloc, (path, tag, link)
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
                assert target.is_relative_to(site.resolve()), (path, link)
                assert target.is_file(), (path, link)
                if parts.fragment and target.suffix == ".html" and "=" not in parts.fragment:
                    assert parts.fragment in Page(target.read_text(encoding="utf-8")).ids, (path, link)


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(site):
    for path, page in pages(site).items():
        policies = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv")]
        assert len(policies) == 1, path
        assert "default-src 'none'" in policies[0]
        assert "unsafe" not in policies[0]
        for tag, attributes in page.tags:
            assert "style" not in attributes, (path, tag)
            assert not [name for name in attributes if name.startswith("on")], (path, tag)
            assert tag != "style", path
            if tag == "script":
                assert attributes.get("src"), path
                assert attributes.get("type") is None, path  # a module does not load from a file
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(|@import", path.read_text(encoding="utf-8")), path
    for path in (site / "assets").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bfetch\(|XMLHttpRequest|innerHTML|insertAdjacentHTML|document\.write|\beval\(", text), (
            path
        )


def test_texts_of_strangers_stay_texts(board, tmp_path):
    build_site(hostile(with_gallery(board, tmp_path)), [(HOSTILE, HOSTILE)], tmp_path / "bad")
    build_site(with_gallery(board, tmp_path), REFUSED, tmp_path / "good")
    good, bad = pages(tmp_path / "good"), pages(tmp_path / "bad")
    assert {p.relative_to(tmp_path / "good") for p in good} == {p.relative_to(tmp_path / "bad") for p in bad}
    for path, page in bad.items():
        mine = good[tmp_path / "good" / path.relative_to(tmp_path / "bad")]
        for tag in OURS:  # the enemy's record has no element of these more than the honest one
            ours = [a.get("src") for t, a in mine.tags if t == tag]
            assert [a.get("src") for t, a in page.tags if t == tag] == ours, (path, tag)
        assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)], path
        if path.parent.name == "runs" or path.name == "about.html":
            assert HOSTILE in page.text, path  # it is shown, as text
    for path in [*(tmp_path / "bad/data").glob("*.js"), *(tmp_path / "bad/runs").glob("*.js")]:
        text = path.read_text(encoding="utf-8")
        assert "<" not in text, path
        assert "\u2028" not in text, path
        assert HOSTILE in json.dumps(data(path), ensure_ascii=False).replace('\\"', '"'), path


def test_a_run_that_is_not_named_by_a_hash_becomes_no_file(board, tmp_path):
    page = board.runs[0]
    record = page.evidence.record.model_copy(update={"run_id": "../../evil"})
    odd = replace(board, runs=(replace(page, evidence=replace(page.evidence, record=record)),))
    with pytest.raises(InputError, match=r"\.\./\.\./evil"):
        build_site(odd, [], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_same_board_same_bytes(board, site, tmp_path):
    build_site(with_gallery(board, tmp_path), REFUSED, tmp_path / "again")
    mine, theirs = everything(site), everything(tmp_path / "again")
    assert mine.keys() == theirs.keys()
    pictures = {name for name in mine if name.endswith(".png")}  # of another random picture
    assert {n: mine[n] for n in mine.keys() - pictures} == {n: theirs[n] for n in mine.keys() - pictures}


def test_the_folder_loses_what_is_stale_and_nothing_else(board, tmp_path):
    out = tmp_path / "leaderboard"
    out.mkdir()
    (out / "README.md").write_text("mine")
    (out / "runs").mkdir()
    (out / "runs" / "notes.txt").write_text("mine")
    (tmp_path / "outside.txt").write_text("mine")
    build_site(board, [], out)
    gone, kept = board.runs[0].evidence.record.run_id, board.runs[1].evidence.record.run_id
    manifest = out / ".generated"
    assert f"runs/{gone}.html\n" in manifest.read_text()
    # a manifest that was tampered with removes nothing outside, and never the README
    manifest.write_text(
        manifest.read_text() + f"../outside.txt\n{tmp_path}/outside.txt\nREADME.md\nruns/../../outside.txt\n"
    )
    build_site(replace(board, runs=board.runs[1:]), [], out)
    assert not list((out / "runs").glob(f"{gone}.*"))
    assert (out / "runs" / f"{kept}.html").is_file()
    for path in (out / "README.md", out / "runs" / "notes.txt", tmp_path / "outside.txt"):
        assert path.read_text() == "mine"
    assert set(manifest.read_text().splitlines()) == set(everything(out)) - {
        ".generated",
        "README.md",
        "runs/notes.txt",
    }


def test_a_killed_build_leaves_nothing_that_nobody_owns(board, tmp_path, monkeypatch):
    from bench.report.site import folder

    def killed(path, data, real=folder._write):
        if path.name.endswith(".html") and path.parent.name == "runs":
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(folder, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        build_site(board, [], tmp_path)
    owned = set((tmp_path / ".generated").read_text().splitlines())
    assert set(everything(tmp_path)) - {".generated"} <= owned


def test_refused_records_are_listed_with_their_reasons(site):
    text = (site / "about.html").read_text(encoding="utf-8")
    for name, reason in REFUSED:
        assert name in text
        assert reason in text


def test_a_run_page_says_what_the_record_says(site, board):
    for run in board.runs:
        record = run.evidence.record
        page = Page((site / "runs" / f"{record.run_id}.html").read_text(encoding="utf-8"))
        assert run.command in page.text
        assert f"≤ {100 * record.metrics.robust_accuracy:.1f}%" in page.text
        assert f"results/{record.run_id}/verdicts.parquet" in page.text
        for digest in record.digests.model_dump().values():
            assert digest in page.text
        why = [reason.text for reason in record.ineligible_because]
        for reason in (*why, *record.notes, *(f.meaning for f in record.audit)):
            assert reason in page.text
        kept = json.loads((site / "runs" / f"{record.run_id}.json").read_text(encoding="utf-8"))
        assert type(record).model_validate(kept) == record


def test_a_picture_is_pixels_and_its_caption(site, board, tmp_path):
    name = board.runs[0].evidence.record.run_id
    page = Page((site / "runs" / f"{name}.html").read_text(encoding="utf-8"))
    images = [a for t, a in page.tags if t == "img"]
    assert [(a["src"], a["alt"], a["width"], a["height"]) for a in images] == [(f"{name}.png", CAPTION, "300", "120")]
    assert b"PWNED" in picture(tmp_path).read_bytes()
    assert b"PWNED" not in (site / "runs" / f"{name}.png").read_bytes()
    with Image.open(site / "runs" / f"{name}.png") as image:
        assert image.size == (300, 120)


def test_an_empty_board_is_a_site(tmp_path):
    made = files(Board((), ()), [])
    assert {"index.html", "about.html", "compare.html", "data/board.js"} <= set(made)
    raw, packed = table_weight(made)
    assert 0 < packed < raw


def test_what_is_bundled_is_what_the_list_says_and_has_its_licence():
    vendor = resources.files("bench.report.site") / "vendor"
    table = (vendor / "VERSIONS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|.*`(LICENSE[^`]+)` \| `([0-9a-f]{64})` \|$", table, re.MULTILINE)
    code = {f.name for f in vendor.iterdir() if f.name.endswith((".js", ".css"))}
    assert {name for name, _, _ in rows} == code
    for name, licence, sha in rows:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == sha
        assert "MIT" in (vendor / licence).read_text(encoding="utf-8") or "Permission is hereby granted" in (
            vendor / licence
        ).read_text(encoding="utf-8")
        assert "sourceMappingURL" not in (vendor / name).read_text(encoding="utf-8")


def test_the_command_builds_from_a_results_folder(cli, tmp_path):
    write(tmp_path / "results", 12, images=20)
    taken, refused = read_all(tmp_path / "results")
    ids = [e.record.run_id for e in taken]
    (tmp_path / "results" / ids[0] / "record.json").write_text('{"run_id": NaN}')
    done = cli("leaderboard", "build", "--results", "results", "--out", "board", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["runs"], told["refused"]) == (len(ids) - 1, len(refused) + 1)
    assert told["pages"] == told["runs"] + 3
    lines = [line for line in done.err.splitlines() if "refused" in line]
    assert len(lines) == told["refused"]
    assert any(ids[0] in line for line in lines)
    assert ids[0] in (tmp_path / "board" / "about.html").read_text(encoding="utf-8")
    assert (tmp_path / "board" / "index.html").is_file()
    before = everything(tmp_path / "board")
    assert cli("leaderboard", "build", "--results", "results", "--out", "board").code == 0
    assert everything(tmp_path / "board") == before


def test_a_results_folder_that_is_not_there_is_bad_input(cli):
    done = cli("leaderboard", "build", "--results", "nowhere")
    assert done.code == 2
    assert "nowhere" in done.err
