"""The verdict between two models: what the subject did with controversial stimuli."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.style import (
    LIGHT,
    Theme,
    finished,
    number,
    short,
    stacked,
    style,
)
from paramctl_jax.report.words import counted
from paramctl_jax.types import ChoiceScore, ChoiceSite, InputError

SITES_SHOWN = 6
_FEWEST_PANELS = 4
_PANEL = (1.62, 2.7)  # inches, of one site


def contest_panel(inputs: ReportInputs, theme: Theme = LIGHT) -> Figure:
    """Draws the responses to pairs of controversial stimuli, and what they say.

    Above, per site, a line per pair joins the response to the stimulus driven up for
    one model and that to the stimulus driven up for the other, in the colour of the
    model that the pair follows; thick: the mean; dotted: mean of the seed images.
    Below, kappa of every site and its mean with the 95 % interval, and the r of both
    models' predictions with the responses.

    Args:
      inputs: the report's data, with the verdict of a contest.
      theme: colours.

    Returns:
      The figure.

    Raises:
      InputError: without a verdict.
    """
    choice = inputs.choice
    if choice is None:
        raise InputError("report: expected the verdict of a contest, found none")
    shown = list(choice.sites)[:SITES_SHOWN]
    rows = max(len(choice.sites), 1)
    below = 1.5 + 0.27 * (rows + 1)
    with style(theme):
        width = 0.75 + _PANEL[0] * max(len(shown), _FEWEST_PANELS)
        figure = Figure(figsize=(width, _PANEL[1] + below), facecolor=theme.surface)
        heights = (_PANEL[1], below)
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[
            :, 0
        ]
        _draw_slopes(upper, inputs, choice, shown, theme)
        left, right = lower.subplots(1, 2, sharey=True)
        _draw_kappa(left, inputs, choice, theme)
        _draw_r(right, inputs, choice, theme)
        return finished(figure)


def _draw_slopes(
    row: SubFigure,
    inputs: ReportInputs,
    choice: ChoiceScore,
    sites: Sequence[str],
    theme: Theme,
) -> None:
    places = max(len(sites), _FEWEST_PANELS)  # of equal width, also for one site
    for column, axes in enumerate(row.subplots(1, places, squeeze=False)[0]):
        if column >= len(sites):
            axes.axis("off")
            continue
        site = choice.sites[sites[column]]
        _draw_pairs(axes, inputs, choice, site, theme)
        axes.set_title(short(sites[column], 18), pad=16)
        axes.annotate(
            _says(site), (0, 1), (0, 3), xycoords="axes fraction", ha="left",
            textcoords="offset points", fontsize=8, color=theme.muted,
        )  # fmt: skip
        if column == 0:
            axes.set_ylabel(f"recorded ({inputs.units})")


def _says(site: ChoiceSite) -> str:
    differences = site.a_high - site.b_high
    known = int(np.isfinite(differences).sum())
    if not known:
        return "no pair was recorded"
    return f"κ {number(site.kappa, signed=True)} · {counted(known, 'pair')}"


def _draw_pairs(
    axes: Axes,
    inputs: ReportInputs,
    choice: ChoiceScore,
    site: ChoiceSite,
    theme: Theme,
) -> None:
    colours = {1: inputs.colour(choice.a), -1: inputs.colour(choice.b), 0: theme.muted}
    pairs = np.stack([site.a_high, site.b_high], axis=1)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    for a_high, b_high in pairs:
        axes.plot(
            [0, 1], [a_high, b_high], color=colours[int(np.sign(a_high - b_high))],
            lw=1, alpha=0.6, marker="o", ms=3, mew=0,
        )  # fmt: skip
    if len(pairs):
        axes.plot([0, 1], pairs.mean(axis=0), color=theme.ink, lw=2.2, zorder=3)
    seeds = site.seed[np.isfinite(site.seed)]
    if seeds.size:
        axes.axhline(seeds.mean(), color=theme.muted, lw=0.9, ls=":", zorder=0)
    names = [f"up for\n{stacked(model, 11)}" for model in (choice.a, choice.b)]
    axes.set_xticks([0, 1], names, fontweight="bold", fontsize=7.5)
    axes.set_xlim(-0.25, 1.25)
    axes.tick_params(axis="x", length=0)
    for label, model in zip(axes.get_xticklabels(), (choice.a, choice.b), strict=True):
        label.set_color(inputs.colour(model))


def _draw_kappa(
    axes: Axes, inputs: ReportInputs, choice: ChoiceScore, theme: Theme
) -> None:
    sites, last = choice.sites.values(), len(choice.sites)
    for index, site in enumerate(sites):
        if np.isfinite(site.kappa):
            follows = choice.a if site.kappa > 0 else choice.b
            axes.plot(
                [site.kappa], [index], ls="", marker="o", ms=5.5, mew=0,
                color=inputs.colour(follows) if site.kappa else theme.muted,
            )  # fmt: skip
    if np.all(np.isfinite(choice.kappa_ci)):
        axes.plot(choice.kappa_ci, [last, last], color=theme.ink, lw=1.6)
    if np.isfinite(choice.kappa):
        axes.plot([choice.kappa], [last], ls="", marker="D", ms=6.5, color=theme.ink)
        axes.annotate(
            number(choice.kappa, signed=True), (choice.kappa, last), (0, 7),
            textcoords="offset points", ha="center", fontweight="bold", fontsize=9,
        )  # fmt: skip
    axes.axvline(0, color=theme.rule, lw=0.9, zorder=0)
    ends = [*(site.kappa for site in sites), *choice.kappa_ci, choice.kappa]
    reach = 1.15 * max((abs(end) for end in ends if np.isfinite(end)), default=1.0) or 1
    axes.set(xlim=(-reach, reach), ylim=(last + 0.6, -0.6))
    names = [*(short(site, 20) for site in choice.sites), "mean, 95 % interval"]
    axes.set_yticks(range(last + 1), names)
    _finish(axes, "Whom the sites follow", "choice index κ")
    for x, ha, model, sign in ((0, "left", choice.b, "← "), (1, "right", choice.a, "")):
        text = f"{sign}{short(model, 16)}" + ("" if sign else " →")
        axes.annotate(
            text, (x, 0), (0, -41), xycoords="axes fraction", ha=ha, fontsize=8,
            textcoords="offset points", fontweight="bold", color=inputs.colour(model),
        )  # fmt: skip


def _draw_r(
    axes: Axes, inputs: ReportInputs, choice: ChoiceScore, theme: Theme
) -> None:
    for index, site in enumerate(choice.sites.values()):
        axes.plot([site.r_a, site.r_b], [index, index], color=theme.rule, lw=1.4)
        for r, model in ((site.r_a, choice.a), (site.r_b, choice.b)):
            axes.plot(
                [r], [index], ls="", marker="o", ms=5.5, mew=0,
                color=inputs.colour(model),
            )  # fmt: skip
    means = {
        choice.a: [site.r_a for site in choice.sites.values()],
        choice.b: [site.r_b for site in choice.sites.values()],
    }
    for model, values in means.items():
        finite = [value for value in values if np.isfinite(value)]
        if finite:
            axes.plot(
                [np.mean(finite)], [len(choice.sites)], ls="", marker="D", ms=6.5,
                mew=0, color=inputs.colour(model), label=short(model, 20),
            )  # fmt: skip
    axes.axvline(0, color=theme.rule, lw=0.9, zorder=0)
    axes.set(xlim=(-1.05, 1.05), xticks=[-1, -0.5, 0, 0.5, 1])
    _finish(axes, "Whose predictions hold", "r of predicted and recorded, all pairs")
    axes.tick_params(axis="y", labelleft=False)


def _finish(axes: Axes, title: str, label: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(label)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
