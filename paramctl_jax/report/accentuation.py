"""The section on accentuation: how targets were reached, and at what cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from paramctl_jax.report.changes import changes, errors, known_measures, swept_models
from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.paths import SITES_SHOWN, approach, reached, traced_models
from paramctl_jax.report.style import Theme
from paramctl_jax.report.transparency import mapped_models, transparency


@dataclasses.dataclass(frozen=True)
class Plate:
    """One figure of the section.

    Attributes:
      name: of its file, without the ending.
      heading: above it.
      described: what it shows, for those who cannot see it.
      caption: what to look for.
      draw: the figure in a theme.
    """

    name: str
    heading: str
    described: str
    caption: str
    draw: Callable[[Theme], Figure]


def plates(inputs: ReportInputs) -> list[Plate]:
    """The figures that the report's data allow, in the order of the page.

    Args:
      inputs: the report's data.

    Returns:
      Nothing without accentuated stimuli; no paths and maps without traces.
    """
    found = [*_approach(inputs)]
    if swept_models(inputs):
        found.append(_errors(inputs))
    if known_measures(inputs):
        found.append(_changes(inputs))
    if mapped_models(inputs):
        found.append(_transparency(inputs))
    return found


def _approach(inputs: ReportInputs) -> Sequence[Plate]:
    models = traced_models(inputs)
    if not models:
        return []
    made = [s for sweep in inputs.sweeps.values() for s in sweep.accentuated()]
    missed = sum(not reached(stimulus) for stimulus in made)
    most = max(sum(name == model for name, _ in inputs.sweeps) for model in models)
    some = f" The first {SITES_SHOWN} of {most} sites." if most > SITES_SHOWN else ""
    caption = (
        f"{_lines(inputs, models)} Thin rules are the target levels, dots the saved "
        "images at the step at which they were found. Look for lines that cross all "
        "levels without turning back, and for levels that only late steps reach. "
        f"{missed} of {len(made)} levels were not reached; their best images are kept, "
        f"open and red, with a stem to the level.{some}"
    )
    return [
        Plate(
            "approach",
            "How the targets were reached",
            "Prediction in the optimisation loop over its steps, per model and site",
            caption,
            lambda theme: approach(inputs, theme=theme),
        )
    ]


def _lines(inputs: ReportInputs, models: Sequence[str]) -> str:
    """What a line is: it depends on how the targets were approached."""
    paths = {bool((inputs.traces[model].level < 0).all()) for model in models}
    whole = "a seed image driven up or down through the levels"
    single = "a seed image on its way to one level"
    one = {True: whole, False: single}[paths.pop()] if len(paths) == 1 else ""
    return f"Each line is {one or f'{whole}, or {single}'}."


def _errors(inputs: ReportInputs) -> Plate:
    caption = (
        "All lanes of a model, sorted by the error of the saved 8-bit PNG; those "
        "without a finite prediction count and end a line before 100 %. Look for how "
        "far to the right a line stays below 5 %, and for a steep end: few but large "
        f"misses. Errors below {1e-5:.3%} of the range are drawn there."
    ).replace("%", " %").replace("  %", " %")  # fmt: skip
    return Plate(
        "errors",
        "What was missed",
        "Sorted errors of all saved PNGs, per model",
        caption,
        lambda theme: errors(inputs, theme),
    )


def _changes(inputs: ReportInputs) -> Plate:
    caption = (
        "A dot per lane, open where the PNG misses its target; lines are medians of "
        "lanes that were asked for equally much. Look for change that grows with what "
        "was asked: where it is large for small demands, high in frequency or mostly "
        "off the axis, the image reached its target by other means than the site's "
        "preferred feature."
    )
    return Plate(
        "changes",
        "What was changed",
        "Change of the images and features over the distance of the target, per model",
        caption,
        lambda theme: changes(inputs, theme),
    )


def _transparency(inputs: ReportInputs) -> Plate:
    caption = (
        "Per seed image: the seed, an image far from it, and how much the loss pulled "
        "at each pixel over all steps, scaled to the largest of each map. Look for "
        "whether objects, textures or the frame were worked on. For looking only; "
        "nothing is computed from it."
    )
    return Plate(
        "transparency",
        "Where images were changed",
        "Seed images, accentuated images, and maps of where they were changed",
        caption,
        lambda theme: transparency(inputs, theme),
    )
