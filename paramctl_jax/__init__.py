"""Parametric neural control in JAX: encoding axes, accentuation, control scores.

The loop, in the order of the public names. The recordings are simulated here, by random
read-outs of a third bundled network, so that the example runs anywhere:

    >>> import jax, os, tempfile
    >>> import paramctl_jax as pc
    >>> folder = tempfile.mkdtemp()
    >>> natural = pc.load_photographs(64)
    >>> subject = pc.linear_subject(
    ...     pc.load_backbone("small_subject_robust"), natural, "layer3.0", n_sites=6,
    ...     components=20, ncsnr=(0.4, 1.2), key=jax.random.key(0), progress=False,
    ... )
    >>> trials = subject.record(natural, 6, jax.random.key(1), "day1", progress=False)
    >>> pc.save_recordings(f"{folder}/day1.npz", trials)

From here on it is what a lab types, with files of its own:

    >>> images = pc.load_images(pc.photographs_path(), size=64)
    >>> recordings = pc.load_recordings(f"{folder}/day1.npz")
    >>> reliability = pc.split_half_reliability(recordings.responses, jax.random.key(0))
    >>> recordings = recordings.select_sites(pc.top_sites(reliability, 1))

    >>> backbone = pc.load_backbone("small_robust")
    >>> seeds = images.select(["lotus_0005"])  # held out from the fit
    >>> model = pc.fit_encoding(
    ...     backbone, images.drop(seeds), recordings, readout="layer4.0", basis="pca",
    ...     components=100, key=jax.random.key(1), progress=False,
    ... )
    >>> bool((model.evaluation.r > 0.5).all())
    True
    >>> model.notes
    ("1 recorded stimuli without an image were not fitted, first 'lotus_0005'",)

    >>> levels = pc.target_levels(recordings, count=3)  # [site, level]
    >>> sweep = pc.accentuate(
    ...     model, seeds, levels, key=jax.random.key(2), crops=2, slots=1,
    ...     progress=False,
    ... )
    >>> stimuli = pc.save_stimuli(f"{folder}/stimuli", [sweep], progress=False)
    >>> shown = pc.stimulus_images(stimuli)
    >>> trials = subject.record(shown, 4, jax.random.key(3), "day2", progress=False)
    >>> pc.save_recordings(f"{folder}/day2.npz", trials)

    >>> responses = pc.load_recordings(f"{folder}/day2.npz")
    >>> score = pc.control_score(stimuli, responses)
    >>> score.subjects[""]["small_robust"].control_mean > 0.8
    True
"""

from paramctl_jax.backbones import convert_weights, load_backbone, with_sae
from paramctl_jax.data import load_photographs, photographs_path
from paramctl_jax.encoding import (
    choose_readout,
    compare_encoding,
    fit_encoding,
    fit_readouts,
    load_encoding,
    load_split,
    predict,
    save_encoding,
    save_split,
    target_levels,
)
from paramctl_jax.images import load_images
from paramctl_jax.recordings import (
    choose_sites,
    find_exclusions,
    load_recordings,
    load_trials,
    ncsnr,
    responses_from_trials,
    save_recordings,
    split_half_reliability,
    top_sites,
    valid_sites,
    without,
)
from paramctl_jax.scoring import choice_score, control_score, natural_sd
from paramctl_jax.stimuli import (
    load_controversial,
    load_stimuli,
    save_controversial,
    save_stimuli,
    stimulus_images,
)
from paramctl_jax.stimuli.exchange import export_stimuli, load_authors
from paramctl_jax.subject import linear_subject
from paramctl_jax.synthesis import accentuate, controversial
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
    Trials,
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
    "Trials",
    "accentuate",
    "choice_score",
    "choose_readout",
    "choose_sites",
    "compare_encoding",
    "control_score",
    "controversial",
    "convert_weights",
    "export_stimuli",
    "find_exclusions",
    "fit_encoding",
    "fit_readouts",
    "linear_subject",
    "load_authors",
    "load_backbone",
    "load_controversial",
    "load_encoding",
    "load_images",
    "load_photographs",
    "load_recordings",
    "load_split",
    "load_stimuli",
    "load_trials",
    "natural_sd",
    "ncsnr",
    "photographs_path",
    "predict",
    "responses_from_trials",
    "save_controversial",
    "save_encoding",
    "save_recordings",
    "save_split",
    "save_stimuli",
    "split_half_reliability",
    "stimulus_images",
    "target_levels",
    "top_sites",
    "valid_sites",
    "with_sae",
    "without",
]
