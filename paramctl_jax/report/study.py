"""Several runs side by side: their numbers, as a table, as JSON and as a page."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paramctl_jax.artifacts import atomic_write
from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.markup import escaped, paragraph, section
from paramctl_jax.report.page import document, pictured
from paramctl_jax.report.study_figure import TRUTH, study_figure
from paramctl_jax.report.study_numbers import (
    UNKNOWN,
    Interval,
    ModelNumbers,
    model_numbers,
    slope_shown,
)
from paramctl_jax.report.style import plain
from paramctl_jax.report.summary import shown_comparisons
from paramctl_jax.report.tables import table
from paramctl_jax.report.write import picture

Runs = Mapping[str, ReportInputs]

HEADS = (
    "model",
    "r",
    "95 % CI",
    "R²",
    "control",
    "95 % CI",
    "slope",
    "95 % CI",
    "hits",
)


@dataclasses.dataclass(frozen=True)
class PairNumbers:
    """Model a minus model b in one run, on the same sites, images and seeds.

    Attributes:
      encoding: difference in held-out r, with its 90 % interval.
      equivalent: whether that interval lies within .05 (two one-sided tests); None
        without a test.
      control, slope: differences with their 95 % intervals.
    """

    a: str
    b: str
    encoding: float
    encoding_ci90: Interval
    equivalent: bool | None
    control: float
    control_ci: Interval
    slope: float
    slope_ci: Interval


def pair_numbers(inputs: ReportInputs) -> list[PairNumbers]:
    """The paired differences of every two models of a run."""
    found = []
    for pair in shown_comparisons(inputs):
        encoded, ci90, equivalent = _encoding(inputs, pair.a, pair.b)
        slope, slope_ci = slope_shown(pair.slope_difference, pair.slope_ci)
        found.append(
            PairNumbers(
                a=pair.a,
                b=pair.b,
                encoding=encoded,
                encoding_ci90=ci90,
                equivalent=equivalent,
                control=pair.difference,
                control_ci=pair.ci,
                slope=slope,
                slope_ci=slope_ci,
            )
        )
    return found


def _encoding(
    inputs: ReportInputs, a: str, b: str
) -> tuple[float, Interval, bool | None]:
    """Difference in held-out r; the comparison may have been made the other way."""
    compared = inputs.encoding_comparisons
    sign = 1 if (a, b) in compared else -1
    mean = compared.get((a, b), compared.get((b, a)))
    if mean is None:
        return math.nan, UNKNOWN, None
    low, high = sorted((sign * mean.mean.ci90[0]).tolist())
    return (
        sign * float(mean.mean.difference[0]),
        (low, high),
        bool(mean.mean.equivalent[0]),
    )


def study_json(runs: Runs) -> dict[str, Any]:
    """Every run's truth, models and differences, as plain JSON types but for NaN."""
    return {
        name: {
            "ground_truth": inputs.ground_truth,
            "models": [dataclasses.asdict(one) for one in model_numbers(inputs)],
            "differences": [dataclasses.asdict(one) for one in pair_numbers(inputs)],
        }
        for name, inputs in runs.items()
    }


def study_table(runs: Runs) -> str:
    """The numbers of all runs as plain text, one block per run."""
    blocks = {
        name: [_cells(one) for one in model_numbers(i)] for name, i in runs.items()
    }
    lines = [HEADS, *(row for rows in blocks.values() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    text = [_aligned(HEADS, widths)]
    width = len(text[0])
    for name, inputs in runs.items():
        said = inputs.ground_truth.removeprefix(TRUTH)
        text += ["─" * width, textwrap.fill(f"{name}: {said}".rstrip(": "), width)]
        text += [_aligned(row, widths) for row in blocks[name]]
        text += [
            textwrap.fill(pair_sentence(pair), width) for pair in pair_numbers(inputs)
        ]
    return "\n".join(text)


def _cells(one: ModelNumbers) -> tuple[str, ...]:
    return (
        one.model,
        plain(one.encoding_r),
        interval(one.encoding_ci),
        plain(one.encoding_r2),
        plain(one.control),
        interval(one.control_ci),
        plain(one.slope),
        interval(one.slope_ci),
        one.hits,
    )


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    rest = zip(line[1:], widths[1:], strict=True)
    return "  ".join([line[0].ljust(widths[0]), *(x.rjust(w) for x, w in rest)])


def interval(limits: Interval, signed: bool = False) -> str:
    """Both ends, or an en dash.

    >>> interval((0.1, 0.25)), interval((float("nan"), 1.0))
    ('[0.10, 0.25]', '–')
    """
    if not all(map(math.isfinite, limits)):
        return "–"
    return "[" + ", ".join(plain(x, signed) for x in limits) + "]"


def pair_sentence(pair: PairNumbers) -> str:
    """What differs between two models, in a line."""
    verdict = {True: ", equivalent", False: ", not shown to be equivalent", None: ""}
    slope = f"{plain(pair.slope, True)} {interval(pair.slope_ci, True)}"
    return (
        f"{pair.a} − {pair.b}: encoding r {plain(pair.encoding, True)} "
        f"(90 % {interval(pair.encoding_ci90, True)}{verdict[pair.equivalent]}), "
        f"control {plain(pair.control, True)} {interval(pair.control_ci, True)}, "
        f"slope {slope if math.isfinite(pair.slope) else 'not determined'}"
    )


def write_study(directory: str | Path, title: str, runs: Runs) -> Path:
    """Writes ``report.html`` and ``figures/study.png`` of several runs.

    Args:
      directory: of the study; the runs' own reports are in ``variants/NAME``.
      title: of the page.
      runs: by name, in the order of the page.

    Returns:
      The path of ``report.html``.
    """
    directory = Path(directory)
    drawn = picture(
        directory / "figures" / "study.png", lambda theme: study_figure(runs, theme)
    )
    described = "Encoding, control and slope of every model, run by run"
    sections = [_run_section(name, inputs) for name, inputs in runs.items()]
    body = [
        f"<header><h1>{escaped(title)}</h1>{paragraph(LEAD, 'lede')}</header>",
        section("study", "Side by side", pictured({described: drawn})),
        *sections,
        section("reading", "How to read this", paragraph(READING)),
    ]
    html = document(title, "\n".join(body))
    return atomic_write(directory / "report.html", html.encode("utf-8"))


LEAD = (
    "Runs that differ in a few settings. What is known of a simulated subject stands "
    "beside its numbers."
)
READING = (
    "r and R²: held-out natural images, mean over the scored sites. Control: mean over "
    "sites of the mean over seed images of r(predicted, recorded) over the target "
    "levels; it is blind to gain. Slope: recorded on predicted, 1 where the subject "
    "does what the model says, – where the model predicts too little change to divide "
    "by (an interval wider than 10). Intervals of control and slope resample sites and "
    "seed images, those of r sites and held-out images. Two models are equivalent "
    "encoders where the 90 % interval of their difference in r lies within .05 (two "
    "one-sided tests)."
)


def _run_section(name: str, inputs: ReportInputs) -> str:
    first = [_cells(one) for one in model_numbers(inputs)]
    rows = [(model, *map(escaped, rest)) for model, *rest in first]
    link = f"variants/{name}/report.html"
    return section(
        f"run-{escaped(name)}",
        name,
        paragraph(inputs.ground_truth, "lede") if inputs.ground_truth else "",
        table(HEADS, rows),
        *(paragraph(pair_sentence(pair)) for pair in pair_numbers(inputs)),
        f'<p><a href="{escaped(link)}">Its own report</a></p>',
    )
