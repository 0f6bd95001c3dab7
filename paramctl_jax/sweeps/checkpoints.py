"""The state of a block under way, through Orbax, with digests of our own.

Orbax commits a checkpoint whole, and restores some flipped bits silently (11 of 60 were
measured); every file of a checkpoint is therefore listed in its ``SHA256SUMS``, and one
that differs is never restored. A checkpoint is written beside the last one, which goes
only after the new one has its name.

In a program of several processes Orbax (0.12.8) writes numpy arrays on process 0 alone;
there, each process writes its state as a block's file is written. Either kind is read
anywhere.
"""

from __future__ import annotations

import contextlib
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from paramctl_jax import sums
from paramctl_jax.sweeps.block_file import read_block, write_block
from paramctl_jax.types import InputError

STATE = "state"
_SIDE_BY_SIDE = ("a", "b")


def save_checkpoint(folder: Path, tree: Mapping[str, Any]) -> Path:
    """Writes nested mappings of arrays; the one before stays until this one is whole.

    Args:
      folder: of this checkpoint alone; made where it is missing.
      tree: numpy arrays of numbers.

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
    folder = folder.absolute()
    last = _whole(folder)
    name = next(n for n in _SIDE_BY_SIDE if last is None or n != last.name)
    new = folder / name
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        _write(new, _written(tree))
        sums.seal(new)  # from here on it is the last one
        if last is not None:
            shutil.rmtree(last)
    except (OSError, ValueError, InputError) as error:
        shutil.rmtree(new, ignore_errors=True)
        reason = " ".join(str(error).split())
        if "RESOURCE_EXHAUSTED" in reason or "No space" in reason:
            reason = "No space left on device"
        raise InputError(
            f"{folder}: the state cannot be saved ({reason[:300]}); make room and run "
            "the same command again"
        ) from error
    return folder


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint as numpy arrays of the very bits that were saved.

    Returns:
      None where there is none. A damaged one is removed, with a warning.
    """
    folder = folder.absolute()
    for path in _all(folder):
        if sums.damaged(path):
            continue
        return _read(_restored(path))
    if any(folder.glob("*")):
        warnings.warn(
            f"{folder}: a damaged or unfinished checkpoint; the block is begun anew",
            stacklevel=2,
        )
        remove_checkpoint(folder)
    return None


def remove_checkpoint(folder: Path) -> None:
    """Removes it; nothing where there is none."""
    shutil.rmtree(folder, ignore_errors=True)


def fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint; None where one whole state is there."""
    if any(not sums.damaged(path) for path in _all(folder)):
        return None
    found = [
        f"{path.name}/{name} {said}"
        for path in _all(folder)
        for name, said in sums.damaged(path).items()
    ]
    return "; ".join(found) or "is unfinished"


def _write(path: Path, tree: Mapping[str, Any]) -> None:
    if jax.process_count() > 1:
        write_block(path / f"{STATE}.npz", dict(_flat(tree)))
        return
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(path / STATE, tree)


def _restored(path: Path) -> dict[str, Any]:
    if (path / f"{STATE}.npz").exists():
        return _nested(read_block(path / f"{STATE}.npz"))
    with ocp.PyTreeCheckpointer() as checkpointer, _quiet():
        item = checkpointer.metadata(path / STATE)
        item = getattr(item, "item_metadata", item)
        item = getattr(item, "tree", item)
        as_arrays = jax.tree.map(lambda _: ocp.RestoreArgs(np.ndarray), item)
        args = ocp.args.PyTreeRestore(restore_args=as_arrays)
        return checkpointer.restore(path / STATE, args=args)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in arrays.items():
        *folders, name = path.split("/")
        inner = tree
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = value
    return tree


def _all(folder: Path) -> list[Path]:
    """Checkpoints that were finished, whether whole or damaged."""
    return [folder / name for name in _SIDE_BY_SIDE if sums.sealed(folder / name)]


def _whole(folder: Path) -> Path | None:
    return next((path for path in _all(folder) if not sums.damaged(path)), None)


def _written(tree: Mapping[str, Any]) -> dict[str, Any]:
    """As Orbax takes it: empty arrays and truth values get another form."""
    return {
        name: _written(value) if isinstance(value, Mapping) else _encoded(value)
        for name, value in tree.items()
    }


def _encoded(value: Any) -> dict[str, np.ndarray]:
    """Bytes, shape and type: any array is one that Orbax can hold."""
    array = np.ascontiguousarray(value)
    kind = np.frombuffer(array.dtype.str.encode().ljust(8), np.uint8)
    shape = np.asarray([np.ndim(value), *np.shape(value)], np.int64)
    data = np.frombuffer(array.tobytes() + b"\0", np.uint8)
    return {"__data": data, "__kind": kind, "__shape": shape}


def _read(tree: Mapping[str, Any]) -> Any:
    if "__data" in tree:
        shape = tuple(np.asarray(tree["__shape"])[1:].tolist())
        kind = np.dtype(np.asarray(tree["__kind"]).tobytes().decode().strip())
        data = np.asarray(tree["__data"]).tobytes()[:-1]
        return np.frombuffer(data, kind).reshape(shape).copy()
    return {name: _read(value) for name, value in tree.items()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
