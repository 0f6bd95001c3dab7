"""An export's folder: there whole, with every PNG checked, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from paramctl_jax import sums
from paramctl_jax.artifacts import atomic_write, sha256_file
from paramctl_jax.stimuli.exchange.shown import ShownImage, png_bytes
from paramctl_jax.types import InputError


def check_free(out: str | Path) -> Path:
    """Refuses a folder that holds something.

    Raises:
      InputError: naming it and the first thing in it.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a new folder, found a file")
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if there:
        raise InputError(
            f"{out}: expected a new or empty folder, found {len(there)} files, first "
            f"{there[0]}; give another one, an export is never overwritten"
        )
    return out


def write_folder(
    out: str | Path, texts: Mapping[str, str], places: Sequence[tuple[str, ShownImage]]
) -> Path:
    """Writes tables and PNGs beside `out`, then gives them its name in one step.

    Args:
      out: must not exist, or be empty.
      texts: text files, by their names relative to `out`.
      places: names of the PNGs relative to `out`, and what they show.

    Returns:
      The folder, with ``SHA256SUMS`` of all its files.

    Raises:
      InputError: a folder that is not free or cannot be written, a damaged PNG; nothing
        is left behind then.
    """
    out = check_free(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise InputError(f"{out}: cannot be made ({error.strerror})") from error
    try:
        for name, row in places:
            _copy(draft / name, row)
        for name, text in texts.items():
            atomic_write(draft / name, text.encode())
        sums.seal(draft)
        draft.chmod(0o755)
        os.replace(draft, check_free(out))
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out


def _copy(path: Path, row: ShownImage) -> None:
    """Writes the PNG and checks what is on the disk then."""
    atomic_write(path, png_bytes(row))
    if sha256_file(path) != row.sha256:
        raise InputError(
            f"{path}: differs from what was written to it; is the disk sound?"
        )
