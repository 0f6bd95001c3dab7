"""Writes a report: figures as files, and one page that holds everything."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from paramctl_jax.artifacts import atomic_write
from paramctl_jax.report.accentuation import plates
from paramctl_jax.report.comparison import encoding_and_control
from paramctl_jax.report.curves import control_curves
from paramctl_jax.report.grids import stimulus_grid
from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.overview import overview
from paramctl_jax.report.page import Picture, Pictures, page
from paramctl_jax.report.scatter import (
    FEWEST_MODELS,
    encoding_against_control,
    model_points,
)
from paramctl_jax.report.style import DARK, LIGHT, Theme, figure_png
from paramctl_jax.report.verdicts import chapters

_SITES_PER_FIGURE = 5
_PIXELS_PER_INCH = 106  # 9 pt text appears at 13 px


def write_report(directory: str | Path, inputs: ReportInputs) -> Path:
    """Writes ``report.html`` and ``figures/*.png``.

    The page is written last, so that one that exists is complete.

    Args:
      directory: where to; made where it is missing.
      inputs: the report's data.

    Returns:
      The path of ``report.html``.

    Raises:
      InputError: naming a stimulus file that cannot be read, or an output that cannot
        be written.
    """
    directory = Path(directory)
    figures = directory / "figures"
    for number, (model, site) in enumerate(inputs.sweeps):
        name = f"stimuli_{number:02d}_{_slug(model)}_{_slug(site)}.png"
        atomic_write(figures / name, figure_png(stimulus_grid(inputs, model, site)))
    shown = [
        (plate, picture(figures / f"{plate.name}.png", plate.draw))
        for plate in plates(inputs)
    ]
    verdicts = {
        plate.name: picture(figures / f"{plate.name}.png", plate.draw)
        for chapter in chapters(inputs)
        for plate in chapter.plates
    }
    html = page(
        inputs, _comparison(figures, inputs), _curves(figures, inputs), shown, verdicts
    )
    return atomic_write(directory / "report.html", html.encode("utf-8"))


def _comparison(figures: Path, inputs: ReportInputs) -> Pictures:
    """The figures of all models: the whole experiment in one, and the scatter.

    Before there are stimuli the first has only its last part.
    """
    alone = picture(
        figures / "encoding_and_control.png",
        lambda theme: encoding_and_control(inputs, theme),
    )
    pictures = {"Encoding and control of every model": alone}
    if inputs.sweeps:
        described = (
            "One seed image at its target levels per model; recorded against predicted "
            "responses of its site; encoding and control of every model"
        )
        whole = picture(figures / "overview.png", lambda theme: overview(inputs, theme))
        pictures = {described: whole}
    if len(model_points(inputs)) >= FEWEST_MODELS:
        pictures["Control over encoding, one point per model"] = picture(
            figures / "encoding_against_control.png",
            lambda theme: encoding_against_control(inputs, theme),
        )
    return pictures


def _curves(figures: Path, inputs: ReportInputs) -> Pictures:
    """Control curves, at most five sites to a figure."""
    sites = [site for site in inputs.sites if any(s == site for _, s in inputs.sweeps)]
    pictures = {}
    for start in range(0, len(sites), _SITES_PER_FIGURE):
        shown = sites[start : start + _SITES_PER_FIGURE]
        path = figures / f"control_curves_{start // _SITES_PER_FIGURE:02d}.png"
        described = f"Recorded against predicted responses, sites {', '.join(shown)}"
        pictures[described] = picture(
            path, lambda theme, shown=shown: control_curves(inputs, shown, theme)
        )
    return pictures


def picture(path: Path, draw: Callable[[Theme], Figure]) -> Picture:
    """Saves the light figure; returns it, the dark one and their width on the page."""
    figure = draw(LIGHT)
    light = figure_png(figure)
    atomic_write(path, light)
    width = round(figure.get_size_inches()[0] * _PIXELS_PER_INCH)
    return light, figure_png(draw(DARK), DARK), width


def _slug(name: str) -> str:
    """A name as part of a file name.

    >>> _slug("../V4 site/7")
    '.._V4_site_7'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:60]
