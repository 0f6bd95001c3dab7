"""Models beside each other: how well they predict, and how well they control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.style import (
    LIGHT,
    Theme,
    finished,
    model_colour,
    model_marker,
    number,
    short,
    style,
)
from paramctl_jax.report.summary import nanmean

Values = Mapping[str, Float[np.ndarray, " site"]]
_LINKED_MODELS = 3  # lines that join a site across models stay readable up to here


def encoding_and_control(inputs: ReportInputs, theme: Theme = LIGHT) -> Figure:
    """Draws encoding beside control, and one against the other.

    Left, held-out r, and middle, control r, on one scale: a dot per site, a line at the
    mean, whiskers and band for 95 % intervals; thin lines join a site across models.
    Right, the same sites: control over encoding.

    Args:
      inputs: the report's data.
      theme: colours.

    Returns:
      The figure.
    """
    with style(theme):
        size = (10.6, models_height(inputs))
        figure = Figure(figsize=size, facecolor=theme.surface)
        draw_models(figure, inputs, theme)
        return finished(figure)


def models_height(inputs: ReportInputs) -> float:
    """Height in inches that the comparison needs for its models."""
    return max(3.1, 1.5 + 0.42 * len(inputs.models))


def draw_models(figure: Figure | SubFigure, inputs: ReportInputs, theme: Theme) -> None:
    """Draws the three panels of `encoding_and_control` into a figure or a part of it.

    Args:
      figure: where; 10.6 inches wide and `models_height` high.
      inputs: the report's data.
      theme: colours.
    """
    encoding, control = site_values(inputs)
    grid = figure.add_gridspec(1, 3, width_ratios=(1, 1, 0.8), wspace=0.1)
    left = figure.add_subplot(grid[0])
    middle = figure.add_subplot(grid[1], sharex=left, sharey=left)
    right = figure.add_subplot(grid[2])
    _dots(left, inputs, encoding, [nanmean(v) for v in encoding.values()], theme)
    _dots(middle, inputs, control, _control_means(inputs), theme)
    _whiskers(left, inputs)
    _intervals(middle, inputs)
    _finish_dots(left, middle, inputs, encoding, control)
    _scatter(right, inputs, encoding, control, theme)


def site_values(inputs: ReportInputs) -> tuple[Values, Values]:
    """Held-out r and control of every model over the report's sites, NaN if none."""
    sites = inputs.sites or inputs.sites_of(inputs.models[0])
    encoding, control = {}, {}
    for model, evaluation in inputs.evaluations.items():
        of_site = dict(zip(evaluation.site_ids, evaluation.r, strict=True))
        own = set(inputs.sites_of(model))
        scores = [inputs.site_score(model, site) for site in sites]
        encoding[model] = np.asarray(
            [of_site.get(site, np.nan) if site in own else np.nan for site in sites]
        )
        control[model] = np.asarray([s.control if s else np.nan for s in scores])
    return encoding, control


def _offsets(count: int) -> Float[np.ndarray, " site"]:
    """Heights of the sites' dots within a model's row, the same in every row."""
    return np.linspace(-0.17, 0.17, count) if count > 1 else np.zeros(count)


def _control_means(inputs: ReportInputs) -> list[float]:
    scores = [inputs.model_scores.get(model) for model in inputs.models]
    return [score.control_mean if score else np.nan for score in scores]


def _dots(
    axes: Axes,
    inputs: ReportInputs,
    values: Values,
    means: Sequence[float],
    theme: Theme,
) -> None:
    table = np.asarray([values[model] for model in inputs.models])
    rows = np.arange(len(table))
    offsets = _offsets(table.shape[1])
    if len(table) <= _LINKED_MODELS:
        for site, offset in enumerate(offsets):
            axes.plot(table[:, site], rows + offset, color=theme.rule, lw=0.8, zorder=1)
    for index, row in enumerate(table):
        colour = model_colour(index)
        axes.scatter(
            row, index + offsets, s=24, marker=model_marker(index), color=colour,
            alpha=0.8, linewidths=0, zorder=3,
        )  # fmt: skip
        axes.vlines(
            means[index], index - 0.28, index + 0.28, color=colour, lw=2.4, zorder=2
        )
        axes.annotate(
            number(float(means[index])), (1.01, index), va="center", fontsize=10,
            xycoords=axes.get_yaxis_transform(), fontweight="bold", color=colour,
        )  # fmt: skip


def _whiskers(axes: Axes, inputs: ReportInputs) -> None:
    """The bootstrap interval of every site's held-out r."""
    sites = inputs.sites or inputs.sites_of(inputs.models[0])
    offsets = _offsets(len(sites))
    for index, (model, evaluation) in enumerate(inputs.evaluations.items()):
        interval = dict(zip(evaluation.site_ids, evaluation.r_ci, strict=True))
        own = set(inputs.sites_of(model))
        for site, offset in zip(sites, offsets, strict=True):
            low, high = interval.get(site, (np.nan, np.nan))
            if site in own and np.isfinite(low) and np.isfinite(high):
                axes.hlines(
                    index + offset, low, high, color=model_colour(index), lw=0.9,
                    alpha=0.45, zorder=2,
                )  # fmt: skip


def _intervals(axes: Axes, inputs: ReportInputs) -> None:
    for index, model in enumerate(inputs.models):
        score = inputs.model_scores.get(model)
        if score is not None and np.all(np.isfinite(score.control_ci)):
            low, high = score.control_ci
            axes.barh(
                index, high - low, left=low, height=0.56, alpha=0.18, zorder=0,
                color=model_colour(index), linewidth=0,
            )  # fmt: skip


def _finish_dots(
    left: Axes, middle: Axes, inputs: ReportInputs, encoding: Values, control: Values
) -> None:
    low = min(0.0, _lowest(encoding), _lowest(control), _lowest_interval(inputs))
    left.set(xlim=(low - 0.03 if low < 0 else 0.0, 1.02))
    left.set_ylim(len(inputs.models) - 0.5, -0.5)
    left.set_yticks(range(len(inputs.models)), [short(m, 22) for m in inputs.models])
    for index, label in enumerate(left.get_yticklabels()):
        label.set(color=model_colour(index), fontweight="bold", fontsize=9)
    left.set_title("Encoding")
    left.set_xlabel(
        "r over held-out natural images\ndot: site with 95 % interval, line: mean"
    )
    middle.set_title("Control")
    middle.set_xlabel(
        "r over target levels\ndot: site, line: mean, band: 95 % interval"
    )
    left.locator_params(axis="x", nbins=6, steps=[1, 2, 5, 10])
    for axes in (left, middle):
        if low < 0:
            axes.axvline(
                0, color=axes.spines["bottom"].get_edgecolor(), lw=0.7, zorder=0
            )
        axes.tick_params(axis="y", length=0, labelleft=axes is left)
        axes.spines["left"].set_visible(False)


def _lowest(values: Values) -> float:
    finite = [v[np.isfinite(v)] for v in values.values()]
    return min((float(v.min()) for v in finite if v.size), default=0.0)


def _lowest_interval(inputs: ReportInputs) -> float:
    ends = [score.control_ci[0] for score in inputs.model_scores.values()]
    return min((float(end) for end in ends if np.isfinite(end)), default=0.0)


def _scatter(
    axes: Axes, inputs: ReportInputs, encoding: Values, control: Values, theme: Theme
) -> None:
    x = np.asarray([encoding[model] for model in inputs.models])
    y = np.asarray([control[model] for model in inputs.models])
    if len(x) <= _LINKED_MODELS:
        axes.plot(x, y, color=theme.rule, lw=0.8, zorder=1)
    for index, model in enumerate(inputs.models):
        axes.scatter(
            x[index], y[index], s=26, marker=model_marker(index), alpha=0.85,
            color=model_colour(index), linewidths=0, label=short(model, 22), zorder=2,
        )  # fmt: skip
    low = min(0.0, _lowest(encoding), _lowest(control))
    low = low - 0.03 if low < 0 else 0.0
    axes.set(xlim=(low, 1.02), ylim=(low, 1.02), box_aspect=1, anchor="N")
    axes.set_title("Control against encoding")
    axes.set_xlabel("encoding r, per site")
    axes.set_ylabel("control r, per site")
