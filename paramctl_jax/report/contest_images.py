"""Controversial stimuli as pictures: one seed image, driven both ways."""

from __future__ import annotations

import dataclasses
import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from paramctl_jax.report.grids import read_png
from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.style import LIGHT, Theme, finished, number, short, style
from paramctl_jax.types import ControversialStimulus, InputError

_EXAMPLES = 4
_CELL = 1.32  # inches
_TEXT = 0.36  # height of the text below an image, in cells
_BETWEEN = 0.3  # between two examples beside each other, in cells


@dataclasses.dataclass(frozen=True)
class Pair:
    """One seed image at one site, driven up for either model at one level.

    Attributes:
      a_high, b_high: the stimuli; `seed`: the un-accentuated image, if in the set.
    """

    a_high: ControversialStimulus
    b_high: ControversialStimulus
    seed: ControversialStimulus | None

    @property
    def strength(self) -> tuple[bool, bool, float]:
        """Selected before accepted before others, then by the weaker direction."""
        both = (self.a_high, self.b_high)
        weaker = min(one.controversiality for one in both)
        return (
            all(one.selected for one in both),
            all(one.accepted for one in both),
            weaker if math.isfinite(weaker) else -math.inf,
        )


def rivals(inputs: ReportInputs) -> tuple[str, str]:
    """The two models that the section is about: judged, else the set's first two."""
    if inputs.choice is not None:
        return inputs.choice.a, inputs.choice.b
    if inputs.controversial is None or len(inputs.controversial.models) < 2:
        raise InputError("report: expected controversial stimuli of two models")
    first, second, *_ = inputs.controversial.models
    return first, second


def pairs_of(inputs: ReportInputs) -> list[Pair]:
    """All seed images that were driven both ways, the strongest pair of each first.

    Args:
      inputs: the report's data.

    Returns:
      One pair per (site, seed), ordered by `Pair.strength`.
    """
    stimuli = inputs.controversial.stimuli if inputs.controversial else ()
    a, b = rivals(inputs)
    at = {(s.site, s.seed, s.high, s.level): s for s in stimuli if s.high}
    plain = {(s.site, s.seed): s for s in stimuli if not s.high}
    best: dict[tuple[str, str], Pair] = {}
    for (site, seed, high, level), stimulus in at.items():
        other = at.get((site, seed, b, level))
        if high != a or other is None:
            continue
        pair = Pair(stimulus, other, plain.get((site, seed)))
        known = best.get((site, seed))
        if known is None or pair.strength > known.strength:
            best[site, seed] = pair
    return sorted(best.values(), key=lambda pair: pair.strength, reverse=True)


def examples(inputs: ReportInputs) -> list[Pair]:
    """The strongest pairs, another seed image each while there are any."""
    ranked = pairs_of(inputs)
    fresh = {pair.a_high.seed: pair for pair in reversed(ranked)}
    first = [pair for pair in ranked if fresh[pair.a_high.seed] is pair]
    rest = [pair for pair in ranked if pair not in first]
    return (first + rest)[:_EXAMPLES]


def contest_images(inputs: ReportInputs, theme: Theme = LIGHT) -> Figure:
    """Draws seed images between the two stimuli that were made from each.

    Left, driven up for the first model and down for the second; middle, the seed;
    right, the reverse. Below: both models' predictions from the PNG, in SD of their
    predictions of natural images.

    Args:
      inputs: the report's data, with controversial stimuli.
      theme: colours.

    Returns:
      The figure: at most four examples, two beside each other.

    Raises:
      InputError: without a pair of both directions, or for a PNG that cannot be read.
    """
    shown = examples(inputs)
    if not shown:
        raise InputError("report: no seed image was driven up for both models")
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    width = columns * 3.12 + (columns - 1) * _BETWEEN
    height = rows * (1 + _TEXT + 0.24)
    with style(theme):
        size = (width * _CELL + 0.2, (height + 0.18) * _CELL + 0.1)
        figure = Figure(figsize=size, facecolor=theme.surface)
        axes = figure.add_subplot()
        for index, pair in enumerate(shown):
            row, column = divmod(index, columns)
            left, top = column * (3.12 + _BETWEEN), row * (1 + _TEXT + 0.24)
            _draw_pair(axes, inputs, pair, left, top, theme)
        _label_directions(axes, inputs, columns)
        axes.set(
            xlim=(-0.02, width + 0.02), ylim=(height - 0.14, -0.32), aspect="equal"
        )
        axes.axis("off")
        return finished(figure)


def _label_directions(axes: Axes, inputs: ReportInputs, columns: int) -> None:
    for column in range(columns):
        for place, model in zip((0, 2), rivals(inputs), strict=True):
            axes.text(
                column * (3.12 + _BETWEEN) + place * 1.06 + 0.5, -0.24,
                f"up for {short(model, 16)}", ha="center", va="bottom", fontsize=8.5,
                fontweight="bold", color=inputs.colour(model),
            )  # fmt: skip


def _draw_pair(
    axes: Axes, inputs: ReportInputs, pair: Pair, left: float, top: float, theme: Theme
) -> None:
    heading = f"site {short(pair.a_high.site, 12)} · {short(pair.a_high.seed, 22)}"
    axes.text(left, top - 0.04, heading, fontsize=7.5, color=theme.muted, va="bottom")
    for place, stimulus in enumerate((pair.a_high, pair.seed, pair.b_high)):
        x = left + place * 1.06
        if stimulus is None:
            axes.add_patch(
                Rectangle((x, top), 1, 1, fill=False, ec=theme.rule, ls=":", lw=0.7)
            )
            continue
        axes.imshow(_pixels(inputs, stimulus), extent=(x, x + 1, top + 1, top))
        if stimulus.high:
            axes.add_patch(
                Rectangle(
                    (x, top), 1, 1, fill=False, ec=inputs.colour(stimulus.high), lw=1.8
                )
            )  # fmt: skip
        _say(axes, inputs, stimulus, x, top)


def _say(
    axes: Axes,
    inputs: ReportInputs,
    stimulus: ControversialStimulus,
    x: float,
    y: float,
) -> None:
    """Both models' predictions below an image, each in its colour."""
    for line, model in enumerate(rivals(inputs)):
        axes.text(
            x + 0.5, y + 1.06 + 0.135 * line,
            f"{short(model, 14)} {number(stimulus.z[model], 1, signed=True)} SD",
            ha="center", va="top", fontsize=7.5, color=inputs.colour(model),
        )  # fmt: skip


def _pixels(inputs: ReportInputs, stimulus: ControversialStimulus):
    assert inputs.controversial is not None  # there are stimuli only if there is a set
    return read_png(
        inputs.controversial.directory / stimulus.filename, stimulus.stimulus_id
    )
