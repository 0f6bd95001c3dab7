"""Stimulus sets: write, read, verify and summarise."""

from paramctl_jax.stimuli.read import load_stimuli, stimulus_images
from paramctl_jax.stimuli.summary import near_duplicates, summarise
from paramctl_jax.stimuli.write import save_stimuli

__all__ = [
    "load_stimuli",
    "near_duplicates",
    "save_stimuli",
    "stimulus_images",
    "summarise",
]
