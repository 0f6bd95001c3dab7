"""Frozen networks with named readouts, loaded by name from tensors only."""

from paramctl_jax.backbones.registry import (
    REGISTRY,
    check_readout,
    load_backbone,
    random_backbone,
    read,
    unknown,
)

__all__ = [
    "REGISTRY",
    "check_readout",
    "load_backbone",
    "random_backbone",
    "read",
    "unknown",
]
