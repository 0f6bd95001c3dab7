"""Recordings: reading, checks, reliability and noise ceilings."""

from paramctl_jax.recordings.ceiling import ncsnr, noise_ceiling
from paramctl_jax.recordings.checks import (
    SiteSummary,
    check_match,
    summarise_sites,
    valid_sites,
)
from paramctl_jax.recordings.correlation import pearson
from paramctl_jax.recordings.files import load_recordings, save_recordings
from paramctl_jax.recordings.reliability import (
    spearman_brown,
    split_half_correlations,
    split_half_reliability,
    top_sites,
)
from paramctl_jax.recordings.validate import make_recordings

__all__ = [
    "SiteSummary",
    "check_match",
    "load_recordings",
    "make_recordings",
    "ncsnr",
    "noise_ceiling",
    "pearson",
    "save_recordings",
    "spearman_brown",
    "split_half_correlations",
    "split_half_reliability",
    "summarise_sites",
    "top_sites",
    "valid_sites",
]
