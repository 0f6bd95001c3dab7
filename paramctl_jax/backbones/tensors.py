"""Weights files of every container, read as plain tensors; nothing is executed.

The container is told by its content, not by its name: ``.npz`` (never with object
arrays), ``.safetensors``, and torch's files (zip archive, the older stream,
TorchScript), which hold a pickle that `torch_file` reads without importing or calling
anything.
"""

from __future__ import annotations

import hashlib
import io
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from paramctl_jax.backbones import torch_file
from paramctl_jax.types import CheckpointError

SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".ckpt", ".bin", ".tar")
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADER_LIMIT = 100 * 2**20  # of safetensors' own reader
_SAFETENSORS_DTYPES = {
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BOOL": np.dtype(np.bool_),
}


def read_bytes(path: str | Path) -> bytes:
    """A weights file whole, so that what is hashed is what is parsed.

    Raises:
      CheckpointError: missing or unreadable.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such weights file") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def read_tree(path: str | Path) -> Any:
    """What a weights file holds: usually ``{name: tensor}``, or torch's nested objects.

    Raises:
      CheckpointError: missing, of no known container, truncated or damaged, or holding
        Python objects that are more than containers of tensors.
    """
    return parse(read_bytes(path), str(path))


def parse(data: bytes, source: str) -> Any:
    """`read_tree` of bytes that are already in memory; `source` is named in errors."""
    if torch_file.is_torch(data):
        return torch_file.read_torch(data, source)
    if data[:4] in (b"PK\3\4", b"PK\5\6"):
        return _guarded(_npz, data, source)
    if data[8:9] == b"{":
        return _guarded(_safetensors, data, source)
    raise CheckpointError(
        f"{source}: expected a weights file (.safetensors, .npz, or torch's .pth, .pt, "
        f".ckpt), found {'an empty file' if not data else 'none of them'}; it may be "
        "truncated, or a web page that was saved instead"
    )


def _guarded(reader: Any, data: bytes, source: str) -> dict[str, np.ndarray]:
    try:
        return reader(data)
    except (
        OSError,
        ValueError,
        LookupError,
        EOFError,
        SyntaxError,
        TypeError,
        OverflowError,
        MemoryError,
        RecursionError,
        NotImplementedError,
        RuntimeError,
        tokenize.TokenError,
        zlib.error,
        zipfile.BadZipFile,
        safetensors.SafetensorError,
    ) as error:
        raise CheckpointError(
            f"{source}: truncated, damaged, or not plain tensors "
            f"({' '.join(str(error).split())})"
        ) from error


def _npz(data: bytes) -> dict[str, np.ndarray]:
    """Members no larger than their headers say, in all 16 times the file at most."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if len(set(names)) < len(names):
            raise ValueError("two entries of one name")
        claimed = sum(entry.file_size for entry in entries)
        if claimed > 16 * len(data) + 2**20:
            raise ValueError(f"entries claim {claimed} bytes, a zip bomb")
        # zipfile bounds what it unpacks of a stored or a deflated entry only
        if any(e.flag_bits & 1 or e.compress_type not in _PLAIN for e in entries):
            raise ValueError("encrypted, or compressed by another method than deflate")
        tensors = {}
        for entry in entries:
            with archive.open(entry) as stream:
                content = stream.read(entry.file_size + 1)
            name = entry.filename.removesuffix(".npy")
            tensors[name] = _npy(content)
    return tensors


def _npy(content: bytes) -> np.ndarray:
    with warnings.catch_warnings():  # of numpy's parser, on a damaged header
        warnings.simplefilter("ignore")
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def _safetensors(data: bytes) -> dict[str, np.ndarray]:
    if int.from_bytes(data[:8], "little") > _HEADER_LIMIT:
        raise ValueError("a header of more than 100 MiB")
    tensors = {}
    for name, entry in safetensors.deserialize(data):
        if entry["dtype"] not in _SAFETENSORS_DTYPES:
            raise ValueError(f"{name} is of type {entry['dtype']}")
        flat = np.frombuffer(entry["data"], _SAFETENSORS_DTYPES[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def digest(tensors: Mapping[str, np.ndarray]) -> str:
    """Names, types, shapes and values in one SHA-256, whatever the container.

    Example:
      >>> digest({"fc.bias": np.zeros(2, np.float32)})[:14]
      'sha256:62d5462'
    """
    total = hashlib.sha256()
    for name in sorted(tensors):
        shape, tensor = tensors[name].shape, np.ascontiguousarray(tensors[name])
        head = f"{name}\0{tensor.dtype.name}\0{shape}\0"
        total.update(head.encode("utf-8", "surrogatepass"))
        total.update(tensor.view(np.uint8).data if tensor.size else b"")
    return f"sha256:{total.hexdigest()}"
