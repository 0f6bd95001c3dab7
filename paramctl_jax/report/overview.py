"""The whole experiment in one figure: images, control curves, and all models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Polygon, Rectangle

from paramctl_jax.report.comparison import draw_models, models_height
from paramctl_jax.report.grids import read_stimulus
from paramctl_jax.report.inputs import ReportInputs, SiteSweep
from paramctl_jax.report.style import (
    LIGHT,
    MISSED,
    Theme,
    finished,
    number,
    short,
    style,
)
from paramctl_jax.report.typical import MODELS_SHOWN, shown_models, typical

_WIDTH = 10.6  # inches
_NAMES = 1.25  # inches left of the images
_MOST_CELL = 0.92  # inches
_TEXT = 0.3  # height of the target below an image, in cells
_CURVES = 2.75  # inches


def overview(inputs: ReportInputs, theme: Theme = LIGHT) -> Figure:
    """Draws the images of one seed, the control curves of its site, and all models.

    a: the seed image and its accentuated versions, models down, levels across; below
    each image its target. b: recorded against predicted responses at the same site, a
    thin line per seed, a thick one for their mean at each level. c: encoding and
    control of all models with their sites and 95 % intervals.

    Site and seed are typical, not best: see `typical`. Of more than three models a and
    b show those with the highest, the median and the lowest control.

    Args:
      inputs: the report's data, with accentuated stimuli.
      theme: colours.

    Returns:
      The figure.

    Raises:
      InputError: for a PNG that cannot be read.
    """
    site, seed = typical(inputs)
    models = shown_models(inputs, site)
    sweeps = [inputs.sweeps[model, site] for model in models]
    heights = (
        images_height(sweeps),
        _CURVES + 0.35,
        models_height(inputs) + 0.2,
    )
    with style(theme):
        figure = Figure(figsize=(_WIDTH, sum(heights)), facecolor=theme.surface)
        parts = figure.subfigures(3, 1, squeeze=False, height_ratios=heights)[:, 0]
        texts = (
            f"Seed image {short(seed, 30)}, site {short(site, 24)}; below each image "
            f"its target ({inputs.units})",
            f"Recorded against predicted, site {short(site, 24)}; thin: a seed image, "
            "thick: mean over seeds at each level, dashed: identity",
            "All models",
        )
        for part, letter, text in zip(parts, "abc", texts, strict=True):
            part.text(0.004, 0.995, letter, fontsize=13, fontweight="bold", va="top")
            part.text(0.024, 0.985, text, fontsize=10, color=theme.muted, va="top")
            part.suptitle(" ", fontsize=11)  # keeps the axes below the two texts
        draw_images(parts[0], inputs, sweeps, seed, theme)
        _draw_curves(parts[1], inputs, sweeps, theme)
        draw_models(parts[2], inputs, theme)
        return finished(figure)


def images_height(sweeps: Sequence[SiteSweep]) -> float:
    """Height in inches that `draw_images` needs, a heading included."""
    columns = 1 + max(len(sweep.levels) for sweep in sweeps)
    cell = min(_MOST_CELL, (_WIDTH - _NAMES - 0.2) / (columns * 1.05 + 0.2))
    return 0.62 + len(sweeps) * (1 + _TEXT) * cell


def draw_images(
    part: SubFigure,
    inputs: ReportInputs,
    sweeps: Sequence[SiteSweep],
    seed: str,
    theme: Theme,
) -> None:
    """One seed image at its levels, a row per model; below each image its target."""
    axes = part.add_subplot()
    columns = max(len(sweep.levels) for sweep in sweeps)
    for row, sweep in enumerate(sweeps):
        top = row * (1 + _TEXT)
        axes.text(
            -0.12, top + 0.5, short(sweep.model, 15), ha="right", va="center",
            fontsize=9, fontweight="bold", color=inputs.colour(sweep.model),
        )  # fmt: skip
        for column, level in enumerate((None, *sweep.levels)):
            left = column * 1.05 + (0.2 if column else 0)
            _draw_image(axes, inputs, sweep, (seed, level), left, top, theme)
    axes.set(
        xlim=(0, columns * 1.05 + 1.2), ylim=(len(sweeps) * (1 + _TEXT), 0),
        aspect="equal",
    )  # fmt: skip
    axes.axis("off")


def _draw_image(
    axes: Axes,
    inputs: ReportInputs,
    sweep: SiteSweep,
    place: tuple[str, int | None],
    left: float,
    top: float,
    theme: Theme,
) -> None:
    stimulus = sweep.cells.get(place)
    if stimulus is None:
        axes.add_patch(
            Rectangle((left, top), 1, 1, fill=False, ec=theme.rule, ls=":", lw=0.7)
        )
        return
    axes.imshow(read_stimulus(inputs, stimulus), extent=(left, left + 1, top + 1, top))
    text = "seed" if stimulus.level is None else number(stimulus.target)
    axes.text(
        left + 0.5, top + 1.03, text, ha="center", va="top", fontsize=7.5,
        color=theme.muted if stimulus.level is None else theme.ink,
    )  # fmt: skip
    if stimulus.level is not None and not stimulus.hit:
        corner = [(left + 0.72, top), (left + 1, top), (left + 1, top + 0.28)]
        axes.add_patch(Polygon(corner, fc=MISSED, ec="white", lw=0.5, zorder=3))


def mean_curve(
    inputs: ReportInputs, sweep: SiteSweep
) -> tuple[Float[np.ndarray, "seed level 2"], Float[np.ndarray, "level 2"]]:
    """Predicted and recorded by seed and level, and their means over seeds.

    A seed counts at a level where it has both.

    Returns:
      The points, NaN where a seed lacks one of the two, and the means, NaN where all
      seeds do.
    """
    points = np.full((len(sweep.seeds), len(sweep.levels), 2), np.nan)
    for (seed, level), stimulus in sweep.cells.items():
        if level is not None:
            pair = (stimulus.predicted, inputs.response(stimulus))
            if np.all(np.isfinite(pair)):
                points[sweep.seeds.index(seed), sweep.levels.index(level)] = pair
    known = np.isfinite(points).all(axis=-1, keepdims=True)
    count = known.sum(axis=0)
    total = np.where(known, points, 0).sum(axis=0)
    return points, np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _draw_curves(
    part: SubFigure, inputs: ReportInputs, sweeps: Sequence[SiteSweep], theme: Theme
) -> None:
    curves = [mean_curve(inputs, sweep) for sweep in sweeps]
    values = np.concatenate([points.ravel() for points, _ in curves])
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if values.size else (-1.0, 1.0)
    margin = 0.06 * (high - low) or 1.0
    panels = part.subplots(1, MODELS_SHOWN, squeeze=False)[0]
    for axes in panels[len(sweeps) :]:
        axes.axis("off")
    for axes, sweep, (points, mean) in zip(panels, sweeps, curves, strict=False):
        colour = inputs.colour(sweep.model)
        axes.axline((0, 0), slope=1, color=theme.rule, lw=0.9, ls=(0, (4, 3)), zorder=0)
        for line in points:
            axes.plot(line[:, 0], line[:, 1], color=colour, lw=0.8, alpha=0.4)
        axes.plot(mean[:, 0], mean[:, 1], color=colour, lw=2.2, marker="o", ms=4, mew=0)
        axes.set(
            xlim=(low - margin, high + margin), ylim=(low - margin, high + margin),
            box_aspect=1,
        )  # fmt: skip
        axes.locator_params(nbins=5)
        score = inputs.site_score(sweep.model, sweep.site)
        said = f"control {number(score.control)}" if score else "no score"
        axes.set_title(f"{short(sweep.model, 18)}  {said}", color=colour)
        axes.set_xlabel(f"predicted ({inputs.units})")
        if axes is panels[0]:
            axes.set_ylabel(f"recorded ({inputs.units})")
        if not np.isfinite(mean).any():
            axes.text(
                0.5, 0.5, "nothing recorded", ha="center", va="center",
                color=theme.muted, transform=axes.transAxes,
            )  # fmt: skip
