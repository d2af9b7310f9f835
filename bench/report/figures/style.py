"""One look for every figure, and writing them so that the same figure gives the same bytes."""

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

# Widths of one and of two columns of IEEE's paper format, in inches.
ONE_COLUMN, TWO_COLUMNS = 3.5, 7.16
DPI = 200  # of the PNG files
# Okabe and Ito, "Color Universal Design", 2008; its yellow is left out, which does not show as a line on white.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK = COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000",
)  # fmt: skip
GREY = "#666666"
# Numbers of colours, markers and dashes have no common factor: 7 x 9 x 5 lines before two look alike.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)))
_PASSES = 3  # of the layout: where a plot has a fixed shape, room for the words around it is found in steps
_HARD = "\N{NO-BREAK SPACE}"
_CHARACTER = 0.6  # width of a letter of DejaVu Sans in its own size, a little more than the mean

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
    "pdf.fonttype": 42,  # TrueType, as publishers ask
    "savefig.dpi": DPI,
    "savefig.bbox": None,
    "savefig.transparent": False,
    "text.parse_math": False,  # names are words, whatever stands in them
    "text.usetex": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}
# Dots per inch and colours (0: all) of ever smaller PNG files.
_SMALLER = ((DPI, 0), (DPI, 256), (150, 256), (100, 256), (72, 256), (72, 64))
Given = ParamSpec("Given")


@dataclass(frozen=True)
class Look:
    """How one line of many looks; told apart by each of the three alone, so in grey print too."""

    color: str
    marker: str
    dashes: Any


def look(number: int) -> Look:
    """Of line ``number`` of a figure, from 0."""
    return Look(COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)], DASHES[number % len(DASHES)])


@contextmanager
def style() -> Iterator[None]:
    """The look, whatever the machine's matplotlib is set to; nothing of it stays."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def drawn(make: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """For a function that makes a figure: in the style, laid out once, so that every file of it is alike."""

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
    """An empty figure in inches, without pyplot's state; labels find their room when it is laid out."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def headline(figure: Figure, text: str, *, size: float = 9) -> None:
    """The figure's title, in as many lines as its width asks for."""
    figure.suptitle(wrapped(text, figure.get_figwidth() - 0.2, size), fontsize=size, fontweight="bold")


def footnote(figure: Figure, text: str, *, size: float = 6.5) -> None:
    """A line under the figure, in as many lines as its width asks for."""
    figure.supxlabel(wrapped(text, figure.get_figwidth() - 0.2, size), fontsize=size, color="#333333")


def wrapped(text: str, width: float, size: float) -> str:
    """``text`` in as few lines as fit into ``width`` inches in letters of ``size`` points, lines about as long."""
    joined = text.replace(" = ", f"{_HARD}={_HARD}")  # no line ends within n = 100
    most = max(8, int(width * 72 / size / _CHARACTER))
    lines = len(textwrap.wrap(joined, most))
    even = next(
        (w for w in range(max(8, len(joined) // max(lines, 1)), most) if len(textwrap.wrap(joined, w)) <= lines), most
    )
    return textwrap.fill(joined, even).replace(_HARD, " ")


def drawable(text: str) -> str:
    """``text`` with a question mark for every letter that the font does not have, and for line breaks."""
    letters = _letters()
    return "".join(c if c.isprintable() and ord(c) in letters else "?" for c in text)


@cache
def _letters() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def accuracy_axis(axes: Axes, which: str = "y") -> None:
    """From 0 to 100%, with a little room so that no marker is cut."""
    getattr(axes, f"set_{which}lim")(-3, 103)
    getattr(axes, f"set_{which}ticks")(range(0, 101, 20))


def png(figure: Figure, most: int) -> bytes:
    """A PNG of ``figure`` of at most ``most`` bytes: with 256 colours and then fewer dots where it must.

    The smallest there is comes back where none is small enough.
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
    """Write ``stem``.png and ``stem``.pdf whole; the same figure gives the same bytes, today and tomorrow.

    Raises:
        StorageError: the folder cannot be written.
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
