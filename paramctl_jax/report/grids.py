"""The stimulus grid: every seed of one site at every target level."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from PIL import Image

from paramctl_jax.report.inputs import ReportInputs, SiteSweep
from paramctl_jax.report.style import (
    LIGHT,
    MISSED,
    Theme,
    finished,
    model_colour,
    number,
    short,
    style,
)
from paramctl_jax.types import InputError, Stimulus

_CELL = 0.74  # inches
_LETTER = 0.085  # inches, of a title
_GAP = 0.06  # between cells, in cells
_SEED_GAP = 0.22  # between the seed column and the levels, in cells


def stimulus_grid(
    inputs: ReportInputs, model: str, site: str, theme: Theme = LIGHT
) -> Figure:
    """Draws the stimuli of one model and site: seeds down, target levels across.

    The first column is the un-accentuated seed image. A red corner marks a stimulus
    whose prediction, made from the saved PNG, misses its target.

    Args:
      inputs: the report's data.
      model: which model's stimuli.
      site: made for which site.
      theme: colours.

    Returns:
      The figure.

    Raises:
      InputError: for a model and site without stimuli, or a PNG that cannot be read.
    """
    if (model, site) not in inputs.sweeps:
        raise InputError(f"report: no stimuli of model {model!r} for site {site!r}")
    sweep = inputs.sweeps[model, site]
    width = 1 + _SEED_GAP + len(sweep.levels) * (1 + _GAP)
    height = len(sweep.seeds) * (1 + _GAP)
    with style(theme):
        broad = max(width * _CELL, len(_title(sweep)) * _LETTER)
        size = (broad + 1.15, height * _CELL + 1.0)
        figure = Figure(figsize=size, facecolor=theme.surface)
        axes = figure.add_subplot()
        for row, seed in enumerate(sweep.seeds):
            _draw_row(axes, inputs, sweep, row, seed, theme)
        _label_columns(axes, inputs, sweep, theme)
        _label_grid(axes, inputs, sweep, height, theme)
        axes.set(xlim=(0, width), ylim=(height, -0.5), aspect="equal")
        axes.axis("off")
        return finished(figure)


def _title(sweep: SiteSweep) -> str:
    return f"{short(sweep.model, 40)} · site {short(sweep.site, 30)}"


def _left(column: int) -> float:
    """Left edge of a level's column; column -1 is the seed image."""
    return 0.0 if column < 0 else 1 + _SEED_GAP + column * (1 + _GAP)


def _draw_row(
    axes: Axes,
    inputs: ReportInputs,
    sweep: SiteSweep,
    row: int,
    seed: str,
    theme: Theme,
) -> None:
    top = row * (1 + _GAP)
    axes.text(
        -0.1, top + 0.5, short(seed, 16), ha="right", va="center", fontsize=7.5,
        color=theme.muted,
    )  # fmt: skip
    for column, level in enumerate((None, *sweep.levels), start=-1):
        stimulus = sweep.cells.get((seed, level))
        left = _left(column)
        if stimulus is None:
            axes.add_patch(
                Rectangle((left, top), 1, 1, fill=False, ec=theme.rule, ls=":", lw=0.7)
            )
            continue
        extent = (left, left + 1, top + 1, top)
        axes.imshow(read_stimulus(inputs, stimulus), extent=extent, aspect="equal")
        if level is not None and not stimulus.hit:
            corner = [(left + 0.68, top), (left + 1, top), (left + 1, top + 0.32)]
            axes.add_patch(Polygon(corner, fc=MISSED, ec="white", lw=0.6, zorder=3))


def _label_columns(
    axes: Axes, inputs: ReportInputs, sweep: SiteSweep, theme: Theme
) -> None:
    axes.text(0.5, -0.08, "seed image", ha="center", fontsize=8, color=theme.muted)
    for column, level in enumerate(sweep.levels):
        target = sweep.target(level)
        heading = number(target) if math.isfinite(target) else f"level {level}"
        axes.text(_left(column) + 0.5, -0.08, heading, ha="center", fontsize=8.5)
    if sweep.levels:
        left, right = _left(0), _left(len(sweep.levels) - 1) + 1
        axes.text(
            (left + right) / 2, -0.3, f"target level ({inputs.units})", ha="center",
            fontsize=8, color=theme.muted,
        )  # fmt: skip


def _label_grid(
    axes: Axes, inputs: ReportInputs, sweep: SiteSweep, height: float, theme: Theme
) -> None:
    made = sweep.accentuated()
    hits = sum(stimulus.hit for stimulus in made)
    axes.set_title(
        _title(sweep),
        color=model_colour(inputs.models.index(sweep.model)),
    )
    legend = f"{hits} of {len(made)} targets reached, judged from the PNGs"
    if hits < len(made):
        corner = [(0, height + 0.06), (0.2, height + 0.06), (0.2, height + 0.26)]
        axes.add_patch(Polygon(corner, fc=MISSED, ec="none", clip_on=False))
        legend += "; a red corner marks a missed one"
    left = 0.28 if hits < len(made) else 0.0
    axes.text(
        left, height + 0.24, legend, ha="left", fontsize=7.5, color=theme.muted
    )  # fmt: skip


def read_stimulus(inputs: ReportInputs, stimulus: Stimulus) -> np.ndarray:
    """Pixels of a stimulus file as 8-bit sRGB ``[height, width, 3]``.

    Raises:
      InputError: naming the file, where it is missing or no image.
    """
    return read_png(inputs.stimuli.directory / stimulus.filename, stimulus.stimulus_id)


def read_png(path: Path, stimulus_id: str) -> np.ndarray:
    """Pixels of the PNG of a stimulus as 8-bit sRGB ``[height, width, 3]``.

    Raises:
      InputError: naming the file, where it is missing or no image.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected the PNG of stimulus {stimulus_id!r}, cannot be "
            f"read ({error})"
        ) from error
