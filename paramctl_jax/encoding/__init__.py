"""Encoding: features, bases, ridge, evaluation, target levels, encoding models."""

from paramctl_jax.encoding.basis import (
    BASES,
    Basis,
    collapse,
    fit_basis,
    fit_pca,
    project,
)
from paramctl_jax.encoding.evaluation import evaluate, r_squared, split_ids
from paramctl_jax.encoding.features import extract_features, extract_readouts
from paramctl_jax.encoding.fit import fit_encoding
from paramctl_jax.encoding.levels import RelativeLevels, relative_levels, target_levels
from paramctl_jax.encoding.prediction import predict, predict_features, predict_pixels
from paramctl_jax.encoding.ridge import DEFAULT_PENALTIES, RidgeFit, ridge_loo
from paramctl_jax.encoding.store import load_encoding, save_encoding

__all__ = [
    "BASES",
    "DEFAULT_PENALTIES",
    "Basis",
    "RelativeLevels",
    "RidgeFit",
    "collapse",
    "evaluate",
    "extract_features",
    "extract_readouts",
    "fit_basis",
    "fit_encoding",
    "fit_pca",
    "load_encoding",
    "predict",
    "predict_features",
    "predict_pixels",
    "project",
    "r_squared",
    "relative_levels",
    "ridge_loo",
    "save_encoding",
    "split_ids",
    "target_levels",
]
