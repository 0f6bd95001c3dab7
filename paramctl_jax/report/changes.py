"""What accentuation missed and what it changed, over all lanes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from paramctl_jax.report.inputs import ReportInputs, SiteSweep
from paramctl_jax.report.style import (
    LIGHT,
    Theme,
    finished,
    model_colour,
    model_marker,
    short,
    style,
)
from paramctl_jax.types import Stimulus

LIMITS = (0.05, 0.02)
MEASURES = {
    "rms": ("Change", "RMS change of the pixels\n(full range 1)"),
    "ssim": ("Structure kept", "SSIM to the seed\n(1: the same)"),
    "high_frequency": (
        "Fine detail",
        "share of the change's\npower > 1/8 cycles/px",
    ),
    "off_axis": (
        "Off-axis drift",
        "features moved across\nthe axis / seed's norm",
    ),
}
_FLOOR = 1e-5  # smaller errors are drawn there
_BINS = 8


def lanes_of(inputs: ReportInputs, model: str) -> list[tuple[SiteSweep, Stimulus]]:
    """Every stimulus of a model that had a target, missed or not, with its sweep."""
    return [
        (sweep, stimulus)
        for (name, _), sweep in inputs.sweeps.items()
        if name == model
        for stimulus in sweep.accentuated()
    ]


def swept_models(inputs: ReportInputs) -> list[str]:
    """Models with accentuated stimuli, in the order of the report."""
    return [model for model in inputs.models if lanes_of(inputs, model)]


def errors(inputs: ReportInputs, theme: Theme = LIGHT) -> Figure:
    """Draws how far the saved PNGs are from their targets: every lane, sorted.

    Args:
      inputs: the report's data.
      theme: colours.

    Returns:
      One line per model: its n-th smallest ``|predicted - target| / range`` over the
      share of all its lanes that this is. Lanes without a finite prediction count, so
      that a line may end before 100 %.
    """
    models = swept_models(inputs)
    with style(theme):
        size = (9.4, max(3.3, 0.55 * len(models)))
        figure = Figure(figsize=size, facecolor=theme.surface)
        axes, side = figure.subplots(1, 2, width_ratios=(1.9, 1.05))
        tops = [_draw_errors(axes, inputs, model) for model in models]
        for limit in LIMITS:
            axes.axhline(limit, color=theme.muted, lw=0.8, ls=(0, (4, 3)), zorder=1)
            axes.annotate(
                f"{limit:.0%}".replace("%", " %"), (1.005, limit), va="center",
                fontsize=8, xycoords=axes.get_yaxis_transform(), color=theme.muted,
            )  # fmt: skip
        _error_axes(axes, max([0.1, *tops]))
        _error_counts(side, inputs, models, theme)
        return finished(figure)


def sorted_errors(inputs: ReportInputs, model: str) -> Float[np.ndarray, " lane"]:
    """The relative errors of all lanes of a model, infinite where there is none."""
    found = [s.relative_error for _, s in lanes_of(inputs, model)]
    return np.sort(np.nan_to_num(np.asarray(found), nan=np.inf))


def _draw_errors(axes: Axes, inputs: ReportInputs, model: str) -> float:
    """One model's line; returns its largest error."""
    values = sorted_errors(inputs, model)
    share = 100 * np.arange(1, len(values) + 1) / len(values)
    known = np.isfinite(values)
    colour = model_colour(inputs.models.index(model))
    heights = np.maximum(values[known], _FLOOR)
    axes.step(
        share[known], heights, where="pre", color=colour, lw=1.8, zorder=3, alpha=0.9,
        marker=model_marker(inputs.models.index(model)), ms=4.5, mew=0,
        markevery=max(1, len(values) // 8),
    )  # fmt: skip
    return float(heights[-1]) if heights.size else 0.0


def _error_axes(axes: Axes, top: float) -> None:
    axes.set_yscale("log")
    axes.set(xlim=(0, 100), ylim=(0.8 * _FLOOR, 1.6 * top))
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g} %"))
    axes.set_title("Error of every saved PNG")
    axes.set_xlabel("share of all lanes with at most this error")
    axes.set_ylabel("|predicted − target| / range of levels")


def _error_counts(
    axes: Axes, inputs: ReportInputs, models: Sequence[str], theme: Theme
) -> None:
    """Counts of all lanes beside the lines, which they are the key to."""
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(len(models) + max(0, 6 - len(models)), -0.2))
    for row, model in enumerate(models):
        values, index = sorted_errors(inputs, model), inputs.models.index(model)
        axes.plot(
            [0.02], [row], ms=5, mew=0, clip_on=False, color=model_colour(index),
            marker=model_marker(index),
        )  # fmt: skip
        axes.text(
            0.08, row, short(model, 30), va="center", color=model_colour(index),
            fontweight="bold",
        )  # fmt: skip
        within = [np.count_nonzero(values <= limit) for limit in LIMITS]
        axes.text(
            0.08, row + 0.42, f"of {len(values)} lanes {within[0]} within 5 %, "
            f"{within[1]} within 2 %", va="center", fontsize=8, color=theme.muted,
        )  # fmt: skip


def changes(inputs: ReportInputs, theme: Theme = LIGHT) -> Figure:
    """Draws how far images are from their seeds over how far the target was.

    Args:
      inputs: the report's data.
      theme: colours.

    Returns:
      A panel per measure that is known: a dot per lane, open where the PNG misses its
      target, and the median of each model over lanes that were asked for as much.
    """
    models = swept_models(inputs)
    shown = known_measures(inputs)
    with style(theme):
        size = (2.6 * len(shown) + 0.2, 3.4)
        figure = Figure(figsize=size, facecolor=theme.surface)
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, measure in zip(panels, shown, strict=True):
            for model in models:
                _draw_changes(axes, inputs, model, measure, theme)
            _change_axes(axes, measure)
        if len(models) > 1:
            _key(figure, inputs, models)
        return finished(figure)


def known_measures(inputs: ReportInputs) -> list[str]:
    """Measures with a value in the table; sets of earlier versions have not all."""
    lanes = [stimulus for m in inputs.models for _, stimulus in lanes_of(inputs, m)]
    return [
        name
        for name in MEASURES
        if any(math.isfinite(getattr(stimulus, name)) for stimulus in lanes)
    ]


def demand(sweep: SiteSweep, stimulus: Stimulus) -> float:
    """``|target - start| / range``: how much of the range of levels was asked for."""
    targets = [other.target for other in sweep.accentuated()]
    span = max(targets) - min(targets)
    return abs(stimulus.target - stimulus.start) / span if span > 0 else math.nan


def _draw_changes(
    axes: Axes, inputs: ReportInputs, model: str, measure: str, theme: Theme
) -> None:
    lanes = lanes_of(inputs, model)
    points = np.asarray([(demand(w, s), getattr(s, measure)) for w, s in lanes])
    hit = np.asarray([s.hit for _, s in lanes], dtype=bool)
    known = np.all(np.isfinite(points), axis=1)
    index = inputs.models.index(model)
    colour = model_colour(index)
    faint = 0.45 if len(lanes) < 200 else 0.25
    for these, face in ((known & hit, colour), (known & ~hit, "none")):
        axes.scatter(
            *points[these].T, s=9, marker=model_marker(index), facecolors=face,
            edgecolors="none" if face != "none" else colour, linewidths=0.8,
            alpha=faint if face != "none" else 0.9, zorder=2,
        )  # fmt: skip
    x, y = running_median(points[known])
    axes.plot(x, y, color=theme.surface, lw=4, zorder=3)
    axes.plot(x, y, color=colour, lw=2.2, zorder=4)


def running_median(
    points: Float[np.ndarray, "lane 2"],
) -> tuple[Float[np.ndarray, " bin"], Float[np.ndarray, " bin"]]:
    """Medians of up to eight groups of lanes, equally many in each, along x."""
    ordered = points[np.argsort(points[:, 0], kind="stable")]
    count = max(1, min(_BINS, len(ordered) // 4))
    groups = [group for group in np.array_split(ordered, count) if len(group)]
    medians = np.asarray([np.median(group, axis=0) for group in groups])
    return tuple(medians.reshape(-1, 2).T)  # pyright: ignore[reportReturnType]


def _change_axes(axes: Axes, measure: str) -> None:
    title, label = MEASURES[measure]
    axes.set_title(title)
    axes.set_ylabel(label)
    axes.set_xlabel("|target − start|\n/ range of levels")
    axes.set_xlim(left=0)
    axes.locator_params(nbins=5)
    low, high = axes.get_ylim()
    if measure == "ssim":
        axes.set_ylim(max(min(low, 0.9), -1), 1.005)
    else:
        axes.set_ylim(0, min(high, 1.0) if measure == "high_frequency" else high)


def _key(figure: Figure, inputs: ReportInputs, models: Sequence[str]) -> None:
    handles = [
        figure.axes[0].plot(
            [], [], color=model_colour(index), lw=2.2, marker=model_marker(index), ms=4,
            label=short(model, 24),
        )[0]
        for model in models
        for index in [inputs.models.index(model)]
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="outside upper left", ncols=min(len(handles), 5),
        frameon=False, labelcolor="linecolor", fontsize=9, handlelength=1.4,
    )  # fmt: skip
