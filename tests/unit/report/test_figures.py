"""What a reader of a figure relies on: nothing is cut or covered, the same data gives the same bytes."""

import io
import os
import subprocess
import sys
from functools import cache

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image

from bench.core.spec import PluginSpec
from bench.report.figures.curves import budget_curve
from bench.report.figures.eps import Panel, Series, eps_curves
from bench.report.figures.gallery import Shot, gallery, nice_scale
from bench.report.figures.heatmap import Matrix, cross_key
from bench.report.figures.ladder import ladder_chart
from bench.report.figures.lines import panels_figure
from bench.report.figures.style import BLUE, VERMILLION, drawable, look, png, save
from bench.report.figures.table import draw_tables
from bench.report.output import Table
from bench.store.ladders import LadderRecord, Rung, Tier

SIX = [f"{kind}, P = {p}" for kind in ("key-full", "key-lora") for p in (4, 8, 16)]


def points(slope, places=(0.0, 2 / 255, 8 / 255, 32 / 255)):
    return [(x, max(0.0, 0.99 - slope * x), max(0.0, 0.93 - slope * x), 1 - slope * x / 2) for x in places]


def panel(title, labels, places=(1, 2, 5, 100)):
    return Panel(title, [Series(name, points(0.002 * (i + 1), places)) for i, name in enumerate(labels)])


def matrix(n, title="key-lora, P = 4", missing=()):
    cells = [[None if (i, j) in missing else (0.0 if i == j else (7 * i + 3 * j) % 11 / 10) for j in range(n)]
             for i in range(n)]  # fmt: skip
    limits = [[None if v is None else (max(0, v - 0.1), min(1, v + 0.1)) for v in row] for row in cells]
    return Matrix(title, [str(i) for i in range(n)], cells, limits)


def rung(tier, name, robust, *, weak=False, worst=0.2, **options):
    return Rung(run_id="0" * 16, tier=tier, threat=PluginSpec(name=name, options=options), attack="autoattack",
                robust_accuracy=robust, interval=(max(0, robust - 0.1), min(1, robust + 0.1)), worst_so_far=worst,
                source_clean_accuracy=0.3 if weak else 0.99, source_too_weak=weak, against=[])  # fmt: skip


def ladder(many=1):
    tiers = ("T0", "T1", "T1+", "T1s", "T2", "T3", "T4", "T5")
    rungs = [rung(t, "adaptive-ensemble", 0.9 - 0.1 * i, members=4, base=True) for i, t in enumerate(tiers)
             for _ in range(many)]  # fmt: skip
    rungs.append(rung("T3", "distillation", 0.95, weak=True, query_budget=100_000))
    rungs.sort(key=lambda r: tiers.index(r.tier))
    left = [Tier(tier=t, robust_accuracy=0.9 - 0.1 * i, up_to=0.8 - 0.1 * i, interval=(0.7 - 0.1 * i, 0.9 - 0.1 * i))
            for i, t in enumerate(tiers)]  # fmt: skip
    return LadderRecord(ladder_id="1" * 16, ladder="standard", profile="digits",
                        defense=PluginSpec(name="key-lora"), budget="linf:1/10", seed=0, images=300,
                        clean_accuracy=0.99, clean_interval=(0.97, 1.0), rungs=rungs,
                        paper=[rung("T1", "adaptive", 0.86, worst=None)], skipped=[], tiers=left, broken_below=0.5,
                        first_break="T3", eligible=True, seconds=0)  # fmt: skip


def table(columns, lines=1):
    body = tuple(tuple("\n".join(["<= 100.0 [99.9, 100.0]"] * lines) for _ in range(columns)) for _ in range(4))
    return Table(f"A table of {columns} columns", tuple(f"column {i}" for i in range(columns)), body, ())


def shots(n, side=32, name="digits-0001"):
    rng = np.random.default_rng(0)
    clean = [rng.random((side, side, 3), dtype=np.float32) for _ in range(n)]
    moved = [np.clip(x + rng.choice([-0.1, 0.1], x.shape), 0, 1).astype(np.float32) for x in clean]
    outcomes = ("robust", "fooled", "misclassified", "invalid")
    return [Shot(name, "3", "3", "none", outcomes[i % 4], *pair)
            for i, pair in enumerate(zip(clean, moved, strict=True))]  # fmt: skip


LONG = (
    "Accuracy of every model there is against what an attack may spend, with all that must be said of it beside, " * 2
)
FIGURES = {
    "eps of six models": lambda: eps_curves([panel(t, SIX, (0, 0.01, 0.1)) for t in "abc"], title="Fig. 4"),
    "eps of one": lambda: eps_curves([panel("a", ["one"], (0, 0.01))], title="x"),
    "eps of twenty": lambda: eps_curves([panel("a", [f"{LONG[:60]} {i}" for i in range(20)])], title=LONG),
    "eps of nothing": lambda: eps_curves([Panel("non-adaptive", []), Panel("adaptive", [])], title="empty"),
    "budget": lambda: budget_curve([panel("key-full", SIX[:3]), panel("key-lora", SIX[:2])], "queries", title="x"),
    "budget of many places": lambda: budget_curve([panel("a", ["b"], range(1, 4000, 7))], "queries", title=LONG),
    "matrix": lambda: cross_key([matrix(4)], title=LONG),
    "matrix of one": lambda: cross_key([matrix(1)], title="x"),
    "two matrices": lambda: cross_key([matrix(4), matrix(4, missing={(0, 1)})], title=LONG),
    "three matrices": lambda: cross_key([matrix(12), matrix(2), matrix(7)], title="x"),
    "ladder": lambda: ladder_chart(ladder()),
    "long ladder": lambda: ladder_chart(ladder(8)),
    "two tables": lambda: draw_tables([table(3), table(9, lines=3)]),
    "gallery of 1": lambda: gallery(shots(1), title=LONG, scale=5),
    "gallery of 7": lambda: gallery(shots(7, name="a/very/long/name/" * 20), title=LONG, scale=5),
    "gallery of 40": lambda: gallery(shots(40), title="x", scale=5),
    "gallery of large images": lambda: gallery(shots(3, 224), title=LONG, scale=100),
}


@cache
def figure_of(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    return figure


def words(figure):
    """All that is written; ticks beyond the limits of their axis are there, but never drawn."""
    ticks = [t for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for t in axis.get_major_ticks()]
    shown = [t for axes in figure.axes if axes.axison
             for axis in (axes.xaxis, axes.yaxis) for t in axis._update_ticks()]  # fmt: skip
    hidden = {label for tick in ticks if tick not in shown for label in (tick.label1, tick.label2)}
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in hidden]


@pytest.mark.parametrize("name", FIGURES)
def test_no_word_is_cut_off(name):
    figure = figure_of(name)
    assert words(figure)
    for text in words(figure):
        box = text.get_window_extent()
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
        assert inside, (text.get_text(), box.bounds, figure.bbox.bounds)


@pytest.mark.parametrize("name", [n for n in FIGURES if "gallery" not in n])
def test_title_legend_and_plots_do_not_cover_each_other(name):
    figure = figure_of(name)
    plots = [axes.get_tightbbox() for axes in figure.axes if axes.axison]
    around = [*figure.legends, *(t for t in figure.texts if t.get_text()), figure._suptitle, figure._supxlabel]
    boxes = plots + [artist.get_window_extent() for artist in dict.fromkeys(a for a in around if a is not None)]
    for i, box in enumerate(boxes):
        for other in boxes[i + 1 :]:
            wide = min(box.x1, other.x1) - max(box.x0, other.x0)
            high = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert wide <= 1 or high <= 1, (name, box.bounds, other.bounds)


@pytest.mark.parametrize("name", ["gallery of 7", "gallery of large images", "gallery of 40"])
def test_words_of_a_gallery_do_not_cover_each_other_or_the_images(name):
    figure = figure_of(name)
    boxes = [t.get_window_extent() for t in words(figure)] + [axes.get_window_extent() for axes in figure.axes]
    for i, box in enumerate(boxes):
        for other in boxes[i + 1 :]:
            wide = min(box.x1, other.x1) - max(box.x0, other.x0)
            high = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert wide <= 1 or high <= 4, (box.bounds, other.bounds)


@pytest.mark.parametrize("name", ["eps of six models", "two matrices", "ladder", "gallery of 7"])
def test_same_data_same_bytes(name, tmp_path):
    figure = FIGURES[name]()
    first = [p.read_bytes() for p in save(figure, tmp_path / "first")]
    with mpl.rc_context({"font.size": 20, "font.family": "serif", "savefig.bbox": "tight", "pdf.fonttype": 3}):
        again = [p.read_bytes() for p in save(figure, tmp_path / "again")]
        other = [p.read_bytes() for p in save(FIGURES[name](), tmp_path / "other.v2")]
    assert first == again == other
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "again.pdf", "again.png", "first.pdf", "first.png", "other.v2.pdf", "other.v2.png",
    ]  # fmt: skip


def test_same_bytes_from_another_process(tmp_path):
    """Whatever the hash seed: sets and dictionaries decide nothing."""
    code = (
        "from pathlib import Path; import sys\n"
        "from tests.unit.report.test_figures import FIGURES\n"
        "from bench.report.figures.style import save\n"
        "save(FIGURES['two matrices'](), Path(sys.argv[1]))"
    )
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / seed)], env=env, check=True)
    for kind in ("png", "pdf"):
        assert (tmp_path / f"1.{kind}").read_bytes() == (tmp_path / f"2.{kind}").read_bytes()


def test_files_say_nothing_of_time_or_machine(tmp_path):
    picture, paper = save(FIGURES["eps of one"](), tmp_path / "x")
    with Image.open(picture) as image:
        assert set(image.info) <= {"dpi"}
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
    data = paper.read_bytes()
    assert b"CreationDate" not in data
    assert b"/Subtype /TrueType" in data or b"/CIDFontType2" in data  # type 42, not type 3
    assert b"/Type3" not in data


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(mpl.rcParams)
    FIGURES["ladder"]()
    assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_lines_differ_in_more_than_colour():
    looks = [look(i) for i in range(7)]
    assert len({one.marker for one in looks}) == 7
    assert len({(one.marker, str(one.dashes)) for one in (look(i) for i in range(45))}) == 45
    assert len({one.color for one in looks}) == 7


def test_a_model_looks_the_same_in_every_panel():
    figure = eps_curves([panel("a", SIX[2:4]), panel("b", list(reversed(SIX[2:4])))], title="x")
    colours = [{line.get_color() for line in axes.get_lines()} for axes in figure.axes]
    assert colours[0] == colours[1]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == SIX[2:4]


def test_eps_is_shown_in_units_of_a_grey_level():
    (axes,) = eps_curves([Panel("a", [Series("s", [(16 / 255, 0.5, 0.4, 0.6), (0, 1, 0.9, 1)])])], title="x").axes
    line = axes.get_lines()[0]
    assert list(line.get_xdata()) == pytest.approx([0, 16])
    assert list(line.get_ydata()) == [100, 50]
    ends = axes.collections[0].get_segments()
    assert ends[1][:, 1] == pytest.approx([40, 60])


def test_bars_at_one_place_can_be_told_apart():
    (axes,) = eps_curves([panel("a", SIX, (0, 8 / 255, 16 / 255))], title="x").axes
    places = [sorted(line.get_xdata()) for line in axes.get_lines() if len(line.get_xdata()) == 3]
    bars = sorted({round(segment[0, 0], 6) for bar in axes.collections for segment in bar.get_segments()})
    assert len(bars) == 3 * len(SIX)
    assert all(abs(x - near) < 2 for xs in places for x, near in zip(xs, (0, 8, 16), strict=True))


def test_an_empty_panel_says_so():
    figure = eps_curves([panel("a", ["b"]), Panel("c", [Series("b", [])])], title="x")
    assert [t.get_text() for t in figure.axes[1].texts] == ["not measured yet"]
    assert not figure.axes[0].texts


def test_places_of_a_budget_are_named_on_a_logarithmic_axis():
    figure = budget_curve([panel("a", ["b"], (30, 300, 3000))], "queries", title="x")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert [t.get_text() for t in axes.get_xticklabels()] == ["30", "300", "3k"]


def test_a_figure_in_a_cell_can_be_read():
    """At least the contrast that WCAG asks of text, 4.5 to 1, on every shade."""
    cells = [[i / 20 for i in range(j, j + 10)] for j in range(10)]
    figure = cross_key([Matrix("m", [str(i) for i in range(10)], cells)], title="x")
    axes = figure.axes[0]
    shown = axes.images[0]
    for text in axes.texts:
        j, i = (round(v) for v in text.get_position())
        pair = sorted(luminance(c) for c in (text.get_color(), shown.cmap(shown.norm(100 * cells[i][j]))))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5
        assert text.get_text() == f"{100 * cells[i][j]:.0f}"


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_the_diagonal_is_outlined_and_said_to_be_white_box():
    figure = cross_key([matrix(4)], title="x")
    boxes = [p for p in figure.axes[0].patches if to_rgb(p.get_edgecolor()) == to_rgb(VERMILLION)]
    assert len(boxes) == 4
    assert all(p.get_x() == p.get_y() for p in boxes)
    assert "white-box" in figure._supxlabel.get_text()


def test_a_ladder_has_its_rungs_worst_case_and_marks():
    record = ladder()
    figure = ladder_chart(record)
    (axes,) = figure.axes
    names = [t.get_text() for t in axes.get_yticklabels()]
    assert len(names) == len(record.rungs) + 1
    assert names[0] == "adaptive-ensemble (members=4, base) · autoattack"
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert any("as the paper measured" in text for text in legend)
    assert any("source too weak" in text for text in legend)
    assert {t.get_text() for t in axes.texts} == {t.tier for t in record.tiers}
    (steps,) = (line for line in axes.get_lines() if "worst case" in str(line.get_label()))
    assert list(dict.fromkeys(steps.get_xdata())) == pytest.approx([100 * t.up_to for t in record.tiers])
    hollow = [line for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[86]]
    full = [line for line in axes.get_lines() if line.get_markerfacecolor() == BLUE and line.get_marker() == "o"]
    assert sorted(x for line in full for x in line.get_xdata()) == sorted(
        100 * r.robust_accuracy for r in record.rungs if not r.source_too_weak
    )


@pytest.mark.parametrize(("largest", "scale"), [(0.1, 5), (4 / 255, 20), (1.0, 0.5), (0.0, 1), (0.004, 100)])
def test_a_perturbation_is_enlarged_as_far_as_it_fits(largest, scale):
    clean = np.full((4, 4, 3), 0.5, np.float32)
    moved = clean.copy()
    moved[0, 0, 0] += np.float32(largest)
    assert nice_scale([Shot("a", "1", "1", "1", "robust", clean, moved)]) == pytest.approx(scale)


def test_tiles_are_the_clean_image_the_scaled_difference_and_the_adversarial_image():
    shot = shots(1)[0]
    figure = gallery([shot], title="x", scale=5)
    tiles = [axes.images[0].get_array() for axes in figure.axes]
    np.testing.assert_allclose(tiles[0], shot.clean)
    np.testing.assert_allclose(tiles[1], np.clip(0.5 + 5 * (shot.adversarial - shot.clean), 0, 1), atol=1e-6)
    np.testing.assert_allclose(tiles[2], shot.adversarial)
    said = [t.get_text() for t in figure.texts]
    assert "perturbation x 5" in said
    assert "label 3 · clean: 3 · adv.: none" in said


def test_an_image_that_is_not_finite_is_drawn():
    shot = shots(1)[0]
    broken = shot.adversarial.copy()
    broken[0, 0, 0], broken[1, 1, 1] = np.nan, np.inf
    shot = Shot("a", "3", "3", "none", "invalid", shot.clean, broken)
    assert np.isfinite(nice_scale([shot]))
    gallery([shot], title="x", scale=nice_scale([shot])).draw_without_rendering()


def test_letters_that_the_font_lacks_are_question_marks():
    assert drawable("n02\n\u4f60-é") == "n02??-é"
    gallery(shots(1, name="\u4f60\u597d/1.png"), title="x", scale=1).draw_without_rendering()  # warnings are errors


def test_a_picture_can_be_made_smaller():
    figure = gallery(shots(4, 224), title="x", scale=5)
    data = png(figure, 300_000)
    assert 0 < len(data) <= 300_000 < len(png(figure, 10**9))
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    small = FIGURES["gallery of 1"]()
    assert png(small, 1_500_000) == png(small, 10**9)  # full colours where they fit


def test_a_panel_is_laid_out_by_who_asks_for_it():
    figure = panels_figure([panel("a", ["b"])], "x", title="t")
    assert figure.get_layout_engine() is not None
