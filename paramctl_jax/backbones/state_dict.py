"""From what a checkpoint file holds to the tensors of one network, under its names.

A file of the field is rarely just a state dict: trainers put the optimiser beside it,
wrappers put prefixes before every name, the `robustness` library stores the network
twice with a normaliser, and publishers differ in their names for the same tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from paramctl_jax.backbones import torch_file
from paramctl_jax.backbones.checkpoint import printable
from paramctl_jax.backbones.spec import Spec
from paramctl_jax.types import CheckpointError

# Where trainers put the state dict, first found first taken.
# A moving average beside the last iterate is what its publisher evaluates.
CONTAINERS = ("model", "state_dict_ema", "state_dict", "model_state_dict")
_HOLDERS = (Mapping, torch_file.Inert)
_DEPTH = 4  # a pickle may hold a mapping that holds itself
PRECISIONS = ("float16", "bfloat16", "float32", "float64")
# What DataParallel, torch.compile and trainers put before every name.
WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.")
_COPY = "attacker."  # `robustness` keeps the same network once more for its attacks


def state_dict(tree: Any, spec: Spec, source: str) -> dict[str, np.ndarray]:
    """The tensors of one network under the names of its Flax module.

    Args:
      tree: as `tensors.read_tree` gives it.
      spec: of the network; its layouts translate other publishers' names.
      source: named in errors.

    Raises:
      CheckpointError: no state dict in the file, something else in the place of a
        tensor, tensors that are not real numbers, or a `robustness` checkpoint whose
        two copies differ or whose normaliser is not the network's.
    """
    tensors = _unwrapped(_numbers(_found(tree, source), source), spec, source)
    return in_our_names(tensors, spec)


def in_our_names(
    tensors: Mapping[str, np.ndarray], spec: Spec
) -> dict[str, np.ndarray]:
    """Tensors renamed by the first of the network's layouts that knows their names."""
    for layout in spec.layouts:
        renamed = layout(tensors)
        if renamed is not None:
            return dict(renamed)
    return dict(tensors)


def _found(tree: Any, source: str) -> dict[str, Any]:
    """The state dict: under a trainer's key, on top, or in a module's attributes."""
    for _ in range(_DEPTH):
        if not isinstance(tree, Mapping):
            break
        inner = [tree[n] for n in CONTAINERS if isinstance(tree.get(n), _HOLDERS)]
        if inner:
            tree = inner[0]
        elif any(isinstance(value, np.ndarray) for value in tree.values()):
            return dict(tree)
        else:
            raise CheckpointError(
                f"{source}: expected a state dict, or one under "
                f"{', '.join(CONTAINERS)}; found {_keys(tree)}"
            )
    tensors = torch_file.flat_tensors(tree, source)
    if not tensors:
        raise CheckpointError(f"{source}: holds no tensors")
    return dict(tensors)


def _kind(value: Any) -> str:
    is_inert = isinstance(value, torch_file.Inert)
    return repr(value) if is_inert else type(value).__name__


def _keys(tree: Mapping[Any, Any]) -> str:
    names = [printable(str(name)) for name in list(tree)[:5]]
    return f"the keys {', '.join(names)}" if names else "an empty mapping"


def _numbers(found: Mapping[Any, Any], source: str) -> dict[str, np.ndarray]:
    """Floating-point tensors under text names; batch counters are left out."""
    tensors = {}
    for name, value in found.items():
        if not isinstance(name, str):
            raise CheckpointError(
                f"{source}: expected names, found the key {printable(repr(name))}"
            )
        if name.endswith("num_batches_tracked"):
            continue
        if not isinstance(value, np.ndarray):
            raise CheckpointError(
                f"{source}: expected a tensor at {printable(name)}, "
                f"found {_kind(value)}"
            )
        if value.dtype.name not in PRECISIONS and value.dtype.kind not in "iub":
            raise CheckpointError(
                f"{source}: expected tensors of real numbers, found {printable(name)} "
                f"of type {value.dtype}"
            )
        tensors[name] = value.astype(value.dtype.newbyteorder("="), copy=False)
    return tensors


def _unwrapped(
    tensors: dict[str, np.ndarray], spec: Spec, source: str
) -> dict[str, np.ndarray]:
    tensors = _stripped(tensors, WRAPPERS[:2])
    if any(name.startswith(_COPY) for name in tensors):
        tensors = _one_of_two(tensors, spec, source)
    return _stripped(tensors, WRAPPERS)


def _stripped(
    tensors: dict[str, np.ndarray], wrappers: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Without the prefixes that every single name has."""
    for _ in range(_DEPTH):
        for prefix in wrappers:
            if all(name.startswith(prefix) for name in tensors):
                tensors = {n.removeprefix(prefix): t for n, t in tensors.items()}
    return tensors


def _one_of_two(
    tensors: dict[str, np.ndarray], spec: Spec, source: str
) -> dict[str, np.ndarray]:
    """The classifier of a `robustness` checkpoint, its copy and normaliser checked."""
    network = _under(tensors, "model.")
    copy = _under(tensors, f"{_COPY}model.")
    differing = [
        name
        for name in sorted(network.keys() | copy.keys())
        if name not in network
        or name not in copy
        or not np.array_equal(network[name], copy[name], equal_nan=True)
    ]
    if differing:
        raise CheckpointError(
            f"{source}: the network and the attacker's copy of it differ at "
            f"{differing[0]} ({len(differing)} in all)"
        )
    rest = {n: t for n, t in tensors.items() if not n.startswith(("model.", _COPY))}
    rest |= _under(tensors, _COPY, but="model.")
    for name, tensor in rest.items():
        _check_normaliser(name, tensor, spec, source)
    return network


def _under(tensors: Mapping[str, Any], prefix: str, but: str = "\0") -> dict[str, Any]:
    found = {
        n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)
    }
    return {name: tensor for name, tensor in found.items() if not name.startswith(but)}


def _check_normaliser(name: str, tensor: Any, spec: Spec, source: str) -> None:
    """``(x - mean) / std`` inside the file must be this backbone's own."""
    constants = {"new_mean": spec.mean, "new_std": spec.std}
    expected = constants.get(name.rsplit(".", 1)[-1])
    if expected is None:
        raise CheckpointError(f"{source}: does not know what {name} is for")
    found = np.asarray(tensor, np.float64).ravel()
    if found.shape != (3,) or not np.allclose(found, expected, rtol=0, atol=1e-4):
        raise CheckpointError(
            f"{source}: normalises by {name} = {found.tolist()}, expected "
            f"{list(expected)}"
        )
