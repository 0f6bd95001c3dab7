"""Does who predicts better also control better? One point per model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paramctl_jax.encoding.resampling import encoding_interval
from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.style import (
    LIGHT,
    Theme,
    finished,
    model_marker,
    short,
    style,
)
from paramctl_jax.report.summary import nanmean

FEWEST_MODELS = 3  # of fewer, two numbers say it
_LINE = 0.047  # of the panel's height: between two labels


def encoding_against_control(inputs: ReportInputs, theme: Theme = LIGHT) -> Figure:
    """Draws control over encoding, one point per model with both 95 % intervals.

    Across: mean held-out r over the scored sites; its interval resamples images and
    sites, `encoding_interval`. Up: the control score; its interval resamples seeds and
    sites. Names stand beside the panel, at the height of their points as far as there
    is room, each joined to its point.

    Args:
      inputs: the report's data.
      theme: colours.

    Returns:
      The figure.
    """
    points = model_points(inputs)
    with style(theme):
        figure = Figure(figsize=(6.6, 4.6), facecolor=theme.surface)
        axes = figure.add_subplot()
        for model, (x, x_ci, y, y_ci) in points.items():
            colour, index = inputs.colour(model), inputs.models.index(model)
            axes.plot(x_ci, [y, y], color=colour, lw=1.3, alpha=0.6, zorder=2)
            axes.plot([x, x], y_ci, color=colour, lw=1.3, alpha=0.6, zorder=2)
            axes.plot(
                [x], [y], ls="", marker=model_marker(index), ms=8, mew=0.8,
                mec=theme.surface, color=colour, zorder=3,
            )  # fmt: skip
        _finish(axes, points, theme)
        _label(axes, inputs, points)
        return finished(figure)


Point = tuple[float, tuple[float, float], float, tuple[float, float]]


def model_points(inputs: ReportInputs) -> dict[str, Point]:
    """Encoding, its interval, control, its interval; of models that have both."""
    points = {}
    for model, score in inputs.model_scores.items():
        evaluation = inputs.evaluations[model]
        sites = set(inputs.sites_of(model))
        at = [i for i, site in enumerate(evaluation.site_ids) if site in sites]
        encoding = nanmean(evaluation.r[at])
        if np.isfinite(encoding) and np.isfinite(score.control_mean):
            ends = encoding_interval(evaluation, at)
            points[model] = (encoding, ends, score.control_mean, score.control_ci)
    return {model: points[model] for model in inputs.models if model in points}


def _finish(axes: Axes, points: dict[str, Point], theme: Theme) -> None:
    ends = np.asarray(
        [(x, *x_ci, y, *y_ci) for x, x_ci, y, y_ci in points.values()]
    ).reshape(-1, 2, 3)
    for axis, name in enumerate(("x", "y")):
        values = ends[:, axis][np.isfinite(ends[:, axis])]
        low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
        margin = 0.07 * (high - low) or 0.1
        axes.set(**{f"{name}lim": (low - margin, high + margin)})
    if axes.get_ylim()[0] < 0:
        axes.axhline(0, color=theme.rule, lw=0.8, zorder=0)
    axes.grid(color=theme.rule, lw=0.5, alpha=0.5, zorder=0)
    axes.set_axisbelow(True)
    axes.set_xlabel("encoding: r over held-out natural images, mean over sites")
    axes.set_ylabel("control: r over target levels")


def spread_out(heights: Sequence[float], gap: float) -> list[float]:
    """Heights moved as little as needed to be at least a gap apart, in their order.

    The nearest heights in squares: neighbours that are too close become one block,
    around the mean of its members' wishes (isotonic regression of ``h_i - i gap``).

    >>> spread_out([0.5, 0.5, 0.9], 0.1)
    [0.45, 0.55, 0.9]
    """
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    blocks: list[list[float]] = []  # sum of wishes, count
    for place, index in enumerate(order):
        blocks.append([heights[index] - place * gap, 1])
        while len(blocks) > 1 and (
            blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]
        ):
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    wishes = [total / count for total, count in blocks for _ in range(int(count))]
    placed = {
        index: round(wish + place * gap, 12)
        for place, (index, wish) in enumerate(zip(order, wishes, strict=True))
    }
    return [placed[index] for index in range(len(heights))]


def _label(axes: Axes, inputs: ReportInputs, points: dict[str, Point]) -> None:
    """Names beside the panel, each joined to its point by a thin line."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    wishes = [(y - low) / (high - low) for _, _, y, _ in points.values()]
    for (model, (x, _, y, _)), height in zip(
        points.items(), spread_out(wishes, _LINE), strict=True
    ):
        colour = inputs.colour(model)
        axes.annotate(
            short(model, 28), ((x - left) / (right - left), (y - low) / (high - low)),
            (1.07, height), xycoords="axes fraction", textcoords="axes fraction",
            va="center", ha="left", fontsize=8.5, fontweight="bold", color=colour,
            arrowprops={
                "arrowstyle": "-", "color": colour, "lw": 0.6, "alpha": 0.45,
                "shrinkA": 12, "shrinkB": 5, "relpos": (0, 0.5),
            },
        )  # fmt: skip
        axes.plot(
            [1.045], [height], ls="", marker=model_marker(inputs.models.index(model)),
            ms=6, mew=0, color=colour, transform=axes.transAxes, clip_on=False,
        )  # fmt: skip
