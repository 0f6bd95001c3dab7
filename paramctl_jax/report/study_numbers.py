"""The numbers of one model in one run of a study, for table, figure and JSON alike."""

from __future__ import annotations

import dataclasses
import math

from paramctl_jax.encoding.resampling import encoding_interval
from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.summary import model_rows, nanmean

Interval = tuple[float, float]
UNKNOWN: Interval = (math.nan, math.nan)
# A slope divides by the change that a model predicts. Where that is next to nothing
# (a read-out that learned nothing), the interval is wider than this, and says nothing.
WIDEST_SLOPE = 10.0


def slope_shown(slope: float, limits: Interval) -> tuple[float, Interval]:
    """A slope and its interval, both unknown where the interval is too wide.

    >>> slope_shown(0.5, (0.4, 0.6)), slope_shown(966.0, (-20717.0, 18336.0))
    ((0.5, (0.4, 0.6)), (nan, (nan, nan)))
    """
    if limits[1] - limits[0] > WIDEST_SLOPE:
        return math.nan, UNKNOWN
    return slope, limits


@dataclasses.dataclass(frozen=True)
class ModelNumbers:
    """One model in one run; means over the scored sites, 95 % intervals.

    Attributes:
      encoding_r, encoding_r2: held out; with the interval of r.
      control, slope: r and gain of predicted and recorded responses; unknown where
        the model predicts too little change to divide by.
      hits: stimuli on target, of those made.
    """

    model: str
    encoding_r: float
    encoding_ci: Interval
    encoding_r2: float
    control: float
    control_ci: Interval
    slope: float
    slope_ci: Interval
    hits: str


def model_numbers(inputs: ReportInputs) -> list[ModelNumbers]:
    """The numbers of every model of a run, in the run's order."""
    return [
        _model(inputs, row.name, row.cells["hits"].text) for row in model_rows(inputs)
    ]


def _model(inputs: ReportInputs, name: str, hits: str) -> ModelNumbers:
    evaluation, score = inputs.evaluations[name], inputs.model_scores.get(name)
    slope, slope_ci = (
        slope_shown(score.overall("slope"), score.slope_ci)
        if score
        else (math.nan, UNKNOWN)
    )
    own = set(inputs.sites_of(name))
    sites = [i for i, site in enumerate(evaluation.site_ids) if site in own]
    return ModelNumbers(
        model=name,
        encoding_r=nanmean(evaluation.r[sites]),
        encoding_ci=encoding_interval(evaluation, sites),
        encoding_r2=nanmean(evaluation.r2[sites]),
        control=score.control_mean if score else math.nan,
        control_ci=score.control_ci if score else UNKNOWN,
        slope=slope,
        slope_ci=slope_ci,
        hits=hits,
    )
