"""A common style for all figures, and writing them so that the same figure gives the same bytes."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from PIL import Image

from bench.store.files import write_whole

# Column and page width of IEEE's paper format, in inches.
ONE_COLUMN, TWO_COLUMNS = 3.5, 7.16
DPI = 200  # of the PNG files
# Okabe and Ito, "Color Universal Design", 2008; without its yellow, which is not visible as a line on white.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK = COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000",
)  # fmt: skip
GREY = "#666666"
# The numbers of colours, markers and dashes are coprime: 7 x 9 x 5 lines before two look alike.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)))
_PASSES = 3  # of the layout: with a fixed aspect, the space for the text around it is found iteratively
_HARD = "\N{NO-BREAK SPACE}"
_CHARACTER = 0.6  # width of a character of DejaVu Sans relative to its size, slightly above the mean

_RC: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": "#333333",
    "axes.linewidth": 0.8,
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "pdf.compression": 6,
    "pdf.fonttype": 42,  # TrueType, as publishers require
    "savefig.dpi": DPI,
    "savefig.bbox": None,
    "savefig.transparent": False,
    "text.parse_math": False,  # names are plain text, whatever they contain
    "text.usetex": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}
# Resolution and number of colours (0: all) of successively smaller PNG files.
_SMALLER = ((DPI, 0), (DPI, 256), (150, 256), (100, 256), (72, 256), (72, 64))
Given = ParamSpec("Given")


@dataclass(frozen=True)
class Look:
    """Style of one of many lines; colour, marker and dashes each distinguish it, so it works in grey print too."""

    color: str
    marker: str
    dashes: Any


def look(number: int) -> Look:
    """Style of line ``number`` of a figure, from 0."""
    return Look(COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)], DASHES[number % len(DASHES)])


@contextmanager
def style() -> Iterator[None]:
    """Apply the style, whatever the machine's matplotlib configuration; it is restored afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def drawn(make: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """Decorator for a function that makes a figure: in the style, laid out once, so that all its files agree."""

    @wraps(make)
    def made(*args: Given.args, **kwargs: Given.kwargs) -> Figure:
        with style():
            figure = make(*args, **kwargs)
            for _ in range(_PASSES):
                figure.draw_without_rendering()
            figure.set_layout_engine("none")
        return figure

    return made


def blank(width: float, height: float) -> Figure:
    """An empty figure in inches, without pyplot's state; the layout makes room for labels."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def headline(figure: Figure, text: str, *, size: float = 9) -> None:
    """The figure's title, wrapped to its width."""
    figure.suptitle(wrapped(text, figure.get_figwidth() - 0.2, size), fontsize=size, fontweight="bold")


def footnote(figure: Figure, text: str, *, size: float = 6.5) -> None:
    """A line under the figure, wrapped to its width."""
    figure.supxlabel(wrapped(text, figure.get_figwidth() - 0.2, size), fontsize=size, color="#333333")


def wrapped(text: str, width: float, size: float) -> str:
    """Wrap ``text`` at ``size`` points to ``width`` inches, with few lines of similar length."""
    joined = text.replace(" = ", f"{_HARD}={_HARD}")  # no line break inside n = 100
    most = max(8, int(width * 72 / size / _CHARACTER))
    lines = len(textwrap.wrap(joined, most))
    even = next(
        (w for w in range(max(8, len(joined) // max(lines, 1)), most) if len(textwrap.wrap(joined, w)) <= lines), most
    )
    return textwrap.fill(joined, even).replace(_HARD, " ")


def drawable(text: str) -> str:
    """``text`` with a question mark for line breaks and every character missing in the font."""
    letters = _letters()
    return "".join(c if c.isprintable() and ord(c) in letters else "?" for c in text)


@cache
def _letters() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def accuracy_axis(axes: Axes, which: str = "y") -> None:
    """From 0 to 100%, with a small margin so that no marker is cut off."""
    getattr(axes, f"set_{which}lim")(-3, 103)
    getattr(axes, f"set_{which}ticks")(range(0, 101, 20))


def png(figure: Figure, most: int) -> bytes:
    """A PNG of ``figure`` of at most ``most`` bytes: if needed with 256 colours, then with lower resolution.

    Returns the smallest version if none is small enough.
    """
    data = b""
    for dpi, colours in _SMALLER:
        buffer = io.BytesIO()
        with style():
            figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        if colours:
            image = Image.open(buffer).convert("RGB").quantize(colours, dither=Image.Dither.NONE)
            buffer = io.BytesIO()
            image.save(buffer, format="png", optimize=True)
        data = buffer.getvalue()
        if len(data) <= most:
            break
    return data


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem``.png and ``stem``.pdf atomically; the same figure always gives the same bytes.

    Raises:
        StorageError: if the folder cannot be written.
    """
    kinds: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    paths = []
    with style():
        for kind, metadata in kinds.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
            path = stem.parent / f"{stem.name}.{kind}"
            write_whole(path, buffer.getvalue())
            paths.append(path)
    return paths
