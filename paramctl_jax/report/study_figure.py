"""Several runs in one figure: a seed image along the levels, then every number."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from paramctl_jax.encoding.resampling import encoding_interval
from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.overview import draw_images, images_height
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
from paramctl_jax.report.typical import shown_models, typical

Runs = Mapping[str, ReportInputs]
Measure = tuple[float, tuple[float, float]]

_WIDTH = 10.6  # inches
_ROW = 0.27  # inches for a model
_GAP = 0.35  # inches between runs
_CHARACTERS = 44  # of a line of the truth
_PREFIX = "In-silico subject: "
_UNKNOWN = (np.nan, np.nan)


def study_figure(runs: Runs, theme: Theme = LIGHT) -> Figure:
    """Draws encoding, control and slope of every model in every run.

    Above, the typical seed image and site of the first run that has stimuli. Below, a
    block per run, with what is known of its subject; a dot per model with its 95 %
    interval.

    Args:
      runs: by name.
      theme: colours.

    Returns:
      The figure.
    """
    shown = next((inputs for inputs in runs.values() if inputs.sweeps), None)
    heights = [0.0, _forest_height(runs)]
    if shown is not None:
        site, seed = typical(shown)
        sweeps = [shown.sweeps[model, site] for model in shown_models(shown, site)]
        heights[0] = images_height(sweeps)
    with style(theme):
        figure = Figure(figsize=(_WIDTH, sum(heights)), facecolor=theme.surface)
        if shown is None:
            _draw_forest(figure, runs, theme)
            return finished(figure)
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)
        above, below = parts[:, 0]
        above.suptitle(
            f"{next(n for n, i in runs.items() if i is shown)}: seed image "
            f"{short(seed, 30)}, site {short(site, 24)}; below each image its target "
            f"({shown.units})",
            x=0.02, ha="left", fontsize=10, color=theme.muted,
        )  # fmt: skip
        draw_images(above, shown, sweeps, seed, theme)
        _draw_forest(below, runs, theme)
        return finished(figure)


def _rows(runs: Runs) -> list[tuple[str, float, int, str]]:
    """``(run, height, index of the model, model)`` of every dot, top to bottom."""
    rows, height = [], 0.0
    for name, inputs in runs.items():
        lines = 1 + len(_truth(inputs).splitlines())
        for index, model in enumerate(inputs.models):
            rows.append((name, height + index * _ROW, index, model))
        height += max(len(inputs.models) * _ROW, 0.17 * lines) + _GAP
    return rows


def _truth(inputs: ReportInputs) -> str:
    said = inputs.ground_truth.removeprefix(_PREFIX)
    return textwrap.fill(said, _CHARACTERS, max_lines=5, placeholder=" …")


def _forest_height(runs: Runs) -> float:
    return _rows(runs)[-1][1] + _ROW + 1.3


def _encoding(inputs: ReportInputs, model: str) -> Measure:
    evaluation, own = inputs.evaluations[model], set(inputs.sites_of(model))
    sites = [i for i, site in enumerate(evaluation.site_ids) if site in own]
    return nanmean(evaluation.r[sites]), encoding_interval(evaluation, sites)


def _control(inputs: ReportInputs, model: str) -> Measure:
    score = inputs.model_scores.get(model)
    return (score.control_mean, score.control_ci) if score else (np.nan, _UNKNOWN)


def _slope(inputs: ReportInputs, model: str) -> Measure:
    score = inputs.model_scores.get(model)
    return (score.overall("slope"), score.slope_ci) if score else (np.nan, _UNKNOWN)


PANELS: dict[str, tuple[Callable[[ReportInputs, str], Measure], str, float | None]] = {
    "Encoding": (_encoding, "r over held-out natural images", None),
    "Control": (_control, "r over target levels, blind to gain", None),
    "Slope": (_slope, "recorded on predicted; 1: as predicted", 1.0),
}
"""What a panel shows, its axis, and where what was predicted lies."""


def _draw_forest(part: Figure | SubFigure, runs: Runs, theme: Theme) -> None:
    panels = part.subplots(
        1, len(PANELS) + 1, sharey=True, width_ratios=(1.15, 1, 1, 1)
    )
    _draw_names(panels[0], runs, theme)
    for axes, (title, (measure, label, ideal)) in zip(
        panels[1:], PANELS.items(), strict=True
    ):
        axes.axvline(0, color=theme.rule, lw=0.7, zorder=0)
        if ideal is not None:
            axes.axvline(ideal, color=theme.rule, lw=0.9, ls=(0, (4, 3)), zorder=0)
        for name, height, index, model in _rows(runs):
            _draw_dot(axes, height, index, *measure(runs[name], model))
        axes.set_title(title)
        axes.set_xlabel(label)
        axes.tick_params(axis="y", length=0, labelleft=False)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.14)
        axes.locator_params(axis="x", nbins=5)
    panels[0].set_ylim(_rows(runs)[-1][1] + 1.6 * _ROW, -_ROW)


def _draw_names(axes: Axes, runs: Runs, theme: Theme) -> None:
    axes.axis("off")
    axes.set_xlim(0, 1)
    tops = {}
    for name, height, index, model in _rows(runs):
        tops.setdefault(name, height)
        axes.text(
            1, height, short(model, 18), ha="right", va="center", fontsize=7.5,
            color=model_colour(index),
        )  # fmt: skip
    for name, top in tops.items():
        axes.text(0, top, short(name, 24), va="center", fontsize=9, fontweight="bold")
        axes.text(
            0, top + 0.1, _truth(runs[name]), va="top", fontsize=6.5,
            color=theme.muted, linespacing=1.25,
        )  # fmt: skip


def _draw_dot(
    axes: Axes, height: float, index: int, value: float, limits: tuple[float, float]
) -> None:
    if not np.isfinite(value):
        return
    colour = model_colour(index)
    if np.all(np.isfinite(limits)):
        axes.hlines(height, *limits, color=colour, lw=2.2, alpha=0.45, zorder=1)
    axes.scatter(
        value, height, s=30, marker=model_marker(index), color=colour, linewidths=0,
        zorder=2,
    )  # fmt: skip
    axes.annotate(
        number(value), (1.0, height), xycoords=axes.get_yaxis_transform(),
        ha="right", va="center", fontsize=8, color=colour, fontweight="bold",
    )  # fmt: skip
