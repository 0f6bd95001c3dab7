"""Backbones by name: every ``SPECS`` of the modules in ``families/``.

The published weights of a member are those its own `Spec` names, else its entry in
`sources.SOURCES`.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

from paramctl_jax.backbones import families
from paramctl_jax.backbones.sources import SOURCES
from paramctl_jax.backbones.spec import Source, Spec
from paramctl_jax.types import unknown


def _discover() -> dict[str, Spec]:
    """Every family's members, the families in alphabetical order."""
    found: dict[str, Spec] = {}
    for entry in pkgutil.iter_modules(families.__path__):
        family = importlib.import_module(f"{families.__name__}.{entry.name}")
        members: dict[str, Spec] = getattr(family, "SPECS", {})
        twice = found.keys() & members.keys()
        if twice:
            raise RuntimeError(f"{family.__name__}: {sorted(twice)} registered twice")
        found.update({name: _sourced(name, spec) for name, spec in members.items()})
    return found


def _sourced(name: str, spec: Spec) -> Spec:
    if spec.source != Source() or name not in SOURCES:
        return spec
    return dataclasses.replace(spec, source=SOURCES[name])


REGISTRY: dict[str, Spec] = _discover()


def spec_of(name: str) -> Spec:
    """The registry's entry; an unknown name is an error that lists the valid ones."""
    if name not in REGISTRY:
        raise unknown(name, REGISTRY, "backbone")
    return REGISTRY[name]
