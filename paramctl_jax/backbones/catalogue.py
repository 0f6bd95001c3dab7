"""The table of all backbones and weights, and the check of those that are here."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from paramctl_jax import artifacts
from paramctl_jax.backbones import store
from paramctl_jax.backbones.convert import check_digest
from paramctl_jax.backbones.loading import (
    load_backbone,
    readout_shapes,
    spec_of_weights,
    weight_folders,
    weights_at,
)
from paramctl_jax.backbones.registry import REGISTRY
from paramctl_jax.backbones.spec import Source
from paramctl_jax.data import load_photographs
from paramctl_jax.images import prepare
from paramctl_jax.types import Backbone, CheckpointError, InputError

_COLUMNS = (
    "name",
    "here",
    "input",
    "readout",
    "top-1",
    "licence",
    "sha256",
    "file",
)
_DIGITS = 12  # of a digest in the table


def present() -> list[str]:
    """Names of all weights that are here, registered or converted as another."""
    converted = {
        path.parent.name
        for folder in weight_folders()
        for path in folder.glob(f"[!.]*/{store.MANIFEST}")
    }
    known = [name for name in REGISTRY if weights_at(name) is not None]
    return known + sorted(converted - set(known))


def table() -> str:
    """One row per registered backbone; what could not be confirmed is empty."""
    rows = [_COLUMNS, *(_row(name) for name in REGISTRY)]
    own = [name for name in present() if name not in REGISTRY]
    rows += [_row(name) for name in own]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    lines.insert(1, "─" * len(lines[0]))
    return "\n".join(line.rstrip() for line in lines)


def _row(name: str) -> tuple[str, ...]:
    try:
        spec, source = spec_of_weights(name), _source(name)
    except InputError:
        return (name, "damaged", *("" for _ in _COLUMNS[2:]))
    path = weights_at(name)
    here = "" if path is None else "converted" if path.is_dir() else "file"
    note = source.note.split(";")[0].split(",")[0]
    return (
        name,
        here,
        str(spec.input_size),
        spec.readout,
        "" if source.top1 is None else f"{source.top1:.2f}",
        source.licence,
        source.sha256[:_DIGITS],
        ", ".join(part for part in (source.file, note) if part),
    )


def _source(name: str) -> Source:
    """Of the weights that are here, else of the published ones."""
    published = REGISTRY[name].source if name in REGISTRY else Source()
    path = weights_at(name)
    if path is None or not path.is_dir():
        return published
    manifest = store.read_manifest(path)
    digest = manifest.source_sha256.removeprefix("sha256:")
    if published.sha256 and digest.startswith(published.sha256):
        return published
    return Source(
        url=manifest.source_url,
        sha256=digest,
        licence=manifest.licence,
        filename=manifest.source_file,
    )


def describe(name: str) -> str:
    """All that is known of a backbone and its weights, one fact a line."""
    spec, source = spec_of_weights(name), _source(name)
    facts: dict[str, object] = {
        "here": weights_at(name) or "no",
        "input": (
            f"{spec.input_size} pixels; a multiple of {spec.multiple}, at least "
            f"{max(spec.smallest, spec.multiple)}"
        ),
        "mean, std": f"{spec.mean}, {spec.std}",
        "readouts": ", ".join(readout_shapes(spec.build(), spec.input_size)),
        "default": spec.readout,
        "stages": ", ".join(spec.stages),
        "address": source.url,
        "file": source.file,
        "sha256": source.sha256,
        "licence": source.licence,
        "published": source.preprocessing,
        "top-1": "" if source.top1 is None else source.top1,
        "note": source.note,
    }
    return "\n".join([name, *(f"  {fact:10} {value}" for fact, value in facts.items())])


def verify(name: str) -> str:
    """Checks weights that are here: digests, an equality of keys, finite activations.

    Returns:
      One line that says what was found.

    Raises:
      InputError: there are no weights of that name.
      CheckpointError: a byte has changed, the tensors are not the network's, or an
        activation on a photograph is not finite.
    """
    path, expected = weights_at(name), _source(name).sha256
    if path is not None and path.is_file() and expected:
        found = artifacts.sha256_file(path).removeprefix("sha256:")
        check_digest(path, found, expected)
    backbone = load_backbone(name)
    values = _activations(backbone)
    broken = [r for r, value in values.items() if not np.isfinite(value).all()]
    if broken:
        raise CheckpointError(f"{name}: {broken[0]} is not finite on a photograph")
    count = sum(leaf.size for leaf in jax.tree.leaves(backbone.variables))
    return (
        f"{name}: sound, {count:,} numbers, {len(values)} readouts, "
        f"{backbone.provenance['sha256']}"
    )


def _activations(backbone: Backbone) -> dict[str, jax.Array]:
    """Every readout on one bundled photograph."""
    network = backbone.network
    pixels = load_photographs(network.input_size).pixels[:1]
    scaled = jnp.asarray(pixels, jnp.float32) / jnp.float32(255)
    return jax.jit(network.module.apply)(backbone.variables, prepare(scaled, network))
