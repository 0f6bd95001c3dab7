"""A rehearsal in one figure: control over animals, and power against repeats."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from paramctl_jax.report.scatter import spread_out
from paramctl_jax.report.style import (
    LIGHT,
    Theme,
    finished,
    model_colour,
    number,
    short,
    style,
)
from paramctl_jax.scoring.rehearsal_records import ModelRehearsal, Rehearsal
from paramctl_jax.scoring.rehearsal_summary import smallest_p

_BINS = 12  # between the 5th and the 95th percentile of a typical model
_ROW = 0.85  # inches, of one model
_SHORTEST = 3.3  # inches
_LINE = 0.075  # of the panel's height: between two labels
_TESTS = {  # name, dashes, marker, place beside the number of repeats
    "interval": ("interval", (None, None), "o", 1.0),
    "seeds": ("over seeds", (4, 1.8), "s", 0.955),
    "sites": ("over sites", (1.2, 1.6), "D", 1.047),
}


def rehearsal_figure(found: Rehearsal, theme: Theme = LIGHT) -> Figure:
    """Draws control over animals for every model, and power against repeats.

    Left, at the planned number of repeats, one row per model: a histogram over
    animals, below it the median and the 5th to 95th percentile; a diamond is control
    without trial noise. Right, the share of animals in which each test tells two
    models apart; bars are 95 % intervals of that share, points are filled from the
    wanted power on. Of several pairs of models every one has a thin line, and the
    medians over pairs a thick one. A test that cannot reach alpha is grey, with the
    smallest p that it can reach. A single model has the left panel alone.

    Args:
      found: what `rehearse` returned.
      theme: colours.

    Returns:
      The figure.
    """
    height = 1.2 + _ROW * len(found.models)
    height = max(_SHORTEST, height) if found.pairs else height
    with style(theme):
        size = (9.6 if found.pairs else 5.2, height)
        figure = Figure(figsize=size, facecolor=theme.surface)
        panels = figure.subplots(
            1, 2 if found.pairs else 1, squeeze=False,
            width_ratios=(1.15, 1) if found.pairs else (1,),
        )[0]  # fmt: skip
        _draw_control(panels[0], found, theme)
        if found.pairs:
            _draw_power(panels[1], found, theme)
            if height > _SHORTEST:  # many rows on the left need no tall curves
                panels[1].set_box_aspect(0.8)
                panels[1].set_anchor("NW")
        return finished(figure)


def _draw_control(axes: Axes, found: Rehearsal, theme: Theme) -> None:
    at = found.repeats.index(found.planned)
    edges = _edges(found, at)
    counts = [np.histogram(m.control[at], edges)[0] for m in found.models]
    tallest = max(1, *(int(count.max()) for count in counts))
    for row, (model, count) in enumerate(zip(found.models, counts, strict=True)):
        colour = model_colour(row)
        axes.stairs(
            row - 0.62 * count / tallest, edges, baseline=row, fill=True, color=colour,
            alpha=0.4, lw=0,
        )  # fmt: skip
        _draw_spread(axes, model, at, row, colour, theme)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(len(found.models) - 0.55, -0.85))
    axes.set_yticks(range(len(found.models)), [short(m.name) for m in found.models])
    for index, label in enumerate(axes.get_yticklabels()):
        label.set(color=model_colour(index), fontweight="bold", fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    repeats = f"{found.planned} repeat{'' if found.planned == 1 else 's'}"
    axes.set_title(f"Control in {found.n_animals} animals, {repeats}")
    axes.set_xlabel("control: r over target levels, mean over seeds and sites")


def _draw_spread(
    axes: Axes, model: ModelRehearsal, at: int, row: int, colour: str, theme: Theme
) -> None:
    """Median and interval below the histogram; a diamond for no noise, and numbers."""
    spread, y = model.control_spread[at], row + 0.1
    true = float(np.nanmedian(model.true_control))
    axes.plot([spread.low, spread.high], [y, y], color=colour, lw=2, zorder=2)
    axes.plot(
        [spread.median], [y], ls="", marker="o", ms=6.5, mew=1, color=colour,
        mec=theme.surface, zorder=4,
    )  # fmt: skip
    axes.plot(
        [true], [y], ls="", marker="D", ms=6, mew=1.2, mfc=theme.surface, color=colour,
        zorder=3,
    )  # fmt: skip
    text = (
        f"{number(spread.median, 3)} [{number(spread.low, 3)}, "
        f"{number(spread.high, 3)}]   ◇ {number(true, 3)} without noise"
    )
    axes.annotate(
        text, (0, y), (2, -7), xycoords=("axes fraction", "data"),
        textcoords="offset points", fontsize=8, color=theme.muted, va="top",
    )  # fmt: skip


def _edges(found: Rehearsal, at: int) -> np.ndarray:
    """Of bins of one width for all models, over all that is drawn on the left."""
    drawn = [m.control[at] for m in found.models]
    drawn += [m.true_control for m in found.models]
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.05
    widths = [
        m.control_spread[at].high - m.control_spread[at].low for m in found.models
    ]
    known = [width for width in widths if width > 0]
    width = float(np.median(known)) / _BINS if known else np.inf
    bins = int(np.clip((high - low) / width, 10, 200))
    return np.linspace(low - margin, high + margin, bins + 1)


def _draw_power(axes: Axes, found: Rehearsal, theme: Theme) -> None:
    axes.axhline(found.wanted_power, color=theme.muted, lw=0.9, ls=(0, (4, 3)))
    axes.axvline(found.planned, color=theme.rule, lw=0.9, ls=":", zorder=0)
    axes.set_xscale("log", base=2)
    for test in _TESTS:
        _draw_test(axes, found, test, theme)
    planned = {found.planned: f"{found.planned}\nplanned"}
    axes.set_xticks(found.repeats, [planned.get(n, str(n)) for n in found.repeats])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(found.repeats[0] / 1.15, found.repeats[-1] * 1.15)
    axes.set(ylim=(-0.03, 1.03), yticks=(0, 0.2, 0.4, 0.6, 0.8, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_xlabel("repeats of each stimulus")
    _label_tests(axes, found, theme)
    if len(found.pairs) == 1:
        pair = found.pairs[0]
        axes.set_title(
            f"Animals that tell {short(pair.a, 18)} from {short(pair.b, 18)}"
        )
    else:
        axes.set_title(f"Animals that tell two models apart, {len(found.pairs)} pairs")


def _draw_test(axes: Axes, found: Rehearsal, test: str, theme: Theme) -> None:
    _, dashes, marker, aside = _TESTS[test]
    power = shares(found, test)
    middle = np.median(power, axis=0)
    x = np.asarray(found.repeats) * (aside if len(power) == 1 else 1.0)
    mute = is_mute(found, test)
    colour = theme.rule if mute else theme.ink
    line = {"color": colour, "dashes": dashes, "zorder": 2 if mute else 3}
    if len(power) > 1:
        axes.plot(x, power.T, lw=0.6, alpha=0.3, **line)
    elif not mute:
        ends = wilson(middle, found.n_animals)
        axes.vlines(x, *ends, color=colour, lw=1, alpha=0.3, zorder=2)
    axes.plot(x, middle, lw=1.5, **line)
    if mute:
        return
    for enough, face in ((True, theme.ink), (False, theme.surface)):
        own = (middle >= found.wanted_power) == enough
        axes.plot(
            x[own], middle[own], ls="", marker=marker, ms=5, mew=1.1, mec=theme.ink,
            mfc=face, zorder=4,
        )  # fmt: skip


def is_mute(found: Rehearsal, test: str) -> bool:
    """Whether a test cannot reach alpha, for want of seeds or sites."""
    return smallest_p(found.pairs[0].power[-1], test) > found.alpha


def shares(found: Rehearsal, test: str) -> np.ndarray:
    """Power of one test, axes ``[pair, repeats]``."""
    return np.asarray(
        [[getattr(one, f"by_{test}") for one in pair.power] for pair in found.pairs]
    )


def wilson(share: np.ndarray, n: int, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of a share of n: never outside [0, 1], and no point at 0 or 1.

    >>> [end.round(3).tolist() for end in wilson(np.array([0.0, 0.5]), 100)]
    [[0.0, 0.404], [0.037, 0.596]]
    """
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def _label_tests(axes: Axes, found: Rehearsal, theme: Theme) -> None:
    """Names beside the panel, at the heights of the lines' ends."""
    low, high = axes.get_ylim()
    ends = [float(np.median(shares(found, test)[:, -1])) for test in _TESTS]
    wishes = [(end - low) / (high - low) for end in ends]
    for test, height in zip(_TESTS, spread_out(wishes, _LINE), strict=True):
        mute, name = is_mute(found, test), _TESTS[test][0]
        if mute:
            smallest = smallest_p(found.pairs[0].power[-1], test)
            name = f"{name}: p ≥ {smallest:.3g}"
        axes.annotate(
            name, (1, height), (6, 0), xycoords="axes fraction", va="center",
            textcoords="offset points", fontsize=8, annotation_clip=False,
            color=theme.muted if mute else theme.ink,
        )  # fmt: skip
