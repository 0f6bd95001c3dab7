"""What determines the bytes of a backbone's features, and so their names in a store."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree

from paramctl_jax.artifacts import sha256_bytes, to_json
from paramctl_jax.encoding.feature_store import Entry
from paramctl_jax.types import Backbone, ImageSet

FORMAT = 1
"""Raised when the content of entries changes although their identity does not."""


def feature_entries(
    backbone: Backbone,
    images: ImageSet,
    readouts: tuple[str, ...],
    batch_size: int,
    directory: Path,
    program: str,
) -> dict[str, Entry]:
    """The store's entries by readout.

    Args:
      backbone: frozen network.
      images: in the order of the features.
      readouts: layers to read.
      batch_size: images per device and compiled call.
      directory: of the store.
      program: text of what one device is told to compute for all readouts, before any
        compiler: it changes with the architecture, the preprocessing, the batch size
        and whatever setting of JAX touches the numbers, and with nothing else.

    Returns:
      One entry per readout. Equal keys mean equal features, of which the last bits may
      depend on what else was read in the same pass.
    """
    identity = {
        "format": FORMAT,
        "program": sha256_bytes(program.encode()),
        "weights": _weights_digest(backbone.variables),
        "stimuli": _stimuli_digest(images),
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "device": f"{jax.default_backend()}: {jax.local_devices()[0].device_kind}",
    }
    network = backbone.network
    about = {
        "model": backbone.name,
        "architecture": type(network.module).__name__,
        "input_size": network.input_size,
        "mean": network.mean,
        "std": network.std,
        "provenance": backbone.provenance,
        "batch_size": batch_size,
    }
    return {
        name: Entry(
            directory,
            {**identity, "readout": name},
            (len(images), math.prod(backbone.readouts[name])),
            {**about, "readout": name},
        )
        for name in readouts
    }


def _weights_digest(variables: PyTree) -> str:
    """Of the numbers themselves: a name or a file's digest may be out of date."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(variables):
        values = np.ascontiguousarray(leaf)
        place = [jax.tree_util.keystr(path), str(values.dtype), values.shape]
        digest.update(to_json(place).encode())
        digest.update(values.tobytes())
    return f"sha256:{digest.hexdigest()}"


def _stimuli_digest(images: ImageSet) -> str:
    """Of ids and pixels, in their order."""
    digest = hashlib.sha256()
    digest.update(to_json([list(images.stimulus_ids), images.pixels.shape]).encode())
    digest.update(np.ascontiguousarray(images.pixels).data)
    return f"sha256:{digest.hexdigest()}"
