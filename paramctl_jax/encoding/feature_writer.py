"""Writing an entry of the feature store: under a lock, in order, to be gone on with.

Plain writes, not a memory map: a full disk is then an error and not a crash.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from paramctl_jax.artifacts import sha256_file, write_json
from paramctl_jax.encoding.feature_store import Entry, read_record, refusing, stored
from paramctl_jax.progress import bar
from paramctl_jax.types import InputError

FLUSH_SECONDS = 1.0
"""Work that a kill may cost beside the block at hand; a flush waits for the disk."""


class Writer:
    """Appends rows to an unfinished file that this process has locked.

    Attributes:
      entry: what is written.
      rows: number of rows that the file holds.
      finished: whether the file has its final name.
    """

    def __init__(self, entry: Entry, stream: io.FileIO) -> None:
        self.entry = entry
        self._stream = stream
        self.rows = self._rows_done()
        self.finished = False
        if self.rows == 0:
            stream.seek(0)
            _write_all(stream, entry.header)
        stream.seek(entry.size(self.rows))
        stream.truncate()
        self._flushed = time.monotonic()

    def _rows_done(self) -> int:
        """Rows counted by the record, if the file holds them: all but disk failures."""
        rows = read_record(self.entry.record).get("rows", 0)
        self._stream.seek(0)
        good = self._stream.read(len(self.entry.header)) == self.entry.header
        good &= isinstance(rows, int) and 0 <= rows <= self.entry.shape[0]
        here = os.fstat(self._stream.fileno()).st_size
        return rows if good and here >= self.entry.size(rows) else 0

    def append(self, first: int, values: Float[np.ndarray, "row feature"]) -> None:
        """Adds the rows `first` and on; of those that are there already, nothing."""
        new = np.ascontiguousarray(values[max(self.rows - first, 0) :], dtype="<f4")
        with refusing(self.entry.partial):
            _write_all(self._stream, new.tobytes())
            self.rows += len(new)
            if time.monotonic() - self._flushed >= FLUSH_SECONDS:
                self.flush()

    def flush(self) -> None:
        """Brings the rows to the disk, then their count."""
        os.fsync(self._stream.fileno())
        self._describe({"rows": self.rows})
        self._flushed = time.monotonic()

    def finish(self) -> None:
        """Gives the file its final name, after its digest has reached the disk."""
        entry = self.entry
        if self.rows != entry.shape[0]:
            raise ValueError(f"{self.rows} of {entry.shape[0]} rows were written")
        with refusing(entry.partial):
            self.flush()
            self._describe({"rows": self.rows, "sha256": sha256_file(entry.partial)})
            os.replace(entry.partial, entry.path)
        self.finished = True

    def _describe(self, progress: Mapping[str, Any]) -> None:
        shape = {"images": self.entry.shape[0], "features": self.entry.shape[1]}
        about = {**self.entry.about, **shape, "identity": self.entry.identity}
        write_json(self.entry.record, {**about, **progress})


@contextlib.contextmanager
def writing(entries: Sequence[Entry], progress: bool = True) -> Iterator[list[Writer]]:
    """Locks the entries that are not complete yet; one process at a time has each.

    What is there of them is kept, and whatever happens inside, so are the rows added.

    Args:
      entries: of one directory.
      progress: whether to say that another process is waited for.

    Yields:
      A writer for each entry that is not complete, in no particular order.

    Raises:
      InputError: naming the directory: it cannot be written, or has too little space
        for what is missing.
    """
    with contextlib.ExitStack() as stack:
        writers = []
        # In the order of the keys: two processes never wait for each other.
        for entry in sorted(entries, key=lambda entry: entry.key):
            with refusing(entry.directory):
                entry.directory.mkdir(parents=True, exist_ok=True)
                stream = None if _is_stored(entry) else _locked(entry, progress)
                if stream is not None:
                    stack.enter_context(contextlib.closing(stream))
                    writers.append(Writer(entry, stream))
        _check_space(writers)
        try:
            yield writers
        finally:
            for writer in writers:
                # A full disk has been reported; what was counted before still counts.
                with contextlib.suppress(OSError, InputError):
                    if not writer.finished:
                        writer.flush()


def _is_stored(entry: Entry) -> bool:
    return stored(entry) is not None


def _locked(entry: Entry, progress: bool) -> io.FileIO | None:
    """The unfinished file, locked; None if another process completed it meanwhile."""
    while True:
        handle = os.open(entry.partial, os.O_RDWR | os.O_CREAT, 0o644)
        stream = io.FileIO(handle, "r+")
        try:
            _lock(handle, entry, progress)
            # Who held the lock before may have given the file its final name.
            if not _is_at(handle, entry.partial):
                stream.close()
            elif _is_stored(entry):
                entry.partial.unlink()
                stream.close()
                return None
            else:
                _drop_damaged(entry)
                return stream
        except BaseException:
            stream.close()
            raise


def _lock(handle: int, entry: Entry, progress: bool) -> None:
    try:
        import fcntl
    except ImportError as error:  # not a POSIX system
        raise InputError(
            f"{entry.directory}: storing features needs POSIX file locks, which this "
            "system lacks; extract without a store"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        label = f"{entry.partial.name}: waiting for another process"
        with bar(total=1, label=label, show=progress) as waiting:
            fcntl.flock(handle, fcntl.LOCK_EX)
            waiting.update()


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _drop_damaged(entry: Entry) -> None:
    if entry.path.exists():
        message = f"{entry.path}: truncated or without its digest; extracted again"
        warnings.warn(message, stacklevel=2)
        entry.path.unlink()


def _check_space(writers: Sequence[Writer]) -> None:
    if not writers:
        return
    directory = writers[0].entry.directory
    needed = sum(w.entry.size(w.entry.shape[0] - w.rows) for w in writers)
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise InputError(
            f"{directory}: the features need {math.ceil(needed / 2**20)} MiB, "
            f"{free // 2**20} MiB are free; make room or give another directory"
        )


def _write_all(stream: io.FileIO, data: bytes) -> None:
    """Unbuffered, so that closing the file writes nothing; a call may write a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]
