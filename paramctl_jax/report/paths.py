"""How the targets were reached: the prediction in the loop over the steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import NullLocator

from paramctl_jax.report.inputs import ReportInputs, SiteSweep
from paramctl_jax.report.style import (
    LIGHT,
    MISSED,
    Theme,
    finished,
    model_colour,
    short,
    style,
)
from paramctl_jax.types import Stimulus, Traces

SITES_SHOWN = 4
_PANEL = (2.55, 2.75)  # inches, of one site
_FEW_LINES = 24  # lines of a panel that are drawn at full strength
_HEAVY = 4  # times the median; longest rows beyond it make the axis logarithmic


def traced_models(inputs: ReportInputs) -> list[str]:
    """Models with both traces and stimuli, in the order of the report."""
    swept = {model for model, _ in inputs.sweeps}
    return [model for model in inputs.models if model in inputs.traces.keys() & swept]


def approach(
    inputs: ReportInputs, models: Sequence[str] | None = None, theme: Theme = LIGHT
) -> Figure:
    """Draws the prediction of the loop's 8-bit image over the optimisation steps.

    A line is one path through the levels, or one lane. Thin rules are the target
    levels. A dot is a saved image: its step, and its prediction in the loop. An open
    red one did not reach its level; the stem leads to it.

    Args:
      inputs: the report's data, with traces.
      models: which ones; None for all with traces.
      theme: colours.

    Returns:
      The figure: models down, the first four sites across.
    """
    models = traced_models(inputs) if models is None else list(models)
    columns = max(
        min(SITES_SHOWN, sum(name == model for name, _ in inputs.sweeps))
        for model in models
    )
    with style(theme):
        size = (_PANEL[0] * columns + 0.35, (_PANEL[1] + 0.35) * len(models))
        figure = Figure(figsize=size, facecolor=theme.surface)
        rows = figure.subfigures(len(models), 1, squeeze=False)[:, 0]
        for model, row in zip(models, rows, strict=True):
            _draw_model(row, inputs, model, columns, theme)
        return finished(figure)


def _draw_model(
    row: SubFigure, inputs: ReportInputs, model: str, columns: int, theme: Theme
) -> None:
    colour = model_colour(inputs.models.index(model))
    sweeps = [sweep for (name, _), sweep in inputs.sweeps.items() if name == model]
    seeds = list(dict.fromkeys(seed for sweep in sweeps for seed in sweep.seeds))
    row.suptitle(
        short(model, 40), x=0.01, ha="left", fontsize=10.5, fontweight="bold",
        color=colour,
    )  # fmt: skip
    panels = list(row.subplots(1, columns, squeeze=False, sharex=True)[0])
    traces = inputs.traces[model]
    for index, axes in enumerate(panels):
        if index >= len(sweeps):
            axes.axis("off")
            continue
        rows = [
            i for i in np.flatnonzero(traces.site == index).tolist() if _seen(traces, i)
        ]
        shown = [i for i in rows if seeds[traces.seed[i]] in sweeps[index].seeds]
        _draw_site(axes, sweeps[index], traces, shown, colour, theme)
        if index == 0:
            axes.set_ylabel(f"prediction in the loop ({inputs.units})")
    _steps_axis(panels, traces)


def _seen(traces: Traces, row: int) -> bool:
    return bool(np.isfinite(traces.prediction[row]).any())


def _draw_site(
    axes: Axes,
    sweep: SiteSweep,
    traces: Traces,
    rows: Sequence[int],
    colour: str,
    theme: Theme,
) -> None:
    made = sweep.accentuated()
    for target in dict.fromkeys(stimulus.target for stimulus in made):
        axes.axhline(target, color=theme.rule, lw=0.6, zorder=0)
    strength = 0.6 if len(rows) <= _FEW_LINES else 0.3
    for row in rows:
        axes.plot(
            traces.prediction[row], color=colour, lw=0.9, alpha=strength, zorder=2
        )
    for stimulus in made:
        _draw_end(axes, stimulus, colour, theme)
    axes.set_ylim(*_limits(made, traces, rows))
    axes.set_title(short(sweep.site, 22), pad=20)
    axes.annotate(
        _counts(made), (0, 1), (0, 4), ha="left", xycoords="axes fraction",
        textcoords="offset points", fontsize=8, color=theme.muted,
    )  # fmt: skip


def reached(stimulus: Stimulus) -> bool:
    """Whether the loop, not the saved PNG, took the stimulus for a hit."""
    return stimulus.stop_reason == "hit"


def _counts(made: Sequence[Stimulus]) -> str:
    got = sum(map(reached, made))
    return f"{got} of {len(made)} levels reached in the loop"


def _draw_end(axes: Axes, stimulus: Stimulus, colour: str, theme: Theme) -> None:
    """The saved image: filled where its level was taken, else open with a stem."""
    if not np.isfinite(stimulus.reached):
        return
    got = reached(stimulus)
    if not got:
        axes.vlines(
            stimulus.step, stimulus.reached, stimulus.target, color=MISSED, lw=0.9,
            ls=(0, (2, 1.5)), zorder=3,
        )  # fmt: skip
    axes.plot(
        [stimulus.step], [stimulus.reached], ls="", marker="o", ms=3.4 if got else 4.6,
        mew=0.5 if got else 1.1, mec=theme.surface if got else MISSED,
        mfc=colour if got else theme.surface, zorder=4, clip_on=False,
    )  # fmt: skip


def _limits(
    made: Sequence[Stimulus], traces: Traces, rows: Sequence[int]
) -> tuple[float, float]:
    """Of all targets and saved images, and of all but the wildest of the steps."""
    ends = np.asarray([[s.target, s.reached, s.start] for s in made]).ravel()
    seen = traces.prediction[list(rows)].ravel()
    seen = seen[np.isfinite(seen)]
    middle = np.percentile(seen, [0.5, 99.5]) if seen.size else np.empty(0)
    values = np.concatenate([ends[np.isfinite(ends)], middle])
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _steps_axis(panels: Sequence[Axes], traces: Traces) -> None:
    """Steps from 0; where few rows take by far the longest, compressed beyond 5."""
    steps = np.isfinite(traces.prediction).sum(axis=1) - 1
    steps = steps[steps > 0]
    last = max(1, int(steps.max(initial=1)))
    for axes in panels:
        axes.set_xlabel("optimisation step")
        if steps.size and last > _HEAVY * np.median(steps):
            axes.set_xscale("asinh", linear_width=5)  # smooth, and has a place for 0
            ticks = [t for t in (0, 5, 20, 50, 200, 500, 2000) if t <= last]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
        linear = axes.get_xscale() == "linear"
        axes.set_xlim(
            -0.02 * last if linear else -0.4, (1.03 if linear else 1.15) * last
        )
