"""Control scores, their uncertainty, and the table they are computed from."""

from paramctl_jax.scoring.animals import paired_differences, replicate
from paramctl_jax.scoring.choice import choice_score, natural_sd
from paramctl_jax.scoring.control import (
    compare_models,
    control_score,
    model_score,
    score_table,
)
from paramctl_jax.scoring.correlation import ols_slope, pearson_r
from paramctl_jax.scoring.inference import (
    crossed_bootstrap,
    crossed_mean,
    level_permutation_null,
    sign_flip_test,
)
from paramctl_jax.scoring.multiplicity import holm, holm_comparisons
from paramctl_jax.scoring.peer_review import peer_review, review_table, review_tables
from paramctl_jax.scoring.power import (
    Components,
    Power,
    power_curve,
    repeats_curve,
    smallest_design,
    variance_components,
)
from paramctl_jax.scoring.responses import control_table
from paramctl_jax.scoring.specificity import specificity
from paramctl_jax.scoring.summary import format_scores, scores_to_json
from paramctl_jax.scoring.sweeps import SweepGrid, sweep_grids
from paramctl_jax.scoring.table import ControlTable, read_table, write_table

__all__ = [
    "Components",
    "ControlTable",
    "Power",
    "SweepGrid",
    "choice_score",
    "compare_models",
    "control_score",
    "control_table",
    "crossed_bootstrap",
    "crossed_mean",
    "format_scores",
    "holm",
    "holm_comparisons",
    "level_permutation_null",
    "model_score",
    "natural_sd",
    "ols_slope",
    "paired_differences",
    "pearson_r",
    "peer_review",
    "power_curve",
    "read_table",
    "repeats_curve",
    "replicate",
    "review_table",
    "review_tables",
    "score_table",
    "scores_to_json",
    "sign_flip_test",
    "smallest_design",
    "specificity",
    "sweep_grids",
    "variance_components",
    "write_table",
]
