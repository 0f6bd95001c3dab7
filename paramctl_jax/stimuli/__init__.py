"""Stimulus sets: write, read, verify and summarise."""

from paramctl_jax.stimuli.controversial import (
    save_controversial,
    summarise_controversial,
)
from paramctl_jax.stimuli.controversial_table import (
    CONTROVERSIAL_TABLE,
    load_controversial,
)
from paramctl_jax.stimuli.peers import peer_predictions
from paramctl_jax.stimuli.read import load_stimuli, stimulus_images
from paramctl_jax.stimuli.summary import near_duplicates, summarise
from paramctl_jax.stimuli.traces import load_traces, save_traces
from paramctl_jax.stimuli.write import save_stimuli

__all__ = [
    "CONTROVERSIAL_TABLE",
    "load_controversial",
    "load_stimuli",
    "load_traces",
    "near_duplicates",
    "peer_predictions",
    "save_controversial",
    "save_stimuli",
    "save_traces",
    "stimulus_images",
    "summarise",
    "summarise_controversial",
]
