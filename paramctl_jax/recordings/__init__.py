"""Recordings: readers, trials, checks, reliability, noise ceilings, choice of sites."""

from paramctl_jax.recordings.ceiling import ncsnr, noise_ceiling
from paramctl_jax.recordings.checks import (
    SiteSummary,
    check_match,
    summarise_sites,
    valid_sites,
)
from paramctl_jax.recordings.choice import SiteChoice, choose_sites
from paramctl_jax.recordings.correlation import pearson
from paramctl_jax.recordings.exclusions import Exclusions, find_exclusions, without
from paramctl_jax.recordings.files import (
    load_recordings,
    load_trials,
    save_recordings,
)
from paramctl_jax.recordings.reliability import (
    spearman_brown,
    split_half_correlations,
    split_half_reliability,
    top_sites,
)
from paramctl_jax.recordings.trials import group_trials, responses_from_trials
from paramctl_jax.recordings.validate import make_recordings, make_trials

__all__ = [
    "Exclusions",
    "SiteChoice",
    "SiteSummary",
    "check_match",
    "choose_sites",
    "find_exclusions",
    "group_trials",
    "load_recordings",
    "load_trials",
    "make_recordings",
    "make_trials",
    "ncsnr",
    "noise_ceiling",
    "pearson",
    "responses_from_trials",
    "save_recordings",
    "spearman_brown",
    "split_half_correlations",
    "split_half_reliability",
    "summarise_sites",
    "top_sites",
    "valid_sites",
    "without",
]
