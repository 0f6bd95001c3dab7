"""Stimulus sets: write, read, verify and summarise."""

from paramctl_jax.stimuli.read import load_stimuli, stimulus_images
from paramctl_jax.stimuli.summary import near_duplicates, summarise
from paramctl_jax.stimuli.traces import load_traces, save_traces
from paramctl_jax.stimuli.write import save_stimuli

__all__ = [
    "load_stimuli",
    "load_traces",
    "near_duplicates",
    "save_stimuli",
    "save_traces",
    "stimulus_images",
    "summarise",
]
