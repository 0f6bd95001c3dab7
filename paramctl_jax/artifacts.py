"""The run directory: atomic writes, digests, provenance, and whose directory it is.

A file either has its final name and its whole content or does not exist: everything is
written to a temporary name in the same folder, flushed to disk and renamed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from paramctl_jax.types import InputError

RUN_FILE, HISTORY = "run.json", "history"
_SHOWN = 8  # settings that differ
_PACKAGES = (
    "paramctl_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "scikit-learn",
    "orbax-checkpoint",
)


def sha256_bytes(data: bytes) -> str:
    """Digest of `data`, written ``sha256:<hex>`` so that no table reads a number."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Digest of a file's bytes, ``sha256:<hex>``."""
    with Path(path).open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def atomic_write(path: str | Path, data: bytes) -> Path:
    """Writes `data` to `path` whole or not at all.

    Args:
      path: final name; missing parent folders are made.
      data: the file's content.

    Returns:
      The path.

    Raises:
      InputError: naming the path, where the folder cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error})"
        ) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
    return path


def _plain(value: Any) -> Any:
    """Numpy scalars and arrays, paths and mappings as JSON's own types; NaN as null."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return np.where(np.isfinite(value), value.astype(object), None).tolist()
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def to_json(content: Any) -> str:
    """JSON text with sorted keys; equal content gives equal text."""
    return json.dumps(content, indent=2, sort_keys=True, default=_plain) + "\n"


def with_null(content: Any) -> Any:
    """Records and arrays as plain JSON types; JSON has null where floats have NaN.

    Example:
      >>> with_null({"ci": (np.nan, np.float64(0.5)), "n": np.array([1, 2])})
      {'ci': [None, 0.5], 'n': [1, 2]}
    """
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        names = [field.name for field in dataclasses.fields(content)]
        content = {name: getattr(content, name) for name in names}
    if isinstance(content, np.ndarray | np.generic):
        content = content.tolist()
    if isinstance(content, Mapping):
        return {name: with_null(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [with_null(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content


def write_json(path: str | Path, content: Any) -> Path:
    """Writes `content` atomically as sorted, indented JSON."""
    return atomic_write(path, to_json(content).encode())


def read_json(path: str | Path) -> Any:
    """Reads JSON.

    Raises:
      InputError: naming the file, where it is missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error


def config_hash(config: Mapping[str, Any]) -> str:
    """Digest of a resolved config; independent of key order."""
    return sha256_bytes(to_json(config).encode())


def provenance() -> dict[str, Any]:
    """What a run ran on: command, commit, versions and devices."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "command": shlex.join(sys.argv),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "backend": jax.default_backend(),
        "devices": [str(device) for device in jax.devices()],
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _commit() -> str:
    """The checkout's commit, with ``+changes`` where files differ from it."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        # Fails in a checkout of something else that this package is installed in.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def claim_directory(
    workdir: str | Path, config: Mapping[str, Any], free: Sequence[str] = ()
) -> Path:
    """Makes `workdir` this run's own, or refuses it.

    A directory is claimed by its ``run.json``: the resolved config and its hash. The
    same config may claim it again, at the same time too, and so may another one where
    nothing but ``run.json`` is there yet. Results of another config, or files that no
    run of this tool left there, are refused before anything is written.

    Args:
      workdir: the run directory; made where it is missing.
      config: the resolved config, JSON-like.
      free: sections of the config that may differ, because no result rests on them.

    Returns:
      The directory as a path.

    Raises:
      InputError: naming the directory and what differs.
    """
    workdir = Path(workdir)
    run_file = workdir / RUN_FILE
    check_directory(workdir)
    old: Any = read_json(run_file) if run_file.exists() else {}
    if workdir.exists() and any(map(_is_result, workdir.iterdir())):
        there = old.get("config") if isinstance(old, Mapping) else None
        _refuse_other_config(workdir, there, config, free)
    content = {"config": config, "config_hash": config_hash(config)}
    if to_json(old) != to_json(content):
        write_json(run_file, content)
    return workdir


def check_directory(workdir: str | Path) -> None:
    """Refuses a directory that cannot be a run's, before anything long.

    Raises:
      InputError: a file, files of something else, or a directory that cannot be
        written to.
    """
    workdir = Path(workdir)
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"{workdir}: expected a directory, found a file")
    if not workdir.is_dir():
        return
    if any(map(_is_result, workdir.iterdir())) and not (workdir / RUN_FILE).exists():
        raise InputError(
            f"{workdir}: not empty and without a {RUN_FILE}; give an empty or a new "
            "directory with --workdir"
        )
    try:
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise InputError(
            f"{workdir}: cannot be written to ({error.strerror or error}); give "
            "another --workdir"
        ) from error


def _is_result(path: Path) -> bool:
    """Not what a start leaves, nor what another process is just writing."""
    return path.name not in (RUN_FILE, HISTORY) and not path.name.startswith(".")


def _refuse_other_config(
    workdir: Path, old: Any, new: Mapping[str, Any], free: Sequence[str]
) -> None:
    there = dict(_leaves(old))
    now = dict(_leaves(json.loads(to_json(new))))
    differing = [
        f"{name or 'config'} ({there.get(name, 'nothing')} there, "
        f"{now.get(name, 'nothing')} now)"
        for name in sorted(there.keys() | now.keys())
        if there.get(name) != now.get(name) and name.split(".")[0] not in free
    ]
    if differing:
        raise InputError(
            f"{workdir}: holds another run; {len(differing)} settings differ: "
            f"{', '.join(differing[:_SHOWN])}; give another --workdir"
        )


def _leaves(tree: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Dotted names and JSON texts, which compare NaN, 1 and true as a reader would."""
    if not isinstance(tree, Mapping) or (prefix and not tree):
        return [(prefix, json.dumps(tree))]
    return [
        leaf
        for name, value in tree.items()
        for leaf in _leaves(value, f"{prefix}.{name}" if prefix else str(name))
    ]
