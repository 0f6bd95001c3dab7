"""Torch files put together by hand, byte by byte, to say what torch would never say.

Also a witness: it sees every audit event of the interpreter (imports, compiled code,
opened files, started processes) while something is read.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

_CODECS = ("ascii", "cp437", "latin-1", "raw_unicode_escape", "unicode_escape")
MAGIC = 0x1950A86A20F9469CFC6C
_seen: list[str] | None = None


def _hook(event: str, arguments: tuple) -> None:
    if _seen is not None:
        _seen.append(event)


sys.addaudithook(_hook)


@contextlib.contextmanager
def witness() -> Iterator[list[str]]:
    """The names of all audit events inside the block."""
    global _seen
    for codec in _CODECS:
        "".encode(codec)  # Python imports a codec when it is used first
    _seen = seen = []
    try:
        yield seen
    finally:
        _seen = None


def fragment(value: Any, protocol: int = 2) -> bytes:
    """The opcodes of a plain value, without header and stop."""
    return pickle.dumps(value, protocol)[2:-1]


def tensor(
    offset: Any = 0,
    size: Any = (2, 3),
    stride: Any = (3, 1),
    kind: str = "FloatStorage",
    key: Any = "0",
    numel: Any = 6,
    rebuild: str = "torch._utils _rebuild_tensor_v2",
) -> bytes:
    """The opcodes of a tensor, as torch writes them."""
    identity = b"".join(
        [
            b"(" + fragment("storage"),
            f"ctorch\n{kind}\n".encode(),
            *(fragment(value) for value in (key, "cpu", numel)),
            b"tQ",
        ]
    )
    claims = b"".join(fragment(value) for value in (offset, size, stride, False))
    name = rebuild.replace(" ", "\n")
    return (
        f"c{name}\n".encode()
        + b"("
        + identity
        + claims
        + b"ccollections\n"
        + (b"OrderedDict\n)RtR")
    )


def pickled(body: bytes, protocol: int = 2) -> bytes:
    """A whole pickle."""
    return b"\x80" + bytes([protocol]) + body + b"."


def archive(
    pickle_: bytes,
    storages: Mapping[str, bytes] | None = None,
    *,
    order: bytes = b"little",
    compression: int = zipfile.ZIP_STORED,
    more: Mapping[str, bytes] | None = None,
) -> bytes:
    """A zip as torch writes it, with further entries under their full names."""
    entries = {"archive/data.pkl": pickle_, "archive/byteorder": order}
    entries |= {f"archive/data/{key}": raw for key, raw in (storages or {}).items()}
    return zipped([*entries.items(), *(more or {}).items()], compression)


def zipped(
    entries: list[tuple[Any, bytes]], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """A zip of named entries, in which a name may come twice."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", compression) as file:
        warnings.simplefilter("ignore")
        for name, content in entries:
            file.writestr(name, content)
    return out.getvalue()


def stream(
    pickle_: bytes,
    storages: Mapping[str, tuple[int, bytes]] | None = None,
    *,
    keys: Any = None,
    little: bool = True,
    version: int = 1001,
) -> bytes:
    """The older container; `storages` by key: the count that is written, and bytes."""
    storages = storages or {}
    keys = list(storages) if keys is None else keys
    system = {"protocol_version": 1001, "little_endian": little, "type_sizes": {}}
    head = [pickle.dumps(value, 2) for value in (MAGIC, version, system)]
    tail = [
        struct.pack("<q" if little else ">q", count) + raw
        for count, raw in storages.values()
    ]
    return b"".join([*head, pickle_, pickle.dumps(keys, 2), *tail])
