"""A persistent cache of compiled programs, private to the user, split by machine.

A compiled program is code: whoever can write the cache can run code in the name of who
reads it. The directory is therefore made for its owner alone, and one that others may
write to, or that belongs to somebody else, is not used.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
from importlib.metadata import version
from pathlib import Path

import jax

SWITCH = "PARAMCTL_COMPILATION_CACHE"
"""Environment variable: a directory for the cache, or ``off``."""

_SHORTEST = 0.3  # seconds of compilation below which nothing is kept


def use_compilation_cache(directory: str | Path | None = None) -> Path | None:
    """Keeps compiled programs between processes.

    What is chosen elsewhere is left alone: with ``JAX_COMPILATION_CACHE_DIR`` set, or a
    directory already in jax's own config, this does nothing.

    Args:
      directory: None takes the environment's `SWITCH`, or else a folder of this user,
        machine and version of jax in the user's cache.

    Returns:
      The directory in use, or None where there is no cache: it is switched off, or the
      directory cannot be made, or is not the user's alone.

    Example:
      >>> import tempfile
      >>> before = jax.config.jax_compilation_cache_dir
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     jax.config.update("jax_compilation_cache_dir", None)
      ...     cache = use_compilation_cache(Path(folder) / "cache")
      ...     print(oct(cache.stat().st_mode & 0o777))
      ...     jax.config.update("jax_compilation_cache_dir", before)
      0o700
    """
    if jax.config.jax_compilation_cache_dir:
        return Path(jax.config.jax_compilation_cache_dir)
    asked = str(directory or os.environ.get(SWITCH, ""))
    if asked.lower() in ("off", "0", "false", "no"):
        return None
    path = Path(asked) if asked else _default_directory()
    if not _private(path):
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SHORTEST)
    return path


def _default_directory() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "paramctl_jax" / "compiled" / _machine()


def _machine() -> str:
    """Programs are compiled for one kind of processor and one jax."""
    facts = [platform.machine(), jax.__version__, version("jaxlib")]
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        wanted = ("model name", "flags", "Features", "CPU part")
        facts += sorted({x for x in cpuinfo.splitlines() if x.startswith(wanted)})
    except OSError:
        facts.append(platform.processor())
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _private(path: Path) -> bool:
    """Makes the directory for its owner alone; whether it is so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    if not hasattr(os, "getuid"):
        return True
    others = stat.S_IWGRP | stat.S_IWOTH
    return found.st_uid == os.getuid() and not found.st_mode & others
