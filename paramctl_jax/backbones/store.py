"""Converted weights: an Orbax checkpoint with a manifest that vouches for every byte.

    NAME/checkpoint/...   the tensors under torch's names, in the file's own precision
    NAME/manifest.json    network, licence, source file and digest, counts, file digests

Orbax has no end-to-end checksum: flipped bits in its data files can restore silently
as other numbers. The manifest's digests are checked before anything is restored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paramctl_jax import artifacts
from paramctl_jax.backbones.tensors import digest
from paramctl_jax.types import CheckpointError, InputError

MANIFEST = "manifest.json"
_CHECKPOINT = "checkpoint"
_ONE_AT_A_TIME = threading.Lock()  # Orbax's writers share state within a process
_MARGIN = 2**20  # bytes of names and indices beside the tensors
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What is known of converted weights.

    Attributes:
      name: of the weights, and of their folder.
      backbone: registered network that they fit.
      source_file: name of the file they were converted from.
      source_sha256: of that file.
      source_url: where it was fetched, or is published if its digest is that one.
      licence: of the weights.
      n_tensors: entries of the state dict.
      n_parameters: numbers in it, without running statistics.
      tensors_sha256: `tensors.digest` of the state dict.
      files: SHA-256 of every file of the checkpoint.
    """

    name: str
    backbone: str
    source_file: str
    source_sha256: str
    source_url: str
    licence: str
    n_tensors: int
    n_parameters: int
    tensors_sha256: str
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)


def check_name(name: str) -> str:
    """Returns `name`; one that cannot be a folder's is an error."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"name {name!r}: expected letters, digits, '_', '.', '-', beginning with "
            "a letter or digit"
        )
    return name


def write_weights(
    folder: str | Path, manifest: Manifest, tensors: Mapping[str, np.ndarray]
) -> Path:
    """Writes ``FOLDER/NAME`` whole or not at all.

    Returns:
      The path of the new folder; one that was there before is replaced.

    Raises:
      CheckpointError: it cannot be written, e.g. because the disk is full; nothing
        half-written is left.
    """
    target = Path(folder) / check_name(manifest.name)
    if os.path.lexists(target) and not is_weights(target):
        raise CheckpointError(
            f"{target}: is there already and holds no converted weights; choose "
            "another name or folder"
        )
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{manifest.name}.", dir=folder))
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot be written ({error.strerror})"
        ) from error
    try:
        with _ONE_AT_A_TIME, _quiet():
            _fill(scratch, manifest, tensors)
        _swap(scratch, target)
    except (OSError, ValueError) as error:  # Orbax says a full disk as ValueError
        _remove(scratch)
        left = f"remove {scratch}" if scratch.exists() else "nothing was left"
        raise CheckpointError(
            f"{target}: could not be written ({_first_line(error)}); {left}"
        ) from error
    finally:
        _remove(scratch)
    return target


def _fill(scratch: Path, manifest: Manifest, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes checkpoint and manifest, and reads them back."""
    _check_room(scratch, tensors)
    _save(scratch / _CHECKPOINT, tensors)
    complete = dataclasses.replace(manifest, files=_digests(scratch))
    artifacts.write_json(scratch / MANIFEST, dataclasses.asdict(complete))
    _check_restored(scratch, complete)
    scratch.chmod(0o755)


def _remove(folder: Path) -> None:
    """Removes a folder that Orbax's threads may still be writing to."""
    for _ in range(5):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Orbax and its threads log what is then raised, at length."""
    before = logging.root.manager.disable
    hook = threading.excepthook
    logging.disable(logging.CRITICAL)
    threading.excepthook = lambda args: None
    try:
        yield
    finally:
        logging.disable(before)
        threading.excepthook = hook


def _check_room(folder: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Orbax fills a disk to the last byte before its threads complain, at length."""
    needed = sum(tensor.nbytes for tensor in tensors.values()) + _MARGIN
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"{needed >> 20} MiB needed, {free >> 20} MiB free on the disk")


def _save(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    import orbax.checkpoint as ocp  # a second of imports that few need

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.resolve(), dict(tensors))
        checkpointer.wait_until_finished()


def _restore(path: Path) -> dict[str, np.ndarray]:
    import orbax.checkpoint as ocp

    with ocp.PyTreeCheckpointer() as checkpointer:
        restored: dict[str, Any] = checkpointer.restore(path.resolve())
    return {name: np.asarray(tensor) for name, tensor in restored.items()}


def _check_restored(folder: Path, manifest: Manifest) -> None:
    if digest(_restore(folder / _CHECKPOINT)) != manifest.tensors_sha256:
        raise ValueError("what was written does not read back equal")


def _swap(scratch: Path, target: Path) -> None:
    """Puts `scratch` in the place of `target`."""
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
        os.replace(target, old / target.name)
        try:
            os.replace(scratch, target)
        except BaseException:
            os.replace(old / target.name, target)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(scratch, target)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in (folder / _CHECKPOINT).rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): artifacts.sha256_file(path)
        for path in files
    }


def is_weights(folder: str | Path) -> bool:
    """Whether a folder holds converted weights."""
    return (Path(folder) / MANIFEST).is_file()


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of converted weights.

    Raises:
      CheckpointError: missing or damaged.
    """
    path = Path(folder) / MANIFEST
    try:
        content = artifacts.read_json(path)
        manifest = Manifest(**content)
    except (InputError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: no manifest of weights ({error})") from error
    if not isinstance(manifest.files, Mapping) or not manifest.files:
        raise CheckpointError(f"{path}: names no files")
    texts = (manifest.name, manifest.backbone, manifest.tensors_sha256)
    if not all(isinstance(text, str) for text in texts):
        raise CheckpointError(f"{path}: expected text for name, backbone and digest")
    return manifest


def verify(folder: str | Path) -> Manifest:
    """Re-hashes every file of converted weights.

    Raises:
      CheckpointError: naming the first file that is missing, extra or changed.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    found = _digests(folder)
    for name in sorted(found.keys() | manifest.files.keys()):
        if found.get(name) != manifest.files.get(name):
            state = "changed" if name in found else "missing"
            state = state if name in manifest.files else "not the manifest's"
            raise CheckpointError(
                f"{folder / name}: {state}; convert or fetch {manifest.name} again"
            )
    return manifest


def read_weights(folder: str | Path) -> tuple[Manifest, dict[str, np.ndarray]]:
    """Verified tensors under torch's names, and their manifest.

    Raises:
      CheckpointError: a file is missing or changed, or does not restore.
    """
    manifest = verify(folder)
    try:
        tensors = _restore(Path(folder) / _CHECKPOINT)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder}: does not restore ({_first_line(error)})"
        ) from error
    if digest(tensors) != manifest.tensors_sha256:
        raise CheckpointError(f"{folder}: restores to other tensors than converted")
    return manifest, tensors
