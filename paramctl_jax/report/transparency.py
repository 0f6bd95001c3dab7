"""Where images were changed: maps of the loop over their seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, SubFigure

from paramctl_jax.report.grids import read_stimulus
from paramctl_jax.report.inputs import ReportInputs, SiteSweep
from paramctl_jax.report.paths import traced_models
from paramctl_jax.report.style import (
    LIGHT,
    Theme,
    finished,
    model_colour,
    number,
    short,
    style,
)
from paramctl_jax.types import Stimulus, Traces

_SEEDS_SHOWN = 3
_MAP = "inferno"
_CELL = 1.0  # inches

Case = tuple[int, Stimulus, Stimulus]  # row of the traces, seed, accentuated image


def mapped_models(inputs: ReportInputs) -> list[str]:
    """Models with at least one map to show, in the order of the report."""
    return [model for model in traced_models(inputs) if cases(inputs, model)]


def transparency(inputs: ReportInputs, theme: Theme = LIGHT) -> Figure:
    """Draws seeds, accentuated images, and where the loop changed them.

    Args:
      inputs: the report's data, with maps among its traces.
      theme: colours.

    Returns:
      The figure: models down; per model up to three seed images with the image farthest
      from each and the map of the row that it came from, over the grey seed.
    """
    models = mapped_models(inputs)
    with style(theme):
        columns = max(len(cases(inputs, model)) for model in models)
        size = (3.32 * _CELL * columns + 0.75, (_CELL + 0.88) * len(models))
        figure = Figure(figsize=size, facecolor=theme.surface)
        rows = figure.subfigures(len(models), 1, squeeze=False)[:, 0]
        for model, row in zip(models, rows, strict=True):
            _draw_model(row, inputs, model, columns, theme)
        return finished(figure)


def cases(inputs: ReportInputs, model: str) -> list[Case]:
    """Up to three seeds, from one site after the other, with a map each."""
    traces = inputs.traces[model]
    if traces.transparency is None:
        return []
    sweeps = [sweep for (name, _), sweep in inputs.sweeps.items() if name == model]
    seeds = list(dict.fromkeys(seed for sweep in sweeps for seed in sweep.seeds))
    found = []
    for position, seed in enumerate(seeds):
        turn = [(position + i) % len(sweeps) for i in range(len(sweeps))]
        tried = (_case(traces, sweeps[i], i, position, seed) for i in turn)
        found += [case for case in tried if case is not None][:1]
    return found[:_SEEDS_SHOWN]


def _case(
    traces: Traces, sweep: SiteSweep, site: int, position: int, seed: str
) -> Case | None:
    """The row that led farthest from this seed at this site, and where it led."""
    maps = traces.transparency
    if maps is None or (seed, None) not in sweep.cells:
        return None
    own = np.flatnonzero((traces.site == site) & (traces.seed == position)).tolist()
    ends = {row: _end(traces, row, sweep, seed) for row in own if maps[row].any()}
    known = [(row, end) for row, end in ends.items() if end is not None]
    if not known:
        return None
    row, end = max(known, key=lambda pair: abs(pair[1].target - pair[1].start))
    return row, sweep.cells[seed, None], end


def _end(traces: Traces, row: int, sweep: SiteSweep, seed: str) -> Stimulus | None:
    """The image that a row made; of a path the farthest that reached its level."""
    if traces.level[row] >= 0:
        return sweep.cells.get((seed, int(traces.level[row])))
    way = int(traces.direction[row])
    own = [s for s in sweep.accentuated() if s.seed == seed and s.step > 0]
    own = [s for s in own if way * (s.target - s.start) > 0]
    got = [s for s in own if s.hit] or own
    return max(got, key=lambda s: abs(s.target - s.start), default=None)


def _draw_model(
    row: SubFigure, inputs: ReportInputs, model: str, columns: int, theme: Theme
) -> None:
    row.suptitle(
        short(model, 40), x=0.01, ha="left", fontsize=10.5, fontweight="bold",
        color=model_colour(inputs.models.index(model)),
    )  # fmt: skip
    shown = cases(inputs, model)
    widths = ([1, 1, 1, 0.32] * columns)[:-1]
    grid = row.subplots(1, 4 * columns - 1, width_ratios=widths, squeeze=False)
    panels = list(grid[0])
    for axes in panels:
        axes.axis("off")
    maps = inputs.traces[model].transparency
    for index, (trace, seed, image) in enumerate(shown):
        if maps is not None:
            before, after = (read_stimulus(inputs, s) for s in (seed, image))
            overlay = heated(before, maps[trace])
            triple = panels[4 * index : 4 * index + 3]
            _draw_case(triple, (before, after, overlay), image, theme, inputs.units)
    _scale(row, panels, theme)


def _draw_case(
    panels: Sequence[Axes],
    pictures: Sequence[np.ndarray],
    image: Stimulus,
    theme: Theme,
    units: str,
) -> None:
    for axes, picture in zip(panels, pictures, strict=True):
        axes.imshow(picture, extent=(0, 1, 0, 1), aspect="equal")
        axes.set_anchor("S")
    panels[0].set_title(
        f"{short(image.seed, 22)} · {short(image.site, 18)}", fontsize=8, pad=4
    )
    texts = (
        f"start {number(image.start)}",
        f"predicted {number(image.predicted)}",
        "where changed",
    )
    for axes, text in zip(panels, texts, strict=True):
        axes.text(
            0.5, -0.05, text, ha="center", va="top", fontsize=7.5, color=theme.muted
        )
    panels[1].text(
        0.5, -0.19, f"target {number(image.target)} {units}", ha="center", va="top",
        fontsize=7.5, color=theme.muted,
    )  # fmt: skip


def heated(
    pixels: np.ndarray, change: np.ndarray
) -> Float[np.ndarray, "height width 3"]:
    """The image in dark grey under the map's colours, opaque where the map is high.

    Args:
      pixels: of the seed image, 8-bit.
      change: map, 0 to 255, of any size.

    Returns:
      RGB in [0, 1], of the image's size.
    """
    height, width = pixels.shape[:2]
    rows = (np.arange(height) * change.shape[0]) // height
    columns = (np.arange(width) * change.shape[1]) // width
    heat = change[np.ix_(rows, columns)].astype(np.float64) / 255
    grey = 0.55 * pixels.astype(np.float64).mean(axis=-1, keepdims=True) / 255
    opaque = np.minimum(1.0, 1.6 * heat)[..., None]
    coloured = np.asarray(colormaps[_MAP](heat))[..., :3]
    return (1 - opaque) * grey + opaque * coloured


def _scale(row: SubFigure, panels: Sequence[Axes], theme: Theme) -> None:
    bar = row.colorbar(
        ScalarMappable(cmap=_MAP), ax=panels, shrink=0.5, aspect=12, pad=0.01,
        ticks=[0, 1],
    )  # fmt: skip
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.ax.set_yticklabels(["0", "most"])
    bar.ax.tick_params(labelsize=7, size=0, colors=theme.muted)
