"""Frozen networks with named readouts, loaded by name from tensors only."""

from paramctl_jax.backbones.convert import convert_weights
from paramctl_jax.backbones.loading import (
    check_readout,
    load_backbone,
    random_backbone,
    read,
    read_all,
    spec_of_weights,
    weight_folders,
)
from paramctl_jax.backbones.registry import REGISTRY, spec_of
from paramctl_jax.backbones.sae import with_sae
from paramctl_jax.backbones.spec import Source, Spec

__all__ = [
    "REGISTRY",
    "Source",
    "Spec",
    "check_readout",
    "convert_weights",
    "load_backbone",
    "random_backbone",
    "read",
    "read_all",
    "spec_of",
    "spec_of_weights",
    "weight_folders",
    "with_sae",
]
