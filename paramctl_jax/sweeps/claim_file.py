"""A claim's file: who has made it, when it was last touched, whether it can be read."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from paramctl_jax.sweeps.owner import Owner
from paramctl_jax.types import InputError

_FIELDS = dict.fromkeys(("owner", "host", "machine", "born", "slurm"), str)
_FIELDS |= dict.fromkeys(("pid", "restart"), int)
Content = tuple[dict[str, Any], int | None]  # record, last touch in the file's clock


def record_of(owner: Owner) -> str:
    """The text of a claim."""
    return json.dumps({**dataclasses.asdict(owner), "owner": owner.id})


def content_of(path: str | Path) -> Content:
    """Record and last touch; no record where it cannot be read, no touch if absent.

    The file is opened before its times are asked for: NFS gives old ones otherwise.
    """
    touched = 0
    try:
        with open(path, "rb") as stream:
            touched = os.fstat(stream.fileno()).st_mtime_ns
            record = json.loads(stream.read())
    except (FileNotFoundError, NotADirectoryError):
        return {}, None
    except (OSError, ValueError):
        with contextlib.suppress(OSError):  # others may see it being touched
            touched = touched or os.stat(path).st_mtime_ns
        return {}, touched
    sound = isinstance(record, dict) and all(
        isinstance(record.get(field), kind) for field, kind in _FIELDS.items()
    )
    return (record if sound else {}), touched


def created(path: Path, text: str) -> bool:
    """Makes a file if there is none; a reader may see it half written."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
    return True


def refused(path: Path, error: OSError) -> InputError:
    """What the file system does not allow, in one line."""
    return InputError(
        f"{path}: cannot be written ({error.strerror or error}); what is done is kept; "
        "make room, or give the right to write, and run the same command again"
    )
