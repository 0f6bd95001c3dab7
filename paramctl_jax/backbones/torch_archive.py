"""Torch's zip archives: the pickle, and each storage as an entry of its own.

    ROOT/data.pkl, ROOT/data/KEY, ROOT/byteorder     torch.save of torch >= 1.6
    the same with ROOT/code/..., modules by name     torch.jit.save

Nothing is unpacked to disk; entries are looked up by their exact names, read up to the
size that the pickle claims, and compared with their checksums.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from paramctl_jax.backbones.torch_inert import refuse
from paramctl_jax.backbones.torch_pickle import SIZE_LIMIT, Machine
from paramctl_jax.backbones.torch_tensors import CALLS, Storages, swapped_bytes

_ENTRY_LIMIT = 200_000
# Torch stores without compression, and packing again shrinks float weights little.
_EXPANSION, _ALLOWANCE = 16, 2**20
_LEAVING = re.compile(r"^/|^[A-Za-z]:|\\|(^|/)\.\.(/|$)")


def read_archive(data: bytes) -> tuple[Any, set[str]]:
    """The object of a torch archive and the foreign names in its pickle.

    Raises:
      Refusal: the archive is not one that torch writes, or expands without measure.
      ValueError, LookupError, BadZipFile, zlib.error, ...: it is damaged.
    """
    if data.count(b"PK\1\2") > _ENTRY_LIMIT:
        refuse(f"an archive of more than {_ENTRY_LIMIT} entries")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = _checked_entries(archive, len(data))
        root = _root(entries)
        swapped = _is_big_endian(archive, entries.get(f"{root}/byteorder"))
        load = partial(_storage, archive, entries, f"{root}/data", swapped)
        pickled = entries[f"{root}/data.pkl"]
        if pickled.file_size > SIZE_LIMIT:
            refuse(f"a pickle of {pickled.file_size} bytes")
        machine = Machine(CALLS, Storages(load).resolve)
        tree = machine.run(io.BytesIO(_content(archive, pickled)))
        return tree, machine.foreign


def _storage(
    archive: zipfile.ZipFile,
    entries: Mapping[str, zipfile.ZipInfo],
    folder: str,
    swapped: bool,
    key: str,
    dtype: np.dtype,
    numel: int,
) -> memoryview:
    entry = entries.get(f"{folder}/{key}")
    size = numel * dtype.itemsize
    if entry is None:
        refuse(f"storage {key} is missing")
    if entry.file_size != size:
        refuse(f"storage {key} has {entry.file_size} bytes instead of {size}")
    content = _content(archive, entry)
    return memoryview(swapped_bytes(content, dtype) if swapped else content)


def _checked_entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Entries by name: inside the archive, each once, of a plausible total size."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename
        if _LEAVING.search(name):
            refuse(f"an archive whose entry {name[:80]} leaves it")
        if entry.external_attr >> 28 == 0o12:  # the file type bits of a Unix mode
            refuse(f"an archive whose entry {name[:80]} is a link")
        if name in entries:
            refuse(f"an archive with two entries {name[:80]}")
        entries[name] = entry
    total = sum(entry.file_size for entry in entries.values())
    if total > _EXPANSION * size + _ALLOWANCE:
        refuse(f"an archive of {size} bytes that expands to {total}")
    return entries


def _root(entries: dict[str, zipfile.ZipInfo]) -> str:
    roots = [
        name[: -len("/data.pkl")] for name in entries if name.endswith("/data.pkl")
    ]
    roots = [root for root in roots if "/" not in root]
    if len(roots) != 1:
        refuse(f"expected one NAME/data.pkl in the archive, found {len(roots)}")
    return roots[0]


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """An entry's bytes, no more than its size; the checksum is checked at the end."""
    if entry.flag_bits & 1 or entry.compress_type not in (0, 8):
        refuse(f"entry {entry.filename[:80]} is encrypted or oddly compressed")
    if entry.file_size == 0:  # read(0) would be b"" and read() without measure
        return b""
    with archive.open(entry) as stream:
        content = stream.read(entry.file_size)
    if len(content) != entry.file_size:
        refuse(f"entry {entry.filename[:80]} is shorter than it claims")
    return content


def _is_big_endian(archive: zipfile.ZipFile, entry: zipfile.ZipInfo | None) -> bool:
    if entry is None:  # before torch 2.1
        return False
    order = _content(archive, entry) if entry.file_size < 10 else b""
    if order not in (b"little", b"big"):
        refuse("a byte order that is neither little nor big")
    return order == b"big"
