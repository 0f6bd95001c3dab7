"""Parametric neural control in JAX: encoding axes, accentuation, control scores.

The public names, in the order of the loop; see README.md for a run of it.
"""

from paramctl_jax.backbones import convert_weights, load_backbone
from paramctl_jax.data import load_photographs
from paramctl_jax.encoding import (
    fit_encoding,
    load_encoding,
    predict,
    save_encoding,
    target_levels,
)
from paramctl_jax.images import load_images
from paramctl_jax.recordings import (
    load_recordings,
    ncsnr,
    save_recordings,
    split_half_reliability,
    top_sites,
    valid_sites,
)
from paramctl_jax.scoring import control_score
from paramctl_jax.stimuli import load_stimuli, save_stimuli, stimulus_images
from paramctl_jax.subject import linear_subject
from paramctl_jax.synthesis import accentuate
from paramctl_jax.types import (
    Backbone,
    CheckpointError,
    ControlScore,
    EncodingModel,
    ImageSet,
    InputError,
    Recordings,
    StimulusSet,
    Sweep,
)

__all__ = [
    "Backbone",
    "CheckpointError",
    "ControlScore",
    "EncodingModel",
    "ImageSet",
    "InputError",
    "Recordings",
    "StimulusSet",
    "Sweep",
    "accentuate",
    "control_score",
    "convert_weights",
    "fit_encoding",
    "linear_subject",
    "load_backbone",
    "load_encoding",
    "load_images",
    "load_photographs",
    "load_recordings",
    "load_stimuli",
    "ncsnr",
    "predict",
    "save_encoding",
    "save_recordings",
    "save_stimuli",
    "split_half_reliability",
    "stimulus_images",
    "target_levels",
    "top_sites",
    "valid_sites",
]
