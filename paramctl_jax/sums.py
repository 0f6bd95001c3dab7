"""``SHA256SUMS``: the digests of a folder's files, as `sha256sum` writes them.

``sha256sum -c SHA256SUMS`` checks a folder without this tool.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from paramctl_jax.artifacts import atomic_write, sha256_file
from paramctl_jax.progress import bar
from paramctl_jax.types import InputError

NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def seal(
    folder: str | Path, names: Iterable[str] | None = None, *, progress: bool = False
) -> Path:
    """Writes the digests of files, so that what changes later can be told.

    Args:
      folder: whose files they are.
      names: relative to it; None takes all files below it, but for hidden ones and
        folders with digests of their own.
      progress: show a bar.

    Returns:
      The path of ``SHA256SUMS``.

    Raises:
      InputError: a name with a line break, or a folder that cannot be written.

    Example:
      >>> import tempfile
      >>> folder = Path(tempfile.mkdtemp())
      >>> _ = (folder / "x.txt").write_text("x")
      >>> seal(folder).read_text()[:8], damaged(folder)
      ('2d711642', {})
      >>> _ = (folder / "x.txt").write_text("y")
      >>> damaged(folder)
      {'x.txt': 'differs from its digest in SHA256SUMS'}
    """
    folder = Path(folder)
    files = sorted(_below(folder) if names is None else set(names))
    digests = {}
    for name in bar(files, label=f"{folder.name}: digests", show=progress):
        if "\n" in name or "\r" in name or "\\" in name:
            raise InputError(
                f"{folder}: {name!r}: expected a name without line breaks and "
                "backslashes; rename it"
            )
        digests[name] = sha256_file(folder / name)
    return atomic_write(folder / NAME, _text(digests).encode())


def sealed(folder: str | Path) -> bool:
    """Whether a folder has digests."""
    return (Path(folder) / NAME).is_file()


def listed(folder: str | Path) -> Mapping[str, str]:
    """The digests by name; lines that are damaged are left out."""
    text = (Path(folder) / NAME).read_text(encoding="utf-8", errors="replace")
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return {match[2]: f"sha256:{match[1]}" for match in found if match}


def damaged(folder: str | Path, needed: Iterable[str] = ()) -> dict[str, str]:
    """What is wrong with the files that a folder's digests list, by name.

    Args:
      folder: with ``SHA256SUMS``; files that it does not list are no fault,
      needed: but for these.

    Returns:
      Nothing where all is well; a damaged ``SHA256SUMS`` is named itself.
    """
    folder = Path(folder)
    if not sealed(folder):
        return {NAME: "is missing"}
    digests = listed(folder)
    found = {name: _fault(folder / name, digest) for name, digest in digests.items()}
    faults = {name: fault for name, fault in found.items() if fault}
    faults |= {name: "is not listed" for name in needed if name not in digests}
    if (folder / NAME).read_bytes() != _text(digests).encode():
        faults[NAME] = "is damaged"
    return faults


def _fault(path: Path, digest: str) -> str:
    """In words; empty where the file is what was sealed."""
    if not path.is_file():
        return "is missing"
    return "" if sha256_file(path) == digest else f"differs from its digest in {NAME}"


def _text(digests: Mapping[str, str]) -> str:
    return "".join(
        f"{digest.removeprefix('sha256:')}  {name}\n"
        for name, digest in digests.items()
    )


def _below(folder: Path) -> set[str]:
    """Files of a folder that its digests cover."""
    names = set()
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name == NAME:
            continue
        if path.is_file():
            names.add(path.name)
        elif path.is_dir() and not sealed(path):
            names |= {f"{path.name}/{name}" for name in _below(path)}
    return names


def whole(path: Path) -> bool:
    """Whether a file is there as it was sealed; where it is damaged, it is removed.

    A file that no digest lists is taken as it is.
    """
    if path.exists() and sealed(path.parent):
        digest = listed(path.parent).get(path.name)
        if digest is not None and _fault(path, digest):
            path.unlink()
    return path.exists()
