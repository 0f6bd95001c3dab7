"""One look for every figure: typography, two themes, one colour per model."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import re
from collections.abc import Iterator
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Distinct under protanopia and deuteranopia (checked in the tests), and dark enough for
# thin lines on white as well as light enough for them on near-black.
PALETTE = (
    "#2b76bd",  # blue
    "#dd7a0e",  # orange
    "#12a07c",  # green
    "#b54d8f",  # magenta
    "#56a9dc",  # sky
    "#75640f",  # olive
)
OUTSIDER = "#7d8590"  # a model or value that is of none of the report's models
MARKERS = "oDs^vPX"
MISSED = "#c8102e"
DPI = 200


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of everything that is not data.

    Attributes:
      ink: text. muted: secondary text. rule: axes and guides. surface: background.
    """

    name: str
    ink: str
    muted: str
    rule: str
    surface: str


LIGHT = Theme(
    "light", ink="#1c2127", muted="#626b76", rule="#c3c9d0", surface="#ffffff"
)
DARK = Theme("dark", ink="#e7eaee", muted="#9aa3ae", rule="#4a525c", surface="#171a1f")


def model_colour(index: int) -> str:
    """Colour of the model at a position of the report's order."""
    return PALETTE[index % len(PALETTE)]


def model_marker(index: int) -> str:
    """Marker of the model at a position: 42 models before a pair recurs."""
    return MARKERS[index % len(MARKERS)]


@contextlib.contextmanager
def style(theme: Theme) -> Iterator[None]:
    """Matplotlib settings of the report, for the duration of a ``with``."""
    with matplotlib.rc_context(_settings(theme)):
        yield


def _settings(theme: Theme) -> dict[Any, Any]:
    return {
        "font.family": "sans-serif",
        "font.sans-serif": ["Arial", "Liberation Sans", "DejaVu Sans"],
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 7,
        "axes.labelsize": 9,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": theme.rule,
        "axes.facecolor": theme.surface,
        "axes.labelcolor": theme.ink,
        "axes.titlecolor": theme.ink,
        "axes.unicode_minus": True,
        "figure.facecolor": theme.surface,
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "auto",
        "text.color": theme.ink,
        "text.parse_math": False,  # ids are shown as they are, $ included
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "xtick.color": theme.rule,
        "ytick.color": theme.rule,
        "xtick.labelcolor": theme.muted,
        "ytick.labelcolor": theme.muted,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "lines.solid_capstyle": "round",
        "image.interpolation": "hanning",  # smooth in both directions, no ringing
    }


def finished(figure: Figure) -> Figure:
    """Lays the figure out now: ticks made later would miss the style."""
    figure.draw_without_rendering()
    return figure


def figure_png(figure: Figure, theme: Theme = LIGHT) -> bytes:
    """The figure as PNG bytes; equal figures give equal bytes."""
    stream = io.BytesIO()
    with style(theme):
        figure.savefig(
            stream,
            format="png",
            dpi=DPI,
            metadata={"Software": None},
            pil_kwargs={"compress_level": 4},
        )
    return stream.getvalue()


def plain(value: float, signed: bool = False) -> str:
    """A number with two decimals, a large one without.

    >>> plain(0.5), plain(-2711.7)
    ('0.50', '−2712')
    """
    return number(value, 2 if abs(value) < 100 else 0, signed)


def number(value: float, digits: int = 2, signed: bool = False) -> str:
    """A number for figure and page: true minus sign, en dash where undefined.

    >>> number(-0.316), number(float("nan")), number(0.2, signed=True)
    ('−0.32', '–', '+0.20')
    """
    if not math.isfinite(value):
        return "–"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    zero = f"{0:.{digits}f}"
    text = zero if text in ("-" + zero, "+" + zero) else text
    return text.replace("-", "−")


def short(name: str, length: int = 24) -> str:
    """A name of at most `length` characters, shortened in its middle.

    >>> short("a_very_long_model_name", 11)
    'a_ver…_name'
    """
    name = " ".join(name.split())
    if len(name) <= length:
        return name
    head = length // 2
    return name[:head] + "…" + name[len(name) - (length - head - 1) :]


def stacked(name: str, length: int = 12) -> str:
    """A name in lines of at most `length` characters, broken after ``_``, ``-``, ``.``.

    >>> stacked("small_robust", 10).splitlines(), stacked("resnet50")
    (['small_', 'robust'], 'resnet50')
    """
    lines = [""]
    for part in re.split(r"(?<=[_.-])", " ".join(name.split())):
        if lines[-1] and len(lines[-1] + part) > length:
            lines.append("")
        lines[-1] += part
    return "\n".join(short(line, length) for line in lines)
