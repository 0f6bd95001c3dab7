"""Several runs in one figure: a seed image along the levels, then every number."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.overview import draw_images, images_height
from paramctl_jax.report.study_numbers import ModelNumbers, model_numbers
from paramctl_jax.report.style import (
    LIGHT,
    Theme,
    finished,
    model_colour,
    model_marker,
    plain,
    short,
    style,
)
from paramctl_jax.report.typical import shown_models, typical

Runs = Mapping[str, ReportInputs]

_WIDTH = 10.6  # inches
_ROW = 0.27  # inches for a model
_LINE = 0.125  # inches for a line of the truth
_GAP = 0.3  # inches between runs
_CHARACTERS = 38  # of a line of the truth
TRUTH = "In-silico subject: "  # how what is known of a subject begins


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
        words = 0.1 + _LINE * len(_truth(inputs).splitlines())
        for index, model in enumerate(inputs.models):
            rows.append((name, height + index * _ROW, index, model))
        height += max(len(inputs.models) * _ROW, words) + _GAP
    return rows


def _truth(inputs: ReportInputs) -> str:
    said = inputs.ground_truth.removeprefix(TRUTH)
    return textwrap.fill(said, _CHARACTERS, max_lines=6, placeholder=" …")


def _forest_height(runs: Runs) -> float:
    return _rows(runs)[-1][1] + _ROW + 1.3


@dataclasses.dataclass(frozen=True)
class Panel:
    """What a panel shows of a model, its axis and its ends, where as predicted lies."""

    value: str  # attributes of `ModelNumbers`
    limits: str
    label: str
    ends: tuple[float, float]
    ideal: float | None = None


PANELS = {
    "Encoding": Panel(
        "encoding_r", "encoding_ci", "r over held-out natural images", (-0.25, 1.0)
    ),
    "Control": Panel(
        "control", "control_ci", "r over target levels, blind to gain", (-0.7, 1.03)
    ),
    "Slope": Panel(
        "slope",
        "slope_ci",
        "recorded on predicted; 1: as predicted",
        (-0.3, 1.3),
        ideal=1.0,
    ),
}


def _draw_forest(part: Figure | SubFigure, runs: Runs, theme: Theme) -> None:
    panels = part.subplots(1, len(PANELS) + 1, sharey=True, width_ratios=(1.3, 1, 1, 1))
    _draw_names(panels[0], runs, theme)
    numbers = {name: model_numbers(inputs) for name, inputs in runs.items()}
    for axes, (title, panel) in zip(panels[1:], PANELS.items(), strict=True):
        axes.axvline(0, color=theme.rule, lw=0.7, zorder=0)
        if panel.ideal is not None:
            dashed = {"color": theme.rule, "lw": 0.9, "ls": (0, (4, 3))}
            axes.axvline(panel.ideal, zorder=0, **dashed)
        for name, height, index, _ in _rows(runs):
            _draw_dot(axes, height, index, panel, numbers[name][index])
        axes.set(title=title, xlabel=panel.label, xlim=panel.ends)
        axes.tick_params(axis="y", length=0, labelleft=False)
        axes.spines["left"].set_visible(False)
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
    axes: Axes,
    height: float,
    index: int,
    panel: Panel,
    numbers: ModelNumbers,
) -> None:
    """A dot, its interval and number; beyond the ends of the axis an arrow."""
    value, limits = getattr(numbers, panel.value), getattr(numbers, panel.limits)
    colour, (low, high) = model_colour(index), panel.ends
    axes.annotate(
        plain(value), (1.03, height),
        xycoords=axes.get_yaxis_transform(), va="center", fontsize=8, color=colour,
        fontweight="bold",
    )  # fmt: skip
    if not np.isfinite(value):
        return
    if np.all(np.isfinite(limits)):
        shown = np.clip(limits, low, high)
        axes.hlines(height, *shown, color=colour, lw=2.2, alpha=0.45, zorder=1)
    outside = ">" if value > high else "<"
    within = low <= value <= high
    axes.scatter(
        np.clip(value, low, high), height, s=30, color=colour, linewidths=0, zorder=2,
        marker=model_marker(index) if within else outside, clip_on=False,
    )  # fmt: skip
