"""Encoding: features, bases, read-outs, evaluation, target levels, encoding models."""

from paramctl_jax.encoding.basis import BASES, Basis, collapse, fit_basis, project
from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.equivalence import (
    EncodingComparison,
    PairedTests,
    compare_encoding,
)
from paramctl_jax.encoding.evaluation import evaluate, r_squared
from paramctl_jax.encoding.factorised import factorised
from paramctl_jax.encoding.features import extract_features, extract_readouts
from paramctl_jax.encoding.fit import choose_model, fit_encoding, fit_readouts
from paramctl_jax.encoding.gram import gram
from paramctl_jax.encoding.join import common_stimuli
from paramctl_jax.encoding.levels import RelativeLevels, relative_levels, target_levels
from paramctl_jax.encoding.linear import LinearFit
from paramctl_jax.encoding.prediction import predict, predict_features, predict_pixels
from paramctl_jax.encoding.ridge import DEFAULT_PENALTIES, ridge
from paramctl_jax.encoding.selection import (
    ReadoutChoice,
    choose_readout,
    choose_readouts_per_site,
)
from paramctl_jax.encoding.settings import EncodingSettings
from paramctl_jax.encoding.sparse import lasso
from paramctl_jax.encoding.splits import load_split, save_split, split_ids
from paramctl_jax.encoding.store import load_encoding, save_encoding
from paramctl_jax.encoding.table import encoding_table

__all__ = [
    "BASES",
    "DEFAULT_PENALTIES",
    "Basis",
    "EncodingComparison",
    "EncodingSettings",
    "FeatureBlocks",
    "LinearFit",
    "PairedTests",
    "ReadoutChoice",
    "RelativeLevels",
    "choose_model",
    "choose_readout",
    "choose_readouts_per_site",
    "collapse",
    "common_stimuli",
    "compare_encoding",
    "encoding_table",
    "evaluate",
    "extract_features",
    "extract_readouts",
    "factorised",
    "fit_basis",
    "fit_encoding",
    "fit_readouts",
    "gram",
    "lasso",
    "load_encoding",
    "load_split",
    "predict",
    "predict_features",
    "predict_pixels",
    "project",
    "r_squared",
    "relative_levels",
    "ridge",
    "save_encoding",
    "save_split",
    "split_ids",
    "target_levels",
]
