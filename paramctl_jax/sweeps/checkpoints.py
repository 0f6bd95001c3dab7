"""The state of a block under way, through Orbax, with digests of our own.

    FOLDER/000007/           the last checkpoint: state/ or state.npz, and SHA256SUMS
    FOLDER/.000008.xxxx/     one that is being written, or that a kill left

A checkpoint is written under a hidden name, sealed, and renamed; the one before goes
only then, so that a kill at any point leaves one of them whole. Orbax restores some
flipped bits silently (11 of 60 were measured): a checkpoint with a file that differs
from ``SHA256SUMS``, or that it does not list, is never restored.

Where a program has several processes, each of them works at a block of its own. There
Orbax (0.12.8) leaves out numpy arrays on all processes but the first, and raises no
error: each process writes its state as a block's file is written. Either kind is read
anywhere, with no other process waited for.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from paramctl_jax import sums
from paramctl_jax.sweeps.block_file import read_block, write_block
from paramctl_jax.types import InputError

STATE = "state"
_SHAPE, _TYPE = "__shape", "__type"  # in place of an array without elements
_KINDS = "biuf"
_FULL = re.compile("RESOURCE_EXHAUSTED|No space left|Disk quota")
_FROM_DISK = re.compile("[A-Z]+(_[A-Z]+)*: ")  # how tensorstore's errors begin


def save_checkpoint(folder: Path, tree: Mapping[str, Any]) -> Path:
    """Writes nested mappings of arrays; the one before stays until this one is whole.

    Args:
      folder: of this checkpoint alone; made where it is missing.
      tree: numpy arrays of numbers and truth values; names without slashes.

    Returns:
      The folder.

    Raises:
      InputError: a full disk, or a folder that cannot be written; the checkpoint
        before is still there.

    Example:
      >>> import tempfile
      >>> folder = Path(tempfile.mkdtemp()) / "m-00000"
      >>> _ = save_checkpoint(folder, {"step": np.arange(2), "lane": {"x": np.ones(1)}})
      >>> load_checkpoint(folder)["step"]
      array([0, 1])
    """
    folder, flat = folder.absolute(), dict(_flat(tree))
    new = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = max((int(path.name) for path in _finished(folder)), default=0) + 1
        new = Path(tempfile.mkdtemp(prefix=f".{number:06d}.", dir=folder))
        new.chmod(0o755)
        _write(new, flat)
        sums.seal(new)
        last = new.rename(folder / f"{number:06d}")
        _flush(folder)
    except (OSError, ValueError) as error:
        if new is not None:
            shutil.rmtree(new, ignore_errors=True)
        reason = _reason(error)
        if reason is None:
            raise
        raise InputError(
            f"{folder}: the state cannot be saved ({reason}); make room and run the "
            "same command again"
        ) from error
    _remove(path for path in folder.glob("*") if path != last)
    return folder


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint as numpy arrays of the very bits that were saved.

    Returns:
      None where there is none. A damaged one is removed, with a warning.
    """
    folder = folder.absolute()
    said = []
    for path in _finished(folder):
        faults = _faults(path)
        try:
            if not faults:
                return _read(path)
        except (InputError, KeyError, OSError, TypeError, ValueError) as error:
            faults = [f"{path.name} cannot be restored ({error!r:.300})"]
        said += faults[:1]
    if said:
        warnings.warn(
            f"{folder}: a damaged checkpoint ({said[0]}); the block is begun anew",
            stacklevel=2,
        )
        remove_checkpoint(folder)
    return None


def remove_checkpoint(folder: Path) -> None:
    """Removes it; nothing where there is none."""
    _remove(_finished(folder))
    shutil.rmtree(folder, ignore_errors=True)


def fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint.

    Returns:
      None where there is none, or where one of them is whole: it is the one restored.
    """
    paths = _finished(folder)
    said = [_faults(path) for path in paths]
    if not paths or not all(said):
        return None
    if _finished(folder) != paths:  # another one took its place meanwhile
        return fault(folder)
    return "; ".join(itertools.chain(*said))


def _finished(folder: Path) -> list[Path]:
    """Those that have their name, whole or damaged; the last one first."""
    found = [p for p in folder.glob("[0-9]*") if p.name.isdecimal() and p.is_dir()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def _faults(path: Path) -> list[str]:
    try:
        found = sums.damaged(path, sums.covered(path))
    except OSError as error:  # removed meanwhile, or a disk that fails
        found = {STATE: f"cannot be read ({error.strerror})"}
    return [f"{path.name}/{name} {said}" for name, said in found.items()]


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    if jax.process_count() > 1:
        write_block(path / f"{STATE}.npz", arrays)
        return
    leaves = {name: _leaf(array) for name, array in arrays.items()}
    with _checkpointer() as checkpointer:
        checkpointer.save(path / STATE, _nested(leaves))


def _read(path: Path) -> dict[str, Any]:
    if (path / f"{STATE}.npz").exists():
        return _nested(read_block(path / f"{STATE}.npz"))
    with _checkpointer() as checkpointer:
        return _decoded(checkpointer.restore(path / STATE))


def _checkpointer() -> ocp.Checkpointer:
    """Of this process alone: without these options Orbax waits for all the others."""
    mine = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=mine, active_processes={mine}, barrier_sync_key_prefix=f"p{mine}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone, use_ocdbt=True)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and arrays; a path that ends with a slash is a mapping."""
    if prefix:
        yield prefix, np.zeros(0, bool)
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
            continue
        array = np.asarray(value)
        if array.dtype.kind not in _KINDS:
            raise TypeError(f"{prefix}{name}: expected numbers, found {array.dtype}")
        yield f"{prefix}{name}", array


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *folders, name = path.split("/")
        inner = tree
        for folder in folders:
            inner = inner.setdefault(folder, {})
        if name:
            inner[name] = value
    return tree


def _leaf(array: np.ndarray) -> Any:
    """As Orbax takes it: an array without elements as its shape and type."""
    if array.size:
        return array
    return {_SHAPE: np.asarray(array.shape), _TYPE: np.zeros(1, array.dtype)}


def _decoded(tree: Mapping[str, Any]) -> Any:
    if _SHAPE in tree:
        return np.zeros(tuple(tree[_SHAPE]), tree[_TYPE].dtype)
    return {
        name: _decoded(value) if isinstance(value, Mapping) else np.asarray(value)
        for name, value in tree.items()
    }


def _remove(paths: Iterable[Path]) -> None:
    """A finished one loses its name first: a kill leaves no half of it."""
    for path in list(paths):
        with contextlib.suppress(OSError):
            if not path.name.startswith("."):
                path = path.rename(tempfile.mkdtemp(prefix=".old.", dir=path.parent))
            shutil.rmtree(path)


def _flush(folder: Path) -> None:
    """Puts a rename on disk, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: Exception) -> str | None:
    """Of a disk's error, in words; None where it is another one."""
    reason = " ".join(str(error).split())
    if _FULL.search(reason):
        return "No space left on device"
    known = isinstance(error, OSError | InputError) or _FROM_DISK.match(reason)
    return reason[:300] if known else None
