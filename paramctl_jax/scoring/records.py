"""Control scores as JSON to keep."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from paramctl_jax.artifacts import with_null
from paramctl_jax.scoring.animals import replicate
from paramctl_jax.scoring.correlation import mean_defined
from paramctl_jax.scoring.multiplicity import holm_comparisons
from paramctl_jax.scoring.pooled import MASKS
from paramctl_jax.types import ControlScore, ModelScore, SiteScore

FURTHER = (
    "within_slope",
    "intercept",
    "r2_identity",
    "calibration_error",
    "spearman",
    "kendall",
    "rising",
    "modulation",
    "r_within",
    "r_noise_corrected",
)
"""Numbers of a site beside its control, in the order of the JSON."""

_UNDEFINED = {
    "modulation": "null where the table has no target",
    "pooled.permodel": "null where the table has no target",
    "pooled.intersect": "null where a model has no target, or lacks the site",
    "pooled.drop2": "null where a sweep has neither targets nor numeric levels",
    "r_noise_corrected": "null without recorded_sd and n_repeats, or see notes",
}
"""Why a number is null where no note says it."""

_POOLED = ("r", "slope", "intercept", "r2_identity", "n_points")


def scores_to_json(score: ControlScore) -> dict[str, Any]:
    """The scores as plain JSON types; a number that is undefined is None.

    Args:
      score: what `control_score` or `score_table` returned.

    Returns:
      ``subjects`` -> subject -> ``models`` -> model -> control and its sites,
      ``comparisons`` with Holm's adjustment within each subject, ``replications`` of
      the differences that several subjects show, and ``undefined`` and ``notes``, which
      say why a number is null.
    """
    adjusted = holm_comparisons(score.comparisons)
    content = {
        "subjects": {
            subject: {"models": {m: _model_json(s) for m, s in models.items()}}
            for subject, models in score.subjects.items()
        },
        "comparisons": [
            {
                **dataclasses.asdict(pair),
                "p_seeds_holm": p[0],
                "p_sites_holm": p[1],
            }
            for pair, p in zip(score.comparisons, adjusted, strict=True)
        ],
        "replications": replicate(score),
        "undefined": _UNDEFINED,
        "notes": score.notes,
    }
    return with_null(content)


def _model_json(model: ModelScore) -> dict[str, Any]:
    return {
        "control_mean": model.control_mean,
        "control_sd": model.control_sd,
        "control_sd_ddof1": model.control_sd_ddof1,
        "control_ci": model.control_ci,
        "n_sites": model.n_sites,
        "n_seeds_used": model.n_seeds_used,
        "n_rows": model.n_rows,
        "n_duplicates": model.n_duplicates,
        "p_permutation": model.p_permutation,
        "p_min_permutation": model.p_min_permutation,
        "slope_ci": model.slope_ci,
        **{name: model.overall(name) for name in ("slope", "pooled_r", *FURTHER)},
        "pooled": {
            mask: {name: over_sites(model, mask, name) for name in _POOLED}
            for mask in MASKS
        },
        "sites": {name: _site_json(site) for name, site in model.sites.items()},
    }


def _site_json(site: SiteScore) -> dict[str, Any]:
    names = ("control", "slope", "pooled_r", *FURTHER)
    return {
        **{name: getattr(site, name) for name in names},
        "n_seeds_used": site.n_seeds_used,
        "pooled": dict(site.pooled),
    }


def over_sites(model: ModelScore, mask: str, name: str) -> float:
    """Mean over sites of a number of the pooled score; NaN without the mask."""
    scores = [s.pooled[mask] for s in model.sites.values() if mask in s.pooled]
    values = np.asarray([getattr(score, name) for score in scores], np.float64)
    return float(mean_defined(values))
