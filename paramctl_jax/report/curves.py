"""Control curves: what the subject did against what the model said it would do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from paramctl_jax.report.inputs import ReportInputs, SiteSweep
from paramctl_jax.report.style import (
    LIGHT,
    Theme,
    finished,
    model_colour,
    number,
    short,
    style,
)
from paramctl_jax.types import SiteScore

_PANEL = 2.2  # inches, of one site
_WIDEST = 10.9  # inches; more sites get smaller panels


def control_curves(
    inputs: ReportInputs, sites: Sequence[str] | None = None, theme: Theme = LIGHT
) -> Figure:
    """Draws recorded against predicted responses, one panel per model and site.

    One line per seed joins its levels; the prediction is that of the saved PNG. Both
    axes of a panel have one scale, shared by all models of a site, so that the dashed
    identity line is at 45° and slopes compare by eye. The strip beside a panel has
    one tick per seed at its r and a bar at their mean. Open circles missed their
    target; grey lines have no r.

    Args:
      inputs: the report's data.
      sites: which sites, left to right; None for all.
      theme: colours.

    Returns:
      The figure: models down, sites across.
    """
    sites = tuple(inputs.sites if sites is None else sites)
    models = [
        m for m in inputs.models if any((m, site) in inputs.sweeps for site in sites)
    ]
    limits = {site: site_limits(inputs, site) for site in sites}
    with style(theme):
        panel = min(_PANEL, (_WIDEST - 0.55) / (1.2 * max(len(sites), 1)))
        width = 0.55 + panel * 1.2 * max(len(sites), 1)
        size = (width, (panel + 1.0) * max(len(models), 1))
        figure = Figure(figsize=size, facecolor=theme.surface)
        rows = figure.subfigures(max(len(models), 1), 1, squeeze=False)[:, 0]
        for model, row in zip(models, rows, strict=False):
            _draw_model(row, inputs, model, sites, limits, theme)
        return finished(figure)


def points_of(inputs: ReportInputs, stimuli: Sequence) -> Float[np.ndarray, "point 2"]:
    """Predicted and recorded of the stimuli that have both."""
    pairs = [(s.predicted, inputs.response(s)) for s in stimuli]
    points = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
    return points[np.all(np.isfinite(points), axis=1)]


def site_limits(inputs: ReportInputs, site: str) -> tuple[float, float]:
    """One range for both axes of a site's panels, over all models."""
    sweeps = [sweep for (_, name), sweep in inputs.sweeps.items() if name == site]
    points = [points_of(inputs, sweep.accentuated()) for sweep in sweeps]
    values = np.concatenate([p.ravel() for p in points] or [np.empty(0)])
    if values.size == 0:
        return -1.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _draw_model(
    row: SubFigure,
    inputs: ReportInputs,
    model: str,
    sites: Sequence[str],
    limits: dict[str, tuple[float, float]],
    theme: Theme,
) -> None:
    colour = model_colour(inputs.models.index(model))
    score = inputs.model_scores.get(model)
    heading = short(model, 40)
    if score is not None:
        heading += (
            f"   control {number(score.control_mean)} ± {number(score.control_sd)}"
        )
    row.suptitle(
        heading, x=0.01, ha="left", fontsize=10.5, fontweight="bold", color=colour
    )
    for column, axes in enumerate(row.subplots(1, len(sites), squeeze=False)[0]):
        site = sites[column]
        axes.set(xlim=limits[site], ylim=limits[site], box_aspect=1)
        axes.locator_params(nbins=5)
        axes.set_xlabel(f"predicted from the PNG ({inputs.units})")
        if column == 0:
            axes.set_ylabel(f"recorded ({inputs.units})")
        sweep = inputs.sweeps.get((model, site))
        _draw_site(axes, inputs, sweep, inputs.site_score(model, site), colour, theme)
        axes.set_title(short(site, 22), pad=23)
        axes.annotate(
            _site_numbers(inputs.site_score(model, site)), (0, 1), (0, 3), ha="left",
            xycoords="axes fraction", textcoords="offset points", fontsize=8,
            color=theme.muted,
        )  # fmt: skip


def _site_numbers(score: SiteScore | None) -> str:
    if score is None:
        return "no score"
    seeds = f"{score.n_seeds_used} of {len(score.seeds)} seeds"
    return f"r {number(score.control)} · slope {number(score.slope)}\nover {seeds}"


def _draw_site(
    axes: Axes,
    inputs: ReportInputs,
    sweep: SiteSweep | None,
    score: SiteScore | None,
    colour: str,
    theme: Theme,
) -> None:
    axes.axline((0, 0), slope=1, color=theme.rule, lw=0.9, ls=(0, (4, 3)), zorder=0)
    r_of = dict(zip(score.seeds, score.r, strict=True)) if score else {}
    drawn = 0
    for seed in sweep.seeds if sweep else ():
        defined = bool(np.isfinite(r_of.get(seed, np.nan)))
        drawn += _draw_seed(
            axes, inputs, sweep, seed, colour if defined else theme.muted
        )
    if not drawn:
        axes.text(
            0.5, 0.5, "nothing recorded", ha="center", va="center", color=theme.muted,
            transform=axes.transAxes,
        )  # fmt: skip
    if score is not None:
        _draw_strip(axes, score, colour, theme)


def _draw_seed(
    axes: Axes, inputs: ReportInputs, sweep: SiteSweep | None, seed: str, colour: str
) -> int:
    """One seed's line over its levels; returns the number of points drawn."""
    stimuli = [s for s in sweep.accentuated() if s.seed == seed] if sweep else []
    line = points_of(inputs, stimuli)
    axes.plot(line[:, 0], line[:, 1], color=colour, lw=0.9, alpha=0.55)
    for hit, face in ((True, colour), (False, axes.get_facecolor())):
        points = points_of(inputs, [s for s in stimuli if s.hit == hit])
        axes.plot(
            points[:, 0], points[:, 1], ls="", marker="o", ms=3, mew=0.8, mec=colour,
            mfc=face, alpha=0.8,
        )  # fmt: skip
    return len(line)


def _draw_strip(axes: Axes, score: SiteScore, colour: str, theme: Theme) -> None:
    """The r of every seed on a scale from -1 to 1 beside the panel."""
    strip = axes.inset_axes((1.04, 0, 0.07, 1))
    strip.spines[["left", "bottom"]].set_visible(False)
    strip.spines["right"].set_visible(True)
    strip.set(xlim=(0, 1), ylim=(-1.03, 1.03), xticks=[], yticks=[-1, 0, 1])
    strip.patch.set_alpha(0)
    strip.yaxis.tick_right()
    strip.tick_params(labelsize=7, size=2, pad=1)
    strip.axhline(0, color=theme.rule, lw=0.7)
    defined = score.r[np.isfinite(score.r)]
    strip.hlines(defined, 0.05, 0.75, color=colour, lw=1.1, alpha=0.7)
    if np.isfinite(score.control):
        strip.plot([0, 1], [score.control] * 2, color=theme.ink, lw=2)
    strip.set_xlabel("r", fontsize=7.5, color=theme.muted, labelpad=2)
