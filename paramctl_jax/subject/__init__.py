"""The in-silico subject, which closes the loop without an animal."""

from paramctl_jax.subject.axes import random_truth
from paramctl_jax.subject.drift import Drift
from paramctl_jax.subject.neurons import (
    CompactNeurons,
    compact_neurons,
    neuron_subject,
)
from paramctl_jax.subject.noise import CountNoise, GaussianNoise, noise_of_reliability
from paramctl_jax.subject.settings import (
    check_subject,
    subject_call,
    subject_digests,
    subject_in_words,
    subject_networks,
    subject_of_settings,
)
from paramctl_jax.subject.simulated import (
    linear_subject,
    noisy_subject,
    simulated_subject,
)
from paramctl_jax.subject.subject import Subject, subject_of_model
from paramctl_jax.subject.truth import (
    LinearTruth,
    MixedTruth,
    ShapedTruth,
    Truth,
    UnpredictableTruth,
    mixed,
)

__all__ = [
    "CompactNeurons",
    "CountNoise",
    "Drift",
    "GaussianNoise",
    "LinearTruth",
    "MixedTruth",
    "ShapedTruth",
    "Subject",
    "Truth",
    "UnpredictableTruth",
    "check_subject",
    "compact_neurons",
    "linear_subject",
    "mixed",
    "neuron_subject",
    "noise_of_reliability",
    "noisy_subject",
    "random_truth",
    "simulated_subject",
    "subject_call",
    "subject_digests",
    "subject_in_words",
    "subject_networks",
    "subject_of_model",
    "subject_of_settings",
]
