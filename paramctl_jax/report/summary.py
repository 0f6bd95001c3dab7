"""The numbers of the report: encoding and control per model, as a table of text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.style import number, short
from paramctl_jax.types import Comparison

UNKNOWN_CEILING = "the noise ceiling of every site is unknown or below .1"
NO_EVALUATION = "no encoding evaluation of these sites"
NOT_RECORDED = "no recordings were scored"
UNDEFINED_R = "no seed has three recorded levels that vary"
NO_INTERVAL = "an interval needs at least one defined seed"
NO_TARGETS = "no accentuated stimuli"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One entry of a table: its value if it is one number, its text, why undefined."""

    value: float
    text: str
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One model, or one site of a model, with its cells by column name."""

    name: str
    cells: dict[str, Cell]


def nanmean(values: np.ndarray | Sequence[float]) -> float:
    """Mean of the finite values; NaN where there are none.

    >>> nanmean([1.0, float("nan"), 2.0])
    1.5
    """
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    return float(finite.mean()) if finite.size else math.nan


def number_cell(value: float, reason: str, text: str | None = None) -> Cell:
    """A number as a cell; an undefined one is an en dash with its reason."""
    if math.isfinite(value):
        return Cell(value, number(value) if text is None else text)
    return Cell(math.nan, "–", reason)


def _interval_cell(interval: tuple[float, float], reason: str) -> Cell:
    """An interval has no single value, only its text."""
    low, high = interval
    if math.isfinite(low) and math.isfinite(high):
        return Cell(math.nan, f"[{number(low)}, {number(high)}]")
    return Cell(math.nan, "–", reason)


def _encoding_cells(inputs: ReportInputs, model: str, sites: Sequence[str]) -> dict:
    """Means over the given sites of what the evaluation says about them."""
    evaluation = inputs.evaluations[model]
    chosen = [i for i, site in enumerate(evaluation.site_ids) if site in set(sites)]
    columns = {
        "r": (evaluation.r, NO_EVALUATION),
        "R²": (evaluation.r2, NO_EVALUATION),
        "r / ceiling": (evaluation.r_normalised, UNKNOWN_CEILING),
    }
    return {
        name: _mean_cell(values[chosen], len(sites), reason)
        for name, (values, reason) in columns.items()
    }


def _mean_cell(values: np.ndarray, count: int, reason: str) -> Cell:
    """Mean over sites; says so where some of the `count` sites are not in it."""
    cell = number_cell(nanmean(values), reason)
    defined = int(np.isfinite(values).sum())
    if 0 < defined < count:
        partial = f"mean over {defined} of {count} sites; undefined in the others"
        return dataclasses.replace(cell, reason=partial)
    return cell


def _hit_cell(inputs: ReportInputs, model: str, sites: Sequence[str]) -> Cell:
    sweeps = [inputs.sweeps[model, s] for s in sites if (model, s) in inputs.sweeps]
    made = [stimulus for sweep in sweeps for stimulus in sweep.accentuated()]
    hits = sum(stimulus.hit for stimulus in made)
    value = hits / len(made) if made else math.nan
    return number_cell(value, NO_TARGETS, f"{hits}/{len(made)}")


def model_rows(inputs: ReportInputs) -> list[Row]:
    """One row per model: encoding over its scored sites, control, hits."""
    return [Row(model, _model_cells(inputs, model)) for model in inputs.models]


def _model_cells(inputs: ReportInputs, model: str) -> dict[str, Cell]:
    sites = inputs.sites_of(model)
    score = inputs.model_scores.get(model)
    reason = UNDEFINED_R if score else NOT_RECORDED
    mean, sd = (score.control_mean, score.control_sd) if score else (math.nan, math.nan)
    ci = score.control_ci if score else (math.nan, math.nan)
    slopes = [site.slope for site in score.sites.values()] if score else []
    seeds = sum(len(site.seeds) for site in score.sites.values()) if score else 0
    used = float(score.n_seeds_used) if score else math.nan
    return {
        "sites": number_cell(float(len(sites)), "", str(len(sites))),
        **_encoding_cells(inputs, model, sites),
        "control": number_cell(mean, reason, f"{number(mean)} ± {number(sd)}"),
        "95 % CI": _interval_cell(ci, NO_INTERVAL if score else NOT_RECORDED),
        "slope": number_cell(nanmean(slopes), reason),
        "seeds used": number_cell(used, NOT_RECORDED, f"{used:.0f}/{seeds}"),
        "hits": _hit_cell(inputs, model, sites),
    }


def site_rows(inputs: ReportInputs, model: str) -> list[Row]:
    """One row per site of a model, with its noise ceiling and pooled r."""
    return [
        Row(site, site_cells(inputs, model, site)) for site in inputs.sites_of(model)
    ]


def site_cells(inputs: ReportInputs, model: str, site: str) -> dict[str, Cell]:
    """Encoding, control and hits of one model at one site."""
    evaluation = inputs.evaluations[model]
    at = [index for index, name in enumerate(evaluation.site_ids) if name == site]
    score = inputs.site_score(model, site)
    reason = UNDEFINED_R if score else NOT_RECORDED

    def scored(name: str) -> float:
        return float(getattr(score, name)) if score else math.nan

    seeds = f"{score.n_seeds_used}/{len(score.seeds)}" if score else ""
    return {
        **_encoding_cells(inputs, model, (site,)),
        "ceiling": number_cell(
            nanmean(evaluation.ceiling[at]), "no repeats of these images"
        ),
        "control": number_cell(scored("control"), reason),
        "slope": number_cell(scored("slope"), reason),
        "pooled r": number_cell(scored("pooled_r"), reason),
        "seeds used": number_cell(scored("n_seeds_used"), NOT_RECORDED, seeds),
        "hits": _hit_cell(inputs, model, (site,)),
    }


FEW = 6  # comparisons that are shown at once: of four models


def shown_comparisons(inputs: ReportInputs) -> list[Comparison]:
    """The comparisons of the subject that the report shows."""
    shown = inputs.subject
    if shown is None:
        shown = next(iter(inputs.score.subjects), "")
    return [c for c in inputs.score.comparisons if c.subject == shown]


def p_value(p: float, smallest: float) -> str:
    """A p with the smallest that its test can reach.

    >>> p_value(0.002, 0.002), p_value(float("nan"), float("nan"))
    ('0.002 (min 0.002)', '–')
    """
    if not math.isfinite(p):
        return "–"
    return f"{p:.2g} (min {smallest:.2g})"


def footnotes(rows: Sequence[Row]) -> list[str]:
    """The distinct reasons of undefined cells, in order of appearance."""
    reasons = [cell.reason for row in rows for cell in row.cells.values()]
    return list(dict.fromkeys(reason for reason in reasons if reason))


def summary_table(inputs: ReportInputs) -> str:
    """The encoding and control table as plain text.

    Encoding is the mean over the sites that were scored; control is the mean over sites
    of the mean over seeds of r(predicted, recorded) ± SD over sites (ddof 0); hits are
    judged from the saved PNGs. An undefined value is "–" and its reason stands below.

    Args:
      inputs: the report's data.

    Returns:
      Lines of text, without a final newline.

    Example:
      >>> from pathlib import Path
      >>> from paramctl_jax.report import ReportInputs
      >>> from paramctl_jax.types import ControlScore, EncodingEvaluation, StimulusSet
      >>> half, ends = np.asarray([0.5]), np.asarray([[0.4, 0.6]])
      >>> evaluation = EncodingEvaluation(
      ...     ("v4_07",), half, half / 2, half, half, half, ends, ends, ends, ends,
      ...     half, half, ("a",), ("b",), half[:, None], half[:, None],
      ... )
      >>> stimuli = StimulusSet(Path("stimuli"), ())
      >>> score = ControlScore({})
      >>> inputs = ReportInputs("A", {"m": evaluation}, stimuli, {}, score)
      >>> print(summary_table(inputs).splitlines()[-2])
      (a) no recordings were scored
    """
    rows = model_rows(inputs)
    reasons = footnotes(rows)
    columns = list(rows[0].cells)
    table = [["model", *columns]]
    for row in rows:
        table.append(
            [short(row.name, 28), *(_marked(c, reasons) for c in row.cells.values())]
        )
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = [_aligned(line, widths) for line in table]
    lines.insert(1, "─" * len(lines[0]))
    lines += [f"{_mark(i)} {reason}" for i, reason in enumerate(reasons)]
    compared = shown_comparisons(inputs)
    if len(compared) > FEW:
        lines.append(f"{len(compared)} differences between models are in the report")
    else:
        lines += [_comparison_line(c) for c in compared]
    return "\n".join(lines)


def _mark(index: int) -> str:
    return "(" + chr(ord("a") + index) + ")"


def _marked(cell: Cell, reasons: Sequence[str]) -> str:
    return cell.text + (_mark(reasons.index(cell.reason)) if cell.reason else "")


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)
    ]
    return "  ".join([line[0].ljust(widths[0]), *cells])


def _comparison_line(c: Comparison) -> str:
    return (
        f"{c.a} − {c.b}: {number(c.difference, signed=True)} "
        f"[{number(c.ci[0], signed=True)}, {number(c.ci[1], signed=True)}], "
        f"p over seeds {p_value(c.p_seeds, c.p_min_seeds)}, "
        f"over sites {p_value(c.p_sites, c.p_min_sites)}"
    )
