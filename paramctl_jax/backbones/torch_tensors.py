"""Torch's tensors as numpy views of their storages, every bound checked.

A pickled tensor is a call of one of torch's rebuild functions with a storage, an
offset, sizes and strides, all of them the file's claims. Here the claims are checked
first: strides and offset are not negative, the last element lies inside the storage,

    offset + sum_i (size_i - 1) stride_i  <  numel(storage),

and a tensor has no more elements than its storage (expanded views: than 65 536).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from paramctl_jax.backbones.torch_inert import Inert, refuse
from paramctl_jax.backbones.torch_pickle import Call, Machine

EXPANDED_LIMIT = 2**16  # elements of a view that is larger than its storage
_RANK_LIMIT = 32
DTYPES: dict[str, np.dtype] = {
    f"torch.{name}Storage": np.dtype(dtype)
    for name, dtype in {
        "Double": "<f8",
        "Float": "<f4",
        "Half": "<f2",
        "BFloat16": ml_dtypes.bfloat16,
        "ComplexDouble": "<c16",
        "ComplexFloat": "<c8",
        "Long": "<i8",
        "Int": "<i4",
        "Short": "<i2",
        "Char": "i1",
        "Byte": "u1",
        "Bool": "?",
    }.items()
} | {"torch.storage.UntypedStorage": np.dtype("u1")}


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
    """A one-dimensional run of numbers that tensors are views of.

    Attributes:
      dtype: of its elements, little-endian.
      numel: number of elements.
      buffer: their bytes, not writable.
    """

    dtype: np.dtype
    numel: int
    buffer: memoryview


Load = Callable[[str, np.dtype, int], memoryview]


class Storages:
    """The storages of one file by torch's persistent ids; each is loaded once."""

    def __init__(self, load: Load) -> None:
        """Keeps ``load(key, dtype, numel)``, which gives a storage's bytes."""
        self._load = load
        self._known: dict[str, Storage] = {}

    def resolve(self, identity: Any) -> Any:
        """The `Storage` of a persistent id, or the class of a whole model's."""
        if not isinstance(identity, tuple) or not identity:
            refuse("a persistent id that is no tuple")
        if identity[0] == "module" and len(identity) == 4:
            return identity[1]  # beside its source text, in streams of whole models
        key, dtype, numel, part = _claims(identity)
        if key not in self._known:
            buffer = self._load(key, dtype, numel)
            self._known[key] = Storage(dtype, numel, buffer)
        whole = self._known[key]
        if (whole.dtype, whole.numel) != (dtype, numel):
            refuse(f"storage {key} is claimed with two types or sizes")
        return whole if part is None else _part(whole, part)


def _claims(identity: tuple) -> tuple[str, np.dtype, int, Any]:
    """Key, dtype, number of elements and view of a persistent id."""
    if identity[0] != "storage" or len(identity) not in (5, 6):
        refuse("a persistent id that torch does not write")
    kind, key, _, numel = identity[1:5]
    if not isinstance(kind, Inert) or not isinstance(key, str):
        refuse("a persistent id that torch does not write")
    if kind.name not in DTYPES:
        refuse(f"tensors of type {kind.name} are not read")
    return key, DTYPES[kind.name], _natural(numel), (*identity, None)[5]


def _part(whole: Storage, view: Any) -> Storage:
    """A storage that is itself a slice, as torch wrote them until version 0.4."""
    if not isinstance(view, tuple) or len(view) != 3:
        refuse("a view of a storage that torch does not write")
    offset, numel = _natural(view[1]), _natural(view[2])
    if offset + numel > whole.numel:
        refuse(f"a storage of {whole.numel} elements seen up to {offset + numel}")
    start, stop = (n * whole.dtype.itemsize for n in (offset, offset + numel))
    return Storage(whole.dtype, numel, whole.buffer[start:stop])


def _natural(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**62:
        refuse("a size, stride or offset that is no natural number")
    return int(value)


def _naturals(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or len(values) > _RANK_LIMIT:
        refuse("sizes or strides that torch does not write")
    return tuple(_natural(value) for value in values)


def view(storage: Any, offset: Any, size: Any, stride: Any) -> np.ndarray:
    """The strided view that a rebuild call asks for; not writable, shares memory.

    Args:
      storage: a `Storage`.
      offset: first element, counted in elements like the strides.
      size: one entry per axis.
      stride: one entry per axis.

    Raises:
      Refusal: anything is of another type, or the view leaves its storage.
    """
    if not isinstance(storage, Storage):
        refuse(f"a tensor whose storage is a {type(storage).__name__}")
    first, shape, strides = _natural(offset), _naturals(size), _naturals(stride)
    count = math.prod(shape)
    if len(shape) != len(strides) or first > storage.numel:
        refuse("a tensor whose sizes, strides and offset do not fit together")
    if count > max(storage.numel, EXPANDED_LIMIT):
        refuse(f"a tensor of {count} elements over a storage of {storage.numel}")
    if count == 0:
        empty = np.empty(shape, storage.dtype)
        empty.flags.writeable = False
        return empty
    axes = list(zip(shape, strides, strict=True))
    end = first + sum((n - 1) * step for n, step in axes)
    if end >= storage.numel:
        refuse(f"a tensor up to element {end} of a storage of {storage.numel}")
    width = storage.dtype.itemsize
    in_bytes = tuple(width * step if n > 1 else 0 for n, step in axes)
    return np.ndarray(shape, storage.dtype, storage.buffer, first * width, in_bytes)


def _tensor(machine: Machine, args: tuple) -> np.ndarray:
    if len(args) < 4:
        refuse("a tensor without size or stride")
    return view(*args[:4])


def _parameter(machine: Machine, args: tuple) -> Any:
    if not args or not isinstance(args[0], np.ndarray | Inert):
        refuse("a parameter that is no tensor")
    return args[0]


def _with_attributes(machine: Machine, args: tuple) -> Any:
    """``(function, type, args, state)``: a tensor that has Python attributes."""
    if len(args) != 4 or not isinstance(args[0], Inert):
        refuse("a tensor type that torch does not write")
    rebuild = _TENSORS.get(args[0].name) if args[0].args is None else None
    if rebuild is None or not isinstance(args[2], tuple):
        return Inert("torch._tensor._rebuild_from_type_v2()", args)
    return rebuild(machine, args[2])


def _ordered(machine: Machine, args: tuple) -> dict:
    """``OrderedDict(pairs)``: empty in Python 3's pickles, a list in Python 2's."""
    pairs = args[0] if args else ()
    if not isinstance(pairs, tuple | list) or not all(
        isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs
    ):
        refuse("an ordered dictionary that is not made of pairs")
    made: dict = {}
    for key, value in pairs:
        machine.insert(made, key, value)
    return made


def _default(machine: Machine, args: tuple) -> dict:
    return {}


def _size(machine: Machine, args: tuple) -> tuple[int, ...]:
    return _naturals(args[0] if args else ())


_TENSORS: dict[str, Call] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
CALLS: dict[str, Call] = {
    **_TENSORS,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _default,
    "torch.Size": _size,
}


def swapped_bytes(content: bytes, dtype: np.dtype) -> bytes:
    """Big-endian to little-endian; a complex number is two."""
    width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    return np.frombuffer(content, f"u{width}").byteswap().tobytes()
