"""From a checkpoint file to weights of our own: read once, checked, then no pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from paramctl_jax.backbones import checkpoint, guess, store, tensors
from paramctl_jax.backbones.loading import weight_folders
from paramctl_jax.backbones.registry import REGISTRY, spec_of
from paramctl_jax.backbones.spec import Spec
from paramctl_jax.backbones.state_dict import state_dict
from paramctl_jax.types import CheckpointError, InputError


def convert_weights(
    source: str | Path,
    name: str,
    *,
    backbone: str = "",
    folder: str | Path | None = None,
    licence: str = "",
    sha256: str = "",
    url: str = "",
) -> Path:
    """Converts a checkpoint file to an Orbax checkpoint with a manifest.

    Args:
      source: file of any container that `load_backbone` reads.
      name: of the new weights, ``FOLDER/NAME``; a registered name, or any other.
      backbone: registered network they must fit; empty where `name` is registered.
      folder: None takes the first of the weights folders.
      licence: of the weights; empty takes the registry's where the file is the
        published one.
      sha256: expected digest of the file, in hex, or its beginning.
      url: where the file was fetched; empty takes the registry's where the file is the
        published one.

    Returns:
      The new folder, from which `load_backbone` reads `name`.

    Raises:
      CheckpointError: the file cannot be read, has another digest, is not this
        network's, or the result cannot be written.
    """
    architecture = backbone or name
    spec = spec_of(architecture)
    store.check_name(name)
    if name in REGISTRY and spec_of(name).build() != spec.build():
        raise InputError(
            f"name {name!r} is that of another registered backbone than "
            f"{architecture}; choose another name"
        )
    data = tensors.read_bytes(source)
    digest = hashlib.sha256(data).hexdigest()
    check_digest(source, digest, sha256)
    found = state_dict(tensors.parse(data, str(source)), spec, str(source))
    n_parameters = _counted(found, spec, architecture, str(source))
    published = REGISTRY[name].source if name in REGISTRY else spec.source
    same = bool(published.sha256) and digest.startswith(published.sha256)
    manifest = store.Manifest(
        name=name,
        backbone=architecture,
        source_file=Path(source).name,
        source_sha256=f"sha256:{digest}",
        source_url=url or (published.url if same else ""),
        licence=licence or (published.licence if same else ""),
        n_tensors=len(found),
        n_parameters=n_parameters,
        tensors_sha256=tensors.digest(found),
    )
    return store.write_weights(folder or weight_folders()[0], manifest, found)


def _counted(
    found: Mapping[str, np.ndarray], spec: Spec, architecture: str, source: str
) -> int:
    """Parameters of a file that holds the network, whole or up to one of its stages."""
    stage = checkpoint.depth(found, spec, spec.input_size)
    wanted = checkpoint.shapes(spec.build(through=stage), spec.input_size)
    problems = checkpoint.differences(found, wanted, wanted)
    if any(problems.values()):
        raise CheckpointError(
            f"{source}: weights do not fit {architecture}: "
            f"{checkpoint.listed(problems)}{guess.hint(found, spec)}"
        )
    return sum(found[n].size for n, (kind, _, _) in wanted.items() if kind == "params")


def check_digest(path: str | Path, found: str, expected: str) -> None:
    """Compares hex digests; `expected` may be the beginning of one, or empty.

    Raises:
      CheckpointError: they differ.
    """
    expected = expected.removeprefix("sha256:").lower()
    if not found.startswith(expected):
        raise CheckpointError(
            f"{path}: expected sha256 {expected}, found {found}; it is another file, "
            "or was damaged on its way"
        )
