"""What a state dict that does not fit may be; asked only when loading failed."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from paramctl_jax.backbones import checkpoint
from paramctl_jax.backbones.registry import REGISTRY
from paramctl_jax.backbones.spec import Spec
from paramctl_jax.backbones.state_dict import in_our_names

_ALIKE = 0.9  # fraction of the file's entries, by name and shape, that must agree


Entries = Set[tuple[str, tuple[int, ...]]]


def _entries(spec: Spec, through: str = "") -> Entries:
    """Names and shapes of a registered network, whole or up to a stage."""
    wanted = checkpoint.shapes(spec.build(through=through), spec.input_size)
    return checkpoint.torch_shapes(wanted).items()


def _given(tensors: Mapping[str, np.ndarray], spec: Spec) -> Entries:
    """Names and shapes of a file as a network's own layouts would read them."""
    renamed = in_our_names(tensors, spec)
    return {(name, tensor.shape) for name, tensor in renamed.items()}


def _likeness(given: Entries, spec: Spec) -> float:
    """Jaccard index of the sets of (name, shape); 0 where too few of `given` agree.

    The first stage alone is asked first: tracing a whole network takes a second.
    """
    first = _entries(spec, spec.stages[0])
    if len(given & first) < len(first) / 2:
        return 0.0
    entries = _entries(spec)
    common = len(given & entries)
    return common / len(given | entries) if common >= _ALIKE * len(given) else 0.0


def looks_like(tensors: Mapping[str, np.ndarray]) -> str:
    """The registered network whose names and shapes these are, or ``""``.

    Architectures that several members share are known by the first.
    """
    architectures: dict[Any, str] = {}
    for name, spec in REGISTRY.items():
        architectures.setdefault(spec.build(), name)
    likeness = {
        name: _likeness(_given(tensors, REGISTRY[name]), REGISTRY[name])
        for name in architectures.values()
    }
    best = max(likeness, key=likeness.__getitem__)
    return best if likeness[best] > 0 else ""


def hint(tensors: Mapping[str, np.ndarray], spec: Spec) -> str:
    """One clause that says what the file seems to be, with a leading semicolon."""
    likely = looks_like(tensors)
    if likely and REGISTRY[likely].build() != spec.build():
        return f"; this looks like {likely}"
    return ""
