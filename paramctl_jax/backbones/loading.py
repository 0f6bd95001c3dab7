"""Frozen networks from a name: find the weights, fill the variables, read a readout."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from paramctl_jax import artifacts, images
from paramctl_jax.backbones import checkpoint, guess, store, tensors
from paramctl_jax.backbones.registry import REGISTRY, spec_of
from paramctl_jax.backbones.spec import Spec
from paramctl_jax.backbones.state_dict import state_dict
from paramctl_jax.types import Backbone, CheckpointError, InputError, Network, unknown


def weight_folders() -> list[Path]:
    """Where weights are looked for: $PARAMCTL_WEIGHTS, the checkout, the package."""
    package = Path(__file__).resolve().parents[1]
    folders = [package.parent / "weights", package / "weights"]
    chosen = os.environ.get("PARAMCTL_WEIGHTS")
    return [Path(chosen), *folders] if chosen else folders


def find_weights(name: str) -> Path:
    """The weights of a name: a converted folder, or a file of plain tensors.

    Raises:
      InputError: saying which file to put where.
    """
    found = weights_at(name)
    if found is not None:
        return found
    source = REGISTRY[name].source if name in REGISTRY else None
    fetch = (
        f"python -m launch.weights --fetch={name}, or " if source and source.url else ""
    )
    raise InputError(
        f"backbone {name}: no weights in {weight_folders()[0]}; {fetch}"
        f"python -m launch.convert_weights --source=FILE --name={name}, or give "
        "weights=FILE"
    )


def weights_at(name: str) -> Path | None:
    """The weights of a name, or None where there are none."""
    for folder in weight_folders():
        if store.is_weights(folder / name):
            return folder / name
        for suffix in tensors.SUFFIXES[:2]:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    return None


def spec_of_weights(name: str, weights: str | Path | None = None) -> Spec:
    """The registry's entry of a name, or of the network that converted weights fit.

    Args:
      name: as registered, or of converted weights.
      weights: their folder; None looks the name up in the weights folders.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    folders = [Path(weights)] if weights else [f / name for f in weight_folders()]
    for folder in folders:
        if store.is_weights(folder):
            return _spec_of_folder(folder)
    return spec_of(name)


def _spec_of_folder(folder: Path) -> Spec:
    backbone = store.read_manifest(folder).backbone
    if backbone not in REGISTRY:
        raise CheckpointError(
            f"{folder / store.MANIFEST}: made for {checkpoint.printable(backbone)!r}, "
            "which is not registered"
        )
    return REGISTRY[backbone]


def read_weights(
    path: str | Path, spec: Spec
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """A network's tensors from a file or a converted folder, and where they came from.

    Returns:
      Tensors under torch's names; ``file``, ``sha256`` (of names and values, equal for
      a file and its conversion) and ``licence``.
    """
    path = Path(path)
    if path.is_dir() and store.is_weights(path):
        if _spec_of_folder(path).build() != spec.build():
            made_for = store.read_manifest(path).backbone
            raise CheckpointError(
                f"{path}: converted for {made_for}, which is another network"
            )
        manifest, found = store.read_weights(path)
        origin = {"file": manifest.source_file, "licence": manifest.licence}
        return found, {**origin, "sha256": manifest.tensors_sha256}
    data = tensors.read_bytes(path)
    found = state_dict(tensors.parse(data, str(path)), spec, str(path))
    digest = hashlib.sha256(data).hexdigest()
    published = spec.source.sha256
    licence = spec.source.licence if published and digest.startswith(published) else ""
    origin = {"file": path.name, "licence": licence}
    return found, {**origin, "sha256": tensors.digest(found)}


def load_backbone(
    name: str,
    weights: str | Path | None = None,
    *,
    input_size: int | None = None,
    through: str = "",
) -> Backbone:
    """Loads a frozen backbone by its name.

    Args:
      name: as registered, e.g. ``resnet50``, or of converted weights.
      weights: a file (``.safetensors``, ``.npz``, torch's ``.pth``, ``.pt``, ``.ckpt``)
        or a converted folder; None looks the name up in the weights folders.
      input_size: side of the network's input in pixels; None takes the default.
      through: deepest stage to build, e.g. ``layer3`` of a ResNet; empty takes all that
        the file holds. The file must hold exactly the entries of the network up to
        there; those of its deeper stages may be in it too.

    Returns:
      The backbone with its readouts and the digest of its weights.

    Raises:
      InputError: unknown name or stage (the valid ones are listed), or no weights (with
        what to do).
      CheckpointError: the file is damaged, or is not this network's: the differences
        and what it looks like.

    Example:
      >>> backbone = load_backbone("small_standard")
      >>> backbone.readouts["layer4.0"]
      (4, 4, 256)
    """
    spec = spec_of_weights(name, weights)
    check_stage(name, spec, through)
    path = Path(weights) if weights is not None else find_weights(name)
    size = _checked_size(name, spec, input_size)
    found, origin = read_weights(path, spec)
    module = _built(spec, through or checkpoint.depth(found, spec, size))
    variables = _filled(module, spec, size, found, str(path))
    return as_backbone(name, spec, module, size, variables, origin)


def check_stage(name: str, spec: Spec, through: str) -> str:
    """Returns `through`; an unknown stage is an error that lists the valid ones."""
    if through and through not in spec.stages:
        raise unknown(through, spec.stages, f"deepest stage of {name}")
    return through


def _built(spec: Spec, through: str) -> Any:
    """The module; the complete one is always the same, however it is asked for."""
    return spec.build(through="" if through == spec.stages[-1] else through)


def _filled(
    module: Any,
    spec: Spec,
    size: int,
    found: Mapping[str, np.ndarray],
    source: str,
) -> PyTree:
    try:
        return checkpoint.load_variables(module, spec.build(), size, found, source)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{guess.hint(found, spec)}") from None


def _checked_size(name: str, spec: Spec, input_size: int | None) -> int:
    size = spec.input_size if input_size is None else input_size
    if size < spec.smallest or size % spec.multiple:
        raise InputError(
            f"{name}: input_size={size}, expected a multiple of {spec.multiple}, at "
            f"least {max(spec.smallest, spec.multiple)}"
        )
    return size


def random_backbone(
    name: str, key: PRNGKeyArray, *, input_size: int | None = None, through: str = ""
) -> Backbone:
    """A registered architecture with random weights, for tests and controls.

    Batch-norm statistics are drawn too, so that a swapped or dropped one shows.
    """
    spec = spec_of(name)
    size = _checked_size(name, spec, input_size)
    module = _built(spec, check_stage(name, spec, through))
    words = np.asarray(jax.random.key_data(key))
    # drawn by numpy: compiling one program per shape would take a minute
    drawn = _draw(checkpoint.shapes(module, size), np.random.default_rng(words))
    variables = checkpoint.load_variables(module, spec.build(), size, drawn, "random")
    origin = {"file": "random", "sha256": artifacts.sha256_bytes(words.tobytes())}
    origin["licence"] = ""
    return as_backbone(name, spec, module, size, variables, origin)


def _draw(wanted: checkpoint.Wanted, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """He-normal kernels, scales and running variances around 1, the rest around 0."""
    drawn = {}
    for name, (_, path, shape) in sorted(wanted.items()):
        if path[-1] == "kernel":
            fan_in = math.prod(shape[:-1])
            value = np.sqrt(2 / fan_in) * rng.standard_normal(shape)
        elif path[-1] in ("scale", "var", "gamma"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 2:
            value = rng.standard_normal(shape) / np.sqrt(shape[-1])
        else:
            value = 0.1 * rng.standard_normal(shape)
        drawn[name] = checkpoint.to_torch(value.astype(np.float32), path[-1])
    return drawn


def as_backbone(
    name: str,
    spec: Spec,
    module: Any,
    size: int,
    variables: PyTree,
    origin: Mapping[str, str],
) -> Backbone:
    """A module with its variables; its readouts are found by tracing it once."""
    network = Network(module, size, spec.mean, spec.std)
    return Backbone(
        name, network, variables, readout_shapes(module, size), dict(origin)
    )


def readout_shapes(module: Any, size: int) -> dict[str, tuple[int, int, int]]:
    """Height, width and channels of every readout, first to last, by tracing alone."""
    image = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    shape: dict[str, tuple[int, ...]] = {}  # in the order of the network, not sorted

    def record(image: Array) -> None:
        out, _ = module.init_with_output(jax.random.key(0), image)
        shape.update({readout: leaf.shape[1:] for readout, leaf in out.items()})

    jax.eval_shape(record, image)
    return {readout: _feature_map(s) for readout, s in shape.items()}


def _feature_map(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels; tokens are a row, a vector is one position."""
    height, width, channel = (1,) * (3 - len(shape)) + shape
    return height, width, channel


def read(
    network: Network,
    variables: PyTree,
    pixels: Float[Array, "image height width 3"],
    readout: str,
) -> Float[Array, "image feature"]:
    """Raw features of one readout, from sRGB pixels, as a pure function.

    Args:
      network: static; equal networks share one compiled program.
      variables: the weights.
      pixels: sRGB in [0, 1], squares of any size.
      readout: e.g. ``layer4.0``.

    Returns:
      Features flattened channel first, then position: channel, height, width of a
      map (torch's order), channel, token of a transformer.
    """
    return read_all(network, variables, pixels, (readout,))[readout]


def read_all(
    network: Network,
    variables: PyTree,
    pixels: Float[Array, "image height width 3"],
    readouts: Sequence[str],
) -> dict[str, Float[Array, "image feature"]]:
    """`read` of several readouts from one tracing of the network."""
    out = network.module.apply(variables, images.prepare(pixels, network))
    return {
        name: jax.numpy.moveaxis(out[name], -1, 1).reshape(len(pixels), -1)
        for name in readouts
    }


def check_readout(backbone: Backbone, readout: str) -> str:
    """Returns `readout`; an unknown one is an error that lists the valid ones."""
    if readout not in backbone.readouts:
        raise unknown(readout, backbone.readouts, f"readout of {backbone.name}")
    return readout
