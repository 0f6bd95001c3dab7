"""Numbers of a site beside control, slope and pooled r, defined once for all tables."""

from __future__ import annotations

import math

from paramctl_jax.report.summary import Cell, number_cell
from paramctl_jax.types import SiteScore

UNDEFINED = "undefined with these recordings; the notes say what is missing"
HEADINGS = {
    "within_slope": "slope, seeds pooled",
    "intercept": "intercept",
    "r2_identity": "R² identity",
    "calibration_error": "mean error",
    "spearman": "Spearman ρ",
    "kendall": "Kendall τ",
    "rising": "rising",
    "modulation": "modulation",
    "r_within": "r within seeds",
    "r_noise_corrected": "noise-corrected",
}
MASKS = {
    "none": "clamped, all",
    "permodel": "own hits",
    "drop2": "without the two highest",
    "intersect": "hits of all models",
}


def further_cells(score: SiteScore | None) -> dict[str, Cell]:
    """What the score of a site knows beyond the numbers of `site_cells`.

    Args:
      score: of a site, or None.

    Returns:
      Cells by heading, the pooled r under every mask last; empty without a score, and
      without columns that no recording could fill.
    """
    if score is None:
        return {}
    values = {heading: getattr(score, name) for name, heading in HEADINGS.items()}
    values |= {
        f"pooled r: {MASKS[name]}": pooled.r for name, pooled in score.pooled.items()
    }
    if all(math.isnan(value) for value in values.values()):
        return {}
    return {name: number_cell(value, UNDEFINED) for name, value in values.items()}
