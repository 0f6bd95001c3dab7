"""Converted weights: an Orbax checkpoint with a manifest that vouches for every byte.

    NAME/checkpoint/...   the tensors under torch's names, in the file's own precision
    NAME/manifest.json    network, licence, source file and digest, counts, file digests

Orbax has no end-to-end checksum: flipped bits in its data files can restore silently
as other numbers. The manifest's digests are checked before anything is restored.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paramctl_jax import artifacts
from paramctl_jax.backbones.tensors import digest
from paramctl_jax.types import CheckpointError, InputError

MANIFEST = "manifest.json"
_CHECKPOINT = "checkpoint"
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
      source_url: where it is published, if its digest is the published one.
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
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{manifest.name}.", dir=folder))
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot be written ({error.strerror})"
        ) from error
    try:
        _check_room(scratch, tensors)
        _save(scratch / _CHECKPOINT, tensors)
        complete = dataclasses.replace(manifest, files=_digests(scratch))
        artifacts.write_json(scratch / MANIFEST, dataclasses.asdict(complete))
        _check_restored(scratch, complete)
        scratch.chmod(0o755)
        _swap(scratch, target)
    except (OSError, ValueError) as error:  # Orbax says a full disk as ValueError
        raise CheckpointError(
            f"{target}: could not be written ({_first_line(error)}); nothing was left"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


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
        os.replace(scratch, target)
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
    except (InputError, TypeError) as error:
        raise CheckpointError(f"{path}: no manifest of weights ({error})") from error
    if not isinstance(manifest.files, Mapping) or not manifest.files:
        raise CheckpointError(f"{path}: names no files")
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
