"""Weights in: tensors from a file, checked as an equality of key sets.

Files hold tensors only (``.npz`` without object arrays, ``.safetensors``); nothing in
them is executed. Names are torchvision's; one rule maps them to Flax variables:

    params      layer4_1/conv2/kernel  <-  layer4.1.conv2.weight   (OIHW -> HWIO)
    params      fc/kernel              <-  fc.weight               (OI -> IO)
    params      bn1/scale              <-  bn1.weight
    batch_stats bn1/mean               <-  bn1.running_mean
"""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util
from jaxtyping import PyTree

from paramctl_jax.types import InputError

SUFFIXES = (".npz", ".safetensors")
_TORCH_LEAF = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_SHOWN = 5


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a flat ``{name: tensor}`` file.

    Raises:
      InputError: missing, of another kind, truncated, or holding Python objects.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a weights file {' or '.join(SUFFIXES)}")
    try:
        tensors = _parse(path.read_bytes(), path.suffix)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such weights file") from error
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        SyntaxError,
        tokenize.TokenError,
        zlib.error,
        zipfile.BadZipFile,
        safetensors.SafetensorError,
    ) as error:
        raise InputError(
            f"{path}: truncated, damaged, or not plain float tensors ({error})"
        ) from error
    wrong = [name for name, tensor in tensors.items() if tensor.dtype.kind not in "fiu"]
    if wrong:
        raise InputError(
            f"{path}: expected tensors of real numbers, found {wrong[0]} of type "
            f"{tensors[wrong[0]].dtype}"
        )
    return tensors


def _parse(data: bytes, suffix: str) -> dict[str, np.ndarray]:
    if suffix == ".safetensors":
        return dict(safetensors.numpy.load(data))
    file = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise ValueError("a single array, not an .npz archive")
    with file:
        return {name: file[name] for name in file.files}


def torch_name(collection: str, path: tuple[str, ...]) -> str:
    """Torch's key of a Flax variable.

    Example:
      >>> torch_name("params", ("layer4_1", "conv2", "kernel"))
      'layer4.1.conv2.weight'
    """
    *modules, leaf = path
    name = "_".join(modules).replace("_", ".")
    return f"{name}.{_TORCH_LEAF[leaf]}"


def to_flax(tensor: np.ndarray) -> np.ndarray:
    """Torch's axis order to Flax's, by rank: convolution, dense, or vector."""
    if tensor.ndim == 4:
        return tensor.transpose(2, 3, 1, 0)
    return tensor.T


def to_torch(tensor: np.ndarray) -> np.ndarray:
    """The inverse of `to_flax`."""
    if tensor.ndim == 4:
        return tensor.transpose(3, 2, 0, 1)
    return tensor.T


def shapes(module: Any, input_size: int) -> dict[str, tuple[str, tuple, tuple]]:
    """What a module needs: ``{torch name: (collection, path, Flax shape)}``."""
    image = jax.ShapeDtypeStruct((1, input_size, input_size, 3), np.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    tree = jax.eval_shape(module.init, key, image)
    wanted: dict[str, tuple[str, tuple, tuple]] = {}
    for collection, variables in tree.items():
        leaves: dict[tuple, Any] = traverse_util.flatten_dict(variables)
        for path, leaf in leaves.items():
            wanted[torch_name(collection, path)] = (collection, path, leaf.shape)
    return wanted


def load_variables(
    module: Any,
    complete: Any,
    input_size: int,
    tensors: Mapping[str, np.ndarray],
    source: str | Path,
) -> PyTree:
    """Fills a module's variables from tensors under torch names.

    The file's keys must equal the module's. Keys of deeper stages of the same network
    (`complete`) are allowed when `module` ends earlier, and ``num_batches_tracked``
    always; anything else, missing or misshapen, is an error that lists all kinds.

    Args:
      module: the network as it will be used.
      complete: the same network through its last stage.
      input_size: side of the input, which fixes no weight of a convolutional net.
      tensors: as `read_tensors` gives them.
      source: named in messages.

    Returns:
      ``{"params": ..., "batch_stats": ...}`` in float32.

    Raises:
      InputError: listing missing, extra and misshapen entries, or non-finite ones.
    """
    wanted = shapes(module, input_size)
    allowed = shapes(complete, input_size)
    given = {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
    problems = {
        "missing": sorted(wanted.keys() - given.keys()),
        "extra": sorted(given.keys() - allowed.keys()),
        "misshapen": [
            f"{name} {given[name].shape} instead of {_torch_shape(shape)}"
            for name, (_, _, shape) in wanted.items()
            if name in given and to_flax(given[name]).shape != shape
        ],
        "non-finite": [
            name
            for name in wanted
            if name in given and not np.isfinite(given[name]).all()
        ],
    }
    _raise_if_any(problems, source)
    flat: dict[str, dict[tuple, np.ndarray]] = {}
    for name, (collection, path, _) in wanted.items():
        value = np.ascontiguousarray(to_flax(given[name]), dtype=np.float32)
        flat.setdefault(collection, {})[path] = value
    return {name: traverse_util.unflatten_dict(leaves) for name, leaves in flat.items()}


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return to_torch(np.empty(shape, np.bool_)).shape


def _raise_if_any(problems: Mapping[str, list[str]], source: str | Path) -> None:
    found = []
    for kind, names in problems.items():
        if names:
            more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            found.append(f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{more})")
    if found:
        raise InputError(
            f"{source}: weights do not fit the network: {'; '.join(found)}"
        )


def to_tensors(variables: PyTree, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Flax variables as ``{torch name: tensor}``; the inverse of `load_variables`."""
    return {
        torch_name(collection, path): to_torch(np.asarray(leaf)).astype(dtype)
        for collection, tree in variables.items()
        for path, leaf in traverse_util.flatten_dict(tree).items()
    }
