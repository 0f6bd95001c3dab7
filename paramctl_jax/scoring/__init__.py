"""Control scores, their uncertainty, and the table they are computed from."""

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
from paramctl_jax.scoring.responses import control_table
from paramctl_jax.scoring.summary import format_scores, scores_to_json
from paramctl_jax.scoring.sweeps import SweepGrid, sweep_grids
from paramctl_jax.scoring.table import ControlTable, read_table, write_table

__all__ = [
    "ControlTable",
    "SweepGrid",
    "compare_models",
    "control_score",
    "control_table",
    "crossed_bootstrap",
    "crossed_mean",
    "format_scores",
    "level_permutation_null",
    "model_score",
    "ols_slope",
    "pearson_r",
    "read_table",
    "score_table",
    "scores_to_json",
    "sign_flip_test",
    "sweep_grids",
    "write_table",
]
