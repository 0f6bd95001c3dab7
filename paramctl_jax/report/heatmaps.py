"""Tables as colour: who predicts whose stimuli, and which sites the stimuli drive."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.style import (
    LIGHT,
    OUTSIDER,
    Theme,
    finished,
    number,
    short,
    style,
)
from paramctl_jax.types import InputError

COLOURS = "cividis"  # uniform in lightness, and the same to colour-blind readers
UNDEFINED = "////"
_CELL = (0.98, 0.62)  # inches
_NARROW = 0.62  # inches, of a cell without an interval
_UNKNOWN = (math.nan, math.nan)
_LIGHT_FROM = 0.55  # relative luminance of a cell above which its text is dark


def peer_review_map(inputs: ReportInputs, theme: Theme = LIGHT) -> Figure:
    """Draws the control score of every reviewer on every maker's stimuli.

    Rows made the stimuli, columns predict the responses to them. A cell has its score
    and, below, its 95 % interval. Framed: a model on its own stimuli. Hatched:
    undefined. One colour scale from 0, or the lowest score below it, to 1.

    Args:
      inputs: the report's data, with a peer review.
      theme: colours.

    Returns:
      The figure.

    Raises:
      InputError: without a peer review.
    """
    review = inputs.peer_review
    if review is None:
        raise InputError("report: expected a peer review, found none")
    scale = common_scale([review.control])
    shape = review.control.shape
    with style(theme):
        size = (shape[1] * _CELL[0] + 3.0, shape[0] * _CELL[1] + 1.35)
        figure = Figure(figsize=size, facecolor=theme.surface)
        axes = figure.add_subplot()
        draw_cells(axes, review.control, scale, theme, review.ci)
        label_models(axes, inputs, review.makers, review.reviewers)
        axes.set_ylabel("stimuli made by")
        axes.set_xlabel("responses predicted by")
        for row, maker in enumerate(review.makers):
            if maker in review.reviewers:
                own = review.reviewers.index(maker)
                frame(axes, row, own, _ink(float(review.control[row, own]), scale))
        colour_bar(figure, [axes], scale, theme)
        return finished(figure)


def specificity_maps(inputs: ReportInputs, theme: Theme = LIGHT) -> Figure:
    """Draws the control of every recorded site by the stimuli made for each site.

    One panel per model, all with one colour scale. Rows are the sites that stimuli
    were made for, columns those recorded; framed where they are one.

    Args:
      inputs: the report's data, with specificity.
      theme: colours.

    Returns:
      The figure: models across.

    Raises:
      InputError: without specificity.
    """
    shown = list(inputs.specificity)
    if not shown:
        raise InputError("report: expected specificity of a model, found none")
    scale = common_scale([one.control for one in shown])
    columns = [len(one.recorded) for one in shown]
    rows = max(len(one.driven) for one in shown)
    names = max(len(short(site, 12)) for one in shown for site in one.recorded)
    with style(theme):
        width = sum(columns) * _NARROW + 1.05 * len(shown) + 0.9
        size = (max(width, 4.2), rows * _NARROW + 1.3 + 0.09 * names)
        figure = Figure(figsize=size, facecolor=theme.surface)
        grid = figure.add_gridspec(1, len(shown), width_ratios=columns)
        panels = [figure.add_subplot(cell) for cell in grid]
        for axes, one in zip(panels, shown, strict=True):
            draw_cells(axes, one.control, scale, theme)
            _label_sites(axes, one.driven, one.recorded)
            axes.set_title(short(one.model, 30), color=inputs.colour(one.model))
            for row, site in enumerate(one.driven):
                if site in one.recorded:
                    own = one.recorded.index(site)
                    frame(axes, row, own, _ink(float(one.control[row, own]), scale))
        panels[0].set_ylabel("stimuli made for site")
        colour_bar(figure, panels, scale, theme)
        return finished(figure)


def common_scale(tables: Sequence[np.ndarray]) -> Normalize:
    """One scale for all tables: from 0, or the lowest value below it, to 1.

    >>> scale = common_scale([np.array([[-0.25, 0.5]]), np.array([[np.nan]])])
    >>> float(scale.vmin), float(scale.vmax)
    (-0.25, 1.0)
    """
    values = np.concatenate([np.ravel(table) for table in tables])
    finite = values[np.isfinite(values)]
    return Normalize(min(0.0, float(finite.min(initial=0.0))), 1.0)


def draw_cells(
    axes: Axes,
    values: Float[np.ndarray, "row column"],
    scale: Normalize,
    theme: Theme,
    intervals: Float[np.ndarray, "row column 2"] | None = None,
) -> None:
    """Draws values as colour and text; the intervals below them in small type.

    Args:
      axes: where.
      values: NaN is hatched and has the text "undefined".
      scale: from values to the colours.
      theme: of what is not data.
      intervals: low and high end of each.
    """
    axes.imshow(
        np.ma.masked_invalid(values), cmap=COLOURS, norm=scale, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    for row, column in np.ndindex(values.shape):
        value = float(values[row, column])
        ends = _UNKNOWN if intervals is None else intervals[row, column].tolist()
        if np.isfinite(value):
            _write(axes, row, column, value, ends, _ink(value, scale))
        else:
            _hatch(axes, row, column, theme)
    axes.set_xticks(np.arange(-0.5, values.shape[1]), minor=True)
    axes.set_yticks(np.arange(-0.5, values.shape[0]), minor=True)
    axes.grid(which="minor", color=theme.surface, lw=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _write(
    axes: Axes, row: int, column: int, value: float, ends: Sequence[float], ink: str
) -> None:
    low, high = ends
    known = np.isfinite(low) and np.isfinite(high)
    axes.text(
        column, row - (0.1 if known else 0), number(value), ha="center", va="center",
        fontsize=10 if known else 8.5, fontweight="bold", color=ink,
    )  # fmt: skip
    if known:
        axes.text(
            column, row + 0.24, f"{number(low)} to {number(high)}", ha="center",
            va="center", fontsize=6.5, color=ink,
        )  # fmt: skip


def _hatch(axes: Axes, row: int, column: int, theme: Theme) -> None:
    axes.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5), 1, 1, fill=False, hatch=UNDEFINED,
            ec=theme.rule, lw=0, zorder=1,
        )
    )  # fmt: skip
    axes.text(
        column, row, "undefined", ha="center", va="center", fontsize=6.5,
        color=theme.ink, bbox={"fc": theme.surface, "ec": "none", "pad": 1.2},
    )  # fmt: skip


def _ink(value: float, scale: Normalize) -> str:
    """Dark text on light cells, light text on dark ones; grey on undefined ones."""
    if not math.isfinite(value):
        return OUTSIDER
    red, green, blue, _ = colormaps[COLOURS](scale(value))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return LIGHT.ink if luminance > _LIGHT_FROM else "#ffffff"


def frame(axes: Axes, row: int, column: int, ink: str) -> None:
    """Marks one cell by a frame."""
    axes.add_patch(
        Rectangle(
            (column - 0.44, row - 0.42), 0.88, 0.84, fill=False, ec=ink, lw=1.6,
            zorder=4,
        )
    )  # fmt: skip


def label_models(
    axes: Axes, inputs: ReportInputs, rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Names of the models at both axes, each in its colour; columns above."""
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    slanted = max((len(short(name, 18)) for name in columns), default=0) > 10
    turn = {"rotation": 30, "ha": "left", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(range(len(columns)), [short(m, 18) for m in columns], **turn)
    axes.set_yticks(range(len(rows)), [short(m, 24) for m in rows])
    for labels, names in (
        (axes.get_xticklabels(), columns),
        (axes.get_yticklabels(), rows),
    ):
        for label, name in zip(labels, names, strict=True):
            label.set(color=inputs.colour(name), fontweight="bold")


def _label_sites(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    turned = max(len(short(site, 12)) for site in columns) > 6
    axes.set_xticks(
        range(len(columns)), [short(site, 12) for site in columns],
        rotation=90 if turned else 0,
    )  # fmt: skip
    axes.set_yticks(range(len(rows)), [short(site, 12) for site in rows])
    axes.set_xlabel("recorded site")


def colour_bar(
    figure: Figure, panels: Sequence[Axes], scale: Normalize, theme: Theme
) -> None:
    """The scale that all panels share."""
    bar = figure.colorbar(
        ScalarMappable(scale, COLOURS), ax=list(panels), shrink=0.9, aspect=18, pad=0.02
    )
    bar.set_label("control r")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.ax.tick_params(color=theme.rule)
