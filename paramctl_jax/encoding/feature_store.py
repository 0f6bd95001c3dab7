"""Features on disk: float32 files, memory-mapped, named by what determines their bytes.

One ``.npy`` file holds one readout of one network on one list of images. In a store's
directory there are, with KEY the sha256 of the entry's identity,

    KEY.npy           complete; opened for reading only and never changed
    KEY.json          what it is, the rows done and, once complete, the file's sha256
    KEY.partial.npy   unfinished; whoever extends it holds an exclusive `flock` on it

Rows are appended in order, and reach the disk before ``KEY.json`` counts them: an
extraction that was killed goes on at the last row counted. The lock dies with its
process, so that none is left behind; a second process that wants the same entry waits,
and then finds it complete. Complete files are checked by their size when they are
opened, and by their sha256 in `verify`; a damaged one is extracted again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from paramctl_jax.artifacts import config_hash, read_json, sha256_file
from paramctl_jax.types import InputError


@dataclasses.dataclass(frozen=True)
class Entry:
    """One readout of one network on some images, done or not.

    Attributes:
      directory: of the store.
      identity: all that determines the bytes, JSON-like; the key is its sha256.
      shape: numbers of images and of features.
      about: what a reader of ``KEY.json`` wants to know besides, e.g. the model's name.
    """

    directory: Path
    identity: Mapping[str, Any]
    shape: tuple[int, int]
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """64 hex digits."""
        return config_hash(self.identity).removeprefix("sha256:")

    @property
    def path(self) -> Path:
        """Of the complete file."""
        return self.directory / f"{self.key}.npy"

    @property
    def partial(self) -> Path:
        """Of the unfinished file."""
        return self.directory / f"{self.key}.partial.npy"

    @property
    def record(self) -> Path:
        """Of the description and the count of rows."""
        return self.directory / f"{self.key}.json"

    @cached_property
    def header(self) -> bytes:
        """What an npy file of this shape begins with."""
        stream = io.BytesIO()
        layout = {"descr": "<f4", "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(stream, layout)
        return stream.getvalue()

    def size(self, rows: int) -> int:
        """Bytes of a file with that many rows."""
        return len(self.header) + 4 * rows * self.shape[1]


def stored(entry: Entry) -> Float[np.ndarray, "image feature"] | None:
    """The complete features, memory-mapped for reading; None where there are none.

    Example:
      >>> stored(Entry(Path("nowhere"), {"readout": "layer4.0"}, (2, 3))) is None
      True
    """
    if not entry.path.is_file() or "sha256" not in read_record(entry.record):
        return None
    with refusing(entry.path), entry.path.open("rb") as stream:
        header = stream.read(len(entry.header))
        size = os.fstat(stream.fileno()).st_size
        if header != entry.header or size != entry.size(entry.shape[0]):
            return None
        offset, shape = len(entry.header), entry.shape
        return np.memmap(stream, np.dtype("<f4"), "r", offset, shape)


def opened(entry: Entry) -> Float[np.ndarray, "image feature"]:
    """As `stored`, where the features were complete a moment ago."""
    features = stored(entry)
    if features is None:
        raise InputError(
            f"{entry.path}: damaged or deleted while it was in use; expected a store "
            "that nothing else changes, run again"
        )
    return features


def verify(store: str | Path) -> dict[str, str]:
    """Compares every complete file of a store with its digest.

    Args:
      store: directory given to `extract_features`.

    Returns:
      What is wrong by file name: nothing if all is sound. Delete a file that is named
      here, and it is extracted again; unfinished ones are no fault.

    Raises:
      InputError: no such directory.

    Example:
      >>> import tempfile
      >>> verify(tempfile.mkdtemp())
      {}
    """
    directory = Path(store)
    if not directory.is_dir():
        raise InputError(f"{store}: expected a directory of features, found none")
    whole = {path.stem: path for path in sorted(directory.glob("*.npy"))}
    partial = {key.removesuffix(".partial") for key in whole if "." in key}
    records = {path.stem: read_record(path) for path in directory.glob("*.json")}
    faults = {}
    for key, record in sorted(records.items()):
        if "sha256" in record and key not in whole and key not in partial:
            faults[f"{key}.npy"] = "is missing"
    for key, path in whole.items():
        expected = records.get(key, {}).get("sha256")
        if "." not in key and expected is None:
            faults[path.name] = f"has no digest in {key}.json"
        elif "." not in key and sha256_file(path) != expected:
            faults[path.name] = f"differs from its digest in {key}.json"
    return faults


def read_record(path: Path) -> Mapping[str, Any]:
    """Of a key; empty where it is missing or damaged, and the work is done again."""
    try:
        content = read_json(path)
    except InputError:
        return {}
    return content if isinstance(content, Mapping) else {}


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """The system's refusals in one line, e.g. a full disk or a read-only one."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: features cannot be stored ({error.strerror or error}); what is "
            "done is kept; make room or give another directory"
        ) from error
