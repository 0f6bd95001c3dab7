"""Torch's checkpoint files read without torch; nothing in them is executed.

Three containers hold a pickle and the raw bytes of its storages:

    zip     ROOT/data.pkl, ROOT/data/KEY, ROOT/byteorder     torch >= 1.6
    script  the same with ROOT/code/..., modules by name     torch.jit.save
    stream  magic, version, system, object, keys, then       torch < 1.6
            per key an int64 count and the bytes

The zip containers have a checksum per storage, the stream has none: only the SHA-256 of
the whole file tells whether its numbers are the publisher's. The tar of torch 0.1 is
recognised and refused.
"""

from __future__ import annotations

import dataclasses
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from paramctl_jax.backbones.torch_archive import read_archive
from paramctl_jax.backbones.torch_inert import Inert, Refusal, printable, refuse
from paramctl_jax.backbones.torch_pickle import Machine
from paramctl_jax.backbones.torch_tensors import CALLS, DTYPES, Storages, swapped_bytes
from paramctl_jax.types import CheckpointError

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_TAR = b"ustar"  # at byte 257
_MODULE_PARTS = ("_parameters", "_buffers", "_modules")  # of whole pickled modules
_CONTAINERS = (np.ndarray, Inert, dict, list, tuple)
_WALK_LIMIT = 2**24  # characters of all names on the way, and 64 per object


@dataclasses.dataclass(frozen=True)
class TorchFile:
    """What a file holds.

    Attributes:
      tree: plain containers, read-only numpy arrays that share memory where the file's
        tensors do, and an `Inert` for every other object.
      foreign: sorted names in its pickle that have no meaning here.
    """

    tree: Any
    foreign: tuple[str, ...]


def is_torch(data: bytes | memoryview) -> bool:
    """Whether the content is torch's: a zip with a pickle, a bare pickle, or the tar.

    A damaged or truncated file of one of these kinds counts, so that `read_torch` can
    say what is wrong with it.
    """
    head = bytes(data[:9])
    if head.startswith(b"PK\3\4"):
        return re.search(rb"/data\.pkl", data) is not None
    if head[8:] == b"{":  # safetensors, whose header's length may look like a pickle
        return False
    return bytes(data[257:262]) == _TAR or re.match(rb"\x80[\1-\5]", head) is not None


def read_torch(data: bytes | memoryview, source: str) -> Any:
    """The object tree of a torch file, see `TorchFile`.

    Raises:
      CheckpointError: one line with `source` and the first reason.
    """
    return parse_torch(data, source).tree


def parse_torch(data: bytes | memoryview, source: str) -> TorchFile:
    """`read_torch` with the names of the foreign objects.

    Args:
      data: the whole file.
      source: the file's name in errors.

    Raises:
      CheckpointError: truncated or damaged, a pickle that would execute something, a
        tensor that leaves its storage, a storage of another size than claimed, an
        archive that expands without measure or whose names leave it.
    """
    try:
        return _parse(bytes(data))
    except Refusal as error:
        raise CheckpointError(f"{source}: {error}") from error
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OSError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        detail = printable(str(error))[:200]
        raise CheckpointError(
            f"{source}: truncated or damaged ({type(error).__name__}: {detail})"
        ) from error


def _parse(data: bytes) -> TorchFile:
    if data.startswith(b"PK\3\4"):
        tree, foreign = read_archive(data)
    elif data[257:262] == _TAR:
        refuse("torch 0.1's tar format, which is not read; save it again with torch")
    else:
        tree, foreign = _read_stream(data)
    return TorchFile(tree, tuple(sorted(foreign - DTYPES.keys())))


def _read_stream(data: bytes) -> tuple[Any, set[str]]:
    file = io.BytesIO(data)
    if Machine(CALLS).run(file) != _MAGIC:
        refuse("a pickle, but not one that torch wrote")
    if Machine(CALLS).run(file) != _VERSION:
        refuse(f"expected torch's stream of version {_VERSION}")
    system = Machine(CALLS).run(file)
    if not isinstance(system, dict):
        refuse("no description of the system that wrote it")
    room = _Room(len(data), "little" if system.get("little_endian", True) else "big")
    machine = Machine(CALLS, Storages(room.make).resolve)
    tree = machine.run(file)
    room.fill(file, Machine(CALLS).run(file))
    return tree, machine.foreign


class _Room:
    """Memory for storages, which follow the pickle that tells their types."""

    def __init__(self, size: int, order: Literal["little", "big"]) -> None:
        self._left = size
        self._order: Literal["little", "big"] = order
        self._made: dict[str, tuple[np.dtype, bytearray]] = {}

    def make(self, key: str, dtype: np.dtype, numel: int) -> memoryview:
        """Read-only bytes that `fill` will fill."""
        self._left -= numel * dtype.itemsize
        if self._left < 0:
            refuse(f"storage {key} is larger than the file")
        self._made[key] = (dtype, bytearray(numel * dtype.itemsize))
        return memoryview(self._made[key][1]).toreadonly()

    def fill(self, file: io.BytesIO, keys: Any) -> None:
        """Reads all storages, in the order of the file's list of keys."""
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            refuse("no list of storages")
        if len(keys) != len(self._made) or set(keys) != self._made.keys():
            refuse("the list of storages is not the one that the tensors need")
        for key in keys:
            self._fill_one(file, key)
        if file.read(1):
            refuse("bytes are left after the last storage")

    def _fill_one(self, file: io.BytesIO, key: str) -> None:
        dtype, buffer = self._made[key]
        count = file.read(8)
        numel = int.from_bytes(count, self._order)
        if len(count) == 8 and numel * dtype.itemsize != len(buffer):
            refuse(f"storage {key} has {numel} elements, other than its tensors say")
        content = file.read(len(buffer))
        if len(count) < 8 or len(content) < len(buffer):
            refuse(f"truncated at storage {key}")
        buffer[:] = swapped_bytes(content, dtype) if self._order == "big" else content


def flat_tensors(tree: Any, source: str = "weights") -> dict[str, np.ndarray]:
    """All tensors of a tree, named by their path joined with ``.``.

    Follows mappings, sequences and the state given to inert objects, so that a
    TorchScript or a whole pickled module yields the names of its state dict (and those
    of further tensors that it has as plain attributes).

    Args:
      tree: as `read_torch` gives it.
      source: the file's name in errors.

    Raises:
      CheckpointError: nested without end.
    """
    found: dict[str, np.ndarray] = {}
    waiting: list[tuple[str, Any]] = [("", tree)]
    left = _WALK_LIMIT
    while waiting:
        name, node = waiting.pop()
        if isinstance(node, np.ndarray):
            found[name] = node
        for part, child in _children(node):
            path = f"{name}.{part}" if name and part else name or part
            left -= 64 + len(path)
            if left < 0:  # objects may share or contain each other
                raise CheckpointError(f"{source}: its objects are nested without end")
            waiting.append((path, child))
    return dict(reversed(found.items()))


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    """Name and content of those parts of a container that may hold tensors."""
    if isinstance(node, Inert):
        node = node.state
    if isinstance(node, list | tuple):
        node = dict(enumerate(node))
    if isinstance(node, dict):
        for key, child in node.items():
            if isinstance(key, str | int) and isinstance(child, _CONTAINERS):
                yield "" if key in _MODULE_PARTS else str(key), child
