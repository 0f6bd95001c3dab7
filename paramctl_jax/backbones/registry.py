"""Backbones by name: the architecture, its preprocessing, and where its weights lie."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from paramctl_jax import artifacts, images
from paramctl_jax.backbones import checkpoint, resnet
from paramctl_jax.types import Backbone, InputError, Network

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Spec:
    """What the registry knows of a backbone.

    Attributes:
      build: ``build(through=...)`` makes the Flax module.
      input_size: default side of the input.
      mean, std: normalisation of the sRGB image in [0, 1].
      licence: of the weights, where they are bundled.
      multiple: of which the side of the input must be one.
    """

    build: Callable[..., Any]
    input_size: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    licence: str = ""
    multiple: int = 1


_SMALL = Spec(
    resnet.small_resnet,
    input_size=64,
    licence="photographs under ImageNet's terms, see weights/README.md",
    multiple=2,
)

REGISTRY: dict[str, Spec] = {
    "resnet18": Spec(resnet.resnet18),
    "resnet34": Spec(resnet.resnet34),
    "resnet50": Spec(resnet.resnet50),
    "resnet50_v1": Spec(resnet.resnet50_v1),
    "resnet50_robust": Spec(resnet.resnet50),
    "resnet101": Spec(resnet.resnet101),
    "resnet152": Spec(resnet.resnet152),
    "small_standard": _SMALL,
    "small_robust": _SMALL,
    "small_subject_standard": _SMALL,
    "small_subject_robust": _SMALL,
}


def unknown(value: str, valid: Iterable[str], what: str) -> InputError:
    """An error that lists the valid names and the one most likely meant."""
    names = list(valid)
    close = difflib.get_close_matches(value, names, n=1)
    meant = f" did you mean {close[0]!r}?" if close else ""
    return InputError(f"unknown {what} {value!r};{meant} valid: {', '.join(names)}")


def spec_of(name: str) -> Spec:
    """The registry's entry; an unknown name is an error that lists the valid ones."""
    if name not in REGISTRY:
        raise unknown(name, REGISTRY, "backbone")
    return REGISTRY[name]


def weight_folders() -> list[Path]:
    """Where weights are looked for: $PARAMCTL_WEIGHTS, the checkout, the package."""
    package = Path(__file__).resolve().parents[1]
    folders = [package.parent / "weights", package / "weights"]
    chosen = os.environ.get("PARAMCTL_WEIGHTS")
    return [Path(chosen), *folders] if chosen else folders


def find_weights(name: str) -> Path:
    """The weights file of a registered backbone.

    Raises:
      InputError: saying which file to put where.
    """
    for folder in weight_folders():
        for suffix in checkpoint.SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    raise InputError(
        f"backbone {name}: no weights found; put {name}.safetensors or {name}.npz "
        f"(torchvision names) into {weight_folders()[0]}, or give weights=FILE"
    )


def load_backbone(
    name: str,
    weights: str | Path | None = None,
    *,
    input_size: int | None = None,
    through: str = "fc",
) -> Backbone:
    """Loads a frozen backbone by its registered name.

    Args:
      name: as registered, e.g. ``resnet50`` or ``small_robust``.
      weights: ``.npz`` or ``.safetensors`` under torchvision names; None looks the
        name up in the weights folders.
      input_size: side of the network's input in pixels; None takes the default.
      through: deepest stage to build, ``layer1`` ... ``layer4``, or ``fc``. The file
        must hold exactly the entries of the network up to there; those of its deeper
        stages may be in it too.

    Returns:
      The backbone with its readouts and the digest of its weights.

    Raises:
      InputError: unknown name or stage (the valid ones are listed), no weights (with
        the place to put them), or weights that do not fit (all kinds listed).

    Example:
      >>> backbone = load_backbone("small_standard")
      >>> backbone.readouts["layer4.0"]
      (4, 4, 256)
    """
    spec = spec_of(name)
    if through not in resnet.STAGES:
        raise unknown(through, resnet.STAGES, f"deepest stage of {name}")
    path = Path(weights) if weights is not None else find_weights(name)
    size = spec.input_size if input_size is None else input_size
    if size < spec.multiple or size % spec.multiple:
        raise InputError(
            f"{name}: input_size={size}, expected a multiple of {spec.multiple}"
        )
    module = spec.build(through=through)
    tensors = checkpoint.read_tensors(path)
    variables = checkpoint.load_variables(
        module, spec.build(through="fc"), size, tensors, path
    )
    origin = {"file": path.name, "sha256": artifacts.sha256_file(path)}
    return _backbone(name, spec, module, size, variables, origin)


def random_backbone(
    name: str, key: PRNGKeyArray, *, input_size: int | None = None, through: str = "fc"
) -> Backbone:
    """A registered architecture with random weights, for tests and controls.

    Batch-norm statistics are drawn too, so that a swapped or dropped one shows.
    """
    spec = spec_of(name)
    size = spec.input_size if input_size is None else input_size
    module = spec.build(through=through)
    words = np.asarray(jax.random.key_data(key))
    # drawn by numpy: compiling one program per shape would take a minute
    tensors = _draw(checkpoint.shapes(module, size), np.random.default_rng(words))
    complete = spec.build(through="fc")
    variables = checkpoint.load_variables(module, complete, size, tensors, "random")
    origin = {"file": "random", "sha256": artifacts.sha256_bytes(words.tobytes())}
    return _backbone(name, spec, module, size, variables, origin)


def _draw(
    shapes: Mapping[str, tuple[str, tuple, tuple]], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """He-normal kernels, scales and running variances around 1, the rest around 0."""
    tensors = {}
    for name, (_, path, shape) in sorted(shapes.items()):
        if path[-1] == "kernel":
            fan_in = math.prod(shape[:-1])
            drawn = np.sqrt(2 / fan_in) * rng.standard_normal(shape)
        elif path[-1] in ("scale", "var"):
            drawn = rng.uniform(0.5, 1.5, shape)
        else:
            drawn = 0.1 * rng.standard_normal(shape)
        tensors[name] = checkpoint.to_torch(drawn.astype(np.float32))
    return tensors


def _backbone(
    name: str,
    spec: Spec,
    module: Any,
    size: int,
    variables: PyTree,
    origin: dict[str, str],
) -> Backbone:
    network = Network(module, size, spec.mean, spec.std)
    image = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    shape: dict[str, tuple[int, ...]] = {}  # in the order of the network, not sorted

    def record(variables: PyTree, image: Array) -> None:
        out = module.apply(variables, image)
        shape.update({readout: leaf.shape[1:] for readout, leaf in out.items()})

    jax.eval_shape(record, variables, image)
    readouts = {readout: _feature_map(s) for readout, s in shape.items()}
    return Backbone(
        name, network, variables, readouts, {**origin, "licence": spec.licence}
    )


def _feature_map(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels; a vector is a map of one position."""
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
      Features flattened in the order channel, height, width (torch's).
    """
    out = network.module.apply(variables, images.prepare(pixels, network))[readout]
    if out.ndim == 4:
        out = out.transpose(0, 3, 1, 2)
    return out.reshape(out.shape[0], -1)


def check_readout(backbone: Backbone, readout: str) -> str:
    """Returns `readout`; an unknown one is an error that lists the valid ones."""
    if readout not in backbone.readouts:
        raise unknown(readout, backbone.readouts, f"readout of {backbone.name}")
    return readout
