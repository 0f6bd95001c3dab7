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
from paramctl_jax.scoring.gain import (
    calibration_error,
    identity_r2,
    regression,
    within_slope,
)
from paramctl_jax.scoring.inference import (
    crossed_bootstrap,
    crossed_mean,
    level_permutation_null,
    permutation_test,
    sign_flip_test,
)
from paramctl_jax.scoring.multiplicity import holm, holm_comparisons
from paramctl_jax.scoring.noise import (
    expected_control,
    noise_corrected_r,
    noise_variance,
    within_r,
)
from paramctl_jax.scoring.peer_review import peer_review, review_table, review_tables
from paramctl_jax.scoring.pooled import exclusion_masks, pooled_score
from paramctl_jax.scoring.power import (
    Components,
    Power,
    power_curve,
    repeats_curve,
    smallest_design,
    variance_components,
)
from paramctl_jax.scoring.records import scores_to_json
from paramctl_jax.scoring.responses import by_stimulus_id, control_table
from paramctl_jax.scoring.shape import (
    modulation_depth,
    rank_correlations,
    rising_share,
)
from paramctl_jax.scoring.specificity import specificity
from paramctl_jax.scoring.summary import format_scores
from paramctl_jax.scoring.sweeps import SweepGrid, sweep_grids
from paramctl_jax.scoring.table import ControlTable, read_table, write_table

__all__ = [
    "Components",
    "ControlTable",
    "Power",
    "SweepGrid",
    "by_stimulus_id",
    "calibration_error",
    "choice_score",
    "compare_models",
    "control_score",
    "control_table",
    "crossed_bootstrap",
    "crossed_mean",
    "exclusion_masks",
    "expected_control",
    "format_scores",
    "holm",
    "holm_comparisons",
    "identity_r2",
    "level_permutation_null",
    "model_score",
    "modulation_depth",
    "natural_sd",
    "noise_corrected_r",
    "noise_variance",
    "ols_slope",
    "paired_differences",
    "pearson_r",
    "peer_review",
    "permutation_test",
    "pooled_score",
    "power_curve",
    "rank_correlations",
    "read_table",
    "regression",
    "repeats_curve",
    "replicate",
    "review_table",
    "review_tables",
    "rising_share",
    "score_table",
    "scores_to_json",
    "sign_flip_test",
    "smallest_design",
    "specificity",
    "sweep_grids",
    "variance_components",
    "within_r",
    "within_slope",
    "write_table",
]
