"""Which site, seed image and models stand for all: typical ones, never the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from paramctl_jax.report.inputs import ReportInputs
from paramctl_jax.report.summary import nanmean

MODELS_SHOWN = 3


def typical(inputs: ReportInputs) -> tuple[str, str]:
    """The site and the seed image that figure 1 shows.

    Among the sites that most models have stimuli for, the one whose control, averaged
    over models, is the (lower) median; there, the seed whose r is. What is undefined
    counts as lowest.

    Args:
      inputs: the report's data, with accentuated stimuli.

    Returns:
      Site and seed.
    """
    swept = {
        site: [model for model, name in inputs.sweeps if name == site]
        for site in inputs.sites
    }
    most = max(map(len, swept.values()))
    sites = [site for site, models in swept.items() if len(models) == most]

    def control(site: str) -> float:
        scores = [inputs.site_score(model, site) for model in swept[site]]
        return nanmean([score.control for score in scores if score])

    site = _median(sites, control)
    seeds = dict.fromkeys(
        seed for model in swept[site] for seed in inputs.sweeps[model, site].seeds
    )

    def r(seed: str) -> float:
        scores = [inputs.site_score(model, site) for model in swept[site]]
        known = [dict(zip(s.seeds, s.r.tolist(), strict=True)) for s in scores if s]
        return nanmean([of_seed.get(seed, math.nan) for of_seed in known])

    return site, _median(list(seeds), r)


def _median(names: Sequence[str], value: Callable[[str], float]) -> str:
    """The name with the lower median value; equal values keep their order.

    >>> _median(["a", "b", "c"], {"a": 3.0, "b": math.nan, "c": 1.0}.__getitem__)
    'c'
    """

    def rank(name: str) -> float:
        return value(name) if math.isfinite(value(name)) else -math.inf

    return sorted(names, key=rank)[(len(names) - 1) // 2]


def shown_models(inputs: ReportInputs, site: str) -> list[str]:
    """Models with stimuli of a site: all, or of more than three the extremes.

    Those are the ones with the highest, the median and the lowest control, in the
    order of the report.
    """
    swept = [model for model in inputs.models if (model, site) in inputs.sweeps]
    if len(swept) <= MODELS_SHOWN:
        return swept

    def control(model: str) -> float:
        score = inputs.model_scores.get(model)
        known = score is not None and math.isfinite(score.control_mean)
        return score.control_mean if score and known else -math.inf

    ranked = sorted(swept, key=control)
    chosen = {ranked[0], ranked[(len(ranked) - 1) // 2], ranked[-1]}
    return [model for model in swept if model in chosen]
