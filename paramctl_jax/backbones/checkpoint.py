"""Tensors under torch's names into Flax variables, checked as an equality of key sets.

Flax submodules bear torch's names, dots included; one rule maps the rest:

    params      layer4.1/conv2/kernel  <-  layer4.1.conv2.weight   (OIHW -> HWIO)
    params      fc/kernel              <-  fc.weight               (OI -> IO)
    params      bn1/scale              <-  bn1.weight
    batch_stats bn1/mean               <-  bn1.running_mean
    params      cls_token              <-  cls_token               (as it stands)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jaxtyping import PyTree

from paramctl_jax.backbones.spec import Spec
from paramctl_jax.types import CheckpointError

_TORCH_LEAF = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_SHOWN = 5
_LONGEST = 120  # characters of a name in a message

# {torch name: (collection, path, Flax shape)}
Wanted = dict[str, tuple[str, tuple[str, ...], tuple[int, ...]]]


def torch_name(path: tuple[str, ...]) -> str:
    """Torch's key of a Flax variable.

    Example:
      >>> torch_name(("layer4.1", "conv2", "kernel"))
      'layer4.1.conv2.weight'
      >>> torch_name(("attn_pool", "latent"))
      'attn_pool.latent'
    """
    *modules, leaf = path
    return ".".join([*modules, _TORCH_LEAF.get(leaf, leaf)])


def to_flax(tensor: np.ndarray, leaf: str) -> np.ndarray:
    """Torch's axis order to Flax's, of kernels; other tensors stay as they are."""
    if leaf == "kernel" and tensor.ndim >= 2:
        return np.moveaxis(tensor, (0, 1), (-1, -2))
    return tensor


def to_torch(tensor: np.ndarray, leaf: str) -> np.ndarray:
    """The inverse of `to_flax`."""
    if leaf == "kernel" and tensor.ndim >= 2:
        return np.moveaxis(tensor, (-1, -2), (0, 1))
    return tensor


@functools.lru_cache(maxsize=64)
def shapes(module: Any, input_size: int) -> Wanted:
    """What a module needs: ``{torch name: (collection, path, Flax shape)}``."""
    image = jax.ShapeDtypeStruct((1, input_size, input_size, 3), np.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    tree = jax.eval_shape(module.init, key, image)
    wanted: Wanted = {}
    for collection, variables in tree.items():
        leaves: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(variables)
        for path, leaf in leaves.items():
            wanted[torch_name(path)] = (collection, path, leaf.shape)
    return wanted


def torch_shapes(wanted: Wanted) -> dict[str, tuple[int, ...]]:
    """The shapes of the published tensors."""
    return {
        name: to_torch(np.empty(shape, np.bool_), path[-1]).shape
        for name, (_, path, shape) in wanted.items()
    }


def depth(tensors: Mapping[str, np.ndarray], spec: Spec, input_size: int) -> str:
    """The stage at which a file ends that holds the first part of a network.

    Returns:
      A stage's name where names and shapes are exactly those up to it; empty where they
      are those of the complete network, or of no stage.
    """
    given = {name: tensor.shape for name, tensor in tensors.items()}
    for stage in ("", *reversed(spec.stages[:-1])):
        wanted = shapes(spec.build(through=stage), input_size)
        if torch_shapes(wanted) == given:
            return stage
    return ""


def differences(
    given: Mapping[str, np.ndarray], wanted: Wanted, allowed: Wanted
) -> dict[str, list[str]]:
    """What keeps tensors from being a network's, by kind; all empty where they are.

    Args:
      given: tensors under torch names.
      wanted: all of these must be there, in these shapes.
      allowed: these may be there too.
    """
    shape = torch_shapes(wanted)
    return {
        "missing": sorted(wanted.keys() - given.keys()),
        "extra": sorted(given.keys() - allowed.keys()),
        "misshapen": [
            f"{name} {given[name].shape} instead of {shape[name]}"
            for name in wanted
            if name in given and given[name].shape != shape[name]
        ],
        "not floating-point": [
            f"{name} {given[name].dtype}"
            for name in wanted
            if name in given and given[name].dtype.kind in "iub"
        ],
        "non-finite": [
            name for name in wanted if name in given and not _finite(given[name])
        ],
    }


def _finite(tensor: np.ndarray) -> bool:
    """Whether every number is finite in the float32 that it becomes."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(tensor.astype(np.float32)).all())


def load_variables(
    module: Any,
    complete: Any,
    input_size: int,
    tensors: Mapping[str, np.ndarray],
    source: str,
) -> PyTree:
    """Fills a module's variables from tensors under torch names.

    The file's keys must equal the module's. Keys of deeper stages of the same network
    (`complete`) are allowed when `module` ends earlier; anything else, missing or
    misshapen, is an error that lists all kinds.

    Args:
      module: the network as it will be used.
      complete: the same network through its last stage.
      input_size: side of the input, which fixes no weight.
      tensors: as `state_dict.state_dict` gives them.
      source: named in messages.

    Returns:
      ``{"params": ..., "batch_stats": ...}`` in float32.

    Raises:
      CheckpointError: listing missing, extra, misshapen and non-finite entries.
    """
    wanted = shapes(module, input_size)
    problems = differences(tensors, wanted, shapes(complete, input_size))
    if any(problems.values()):
        raise CheckpointError(
            f"{source}: weights do not fit the network: {listed(problems)}"
        )
    flat: dict[str, dict[tuple[str, ...], np.ndarray]] = {}
    for name, (collection, path, _) in wanted.items():
        value = to_flax(tensors[name], path[-1])
        flat.setdefault(collection, {})[path] = np.ascontiguousarray(value, np.float32)
    return {name: traverse_util.unflatten_dict(leaves) for name, leaves in flat.items()}


def listed(problems: Mapping[str, list[str]]) -> str:
    """The first of every kind of difference, and how many there are."""
    found = []
    for kind, names in problems.items():
        if names:
            more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            shown = ", ".join(printable(name) for name in names[:_SHOWN])
            found.append(f"{len(names)} {kind} ({shown}{more})")
    return "; ".join(found)


def printable(name: str) -> str:
    """A name out of a file, as it may stand in a message: ASCII, not too long."""
    text = name.encode("unicode_escape").decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def to_tensors(variables: PyTree, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Flax variables as ``{torch name: tensor}``; the inverse of `load_variables`."""
    return {
        torch_name(path): to_torch(np.asarray(leaf), path[-1]).astype(dtype)
        for tree in variables.values()
        for path, leaf in traverse_util.flatten_dict(tree).items()
    }
