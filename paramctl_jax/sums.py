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
_LISTABLE = re.compile(r"[^\n\r\\\ud800-\udfff]+")  # surrogates: not UTF-8
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


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
      InputError: a name that no line can hold, a file that cannot be read, or a folder
        that cannot be written.

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
    files = sorted(covered(folder) if names is None else set(names))
    digests = {}
    for name in bar(files, label=f"{folder.name}: digests", show=progress):
        if not _LISTABLE.fullmatch(name):
            raise InputError(
                f"{folder}: {name!r}: expected a name in UTF-8, without line breaks "
                "and backslashes; rename it"
            )
        try:
            digests[name] = sha256_file(folder / name)
        except OSError as error:
            raise InputError(
                f"{folder / name}: cannot be read ({error.strerror or error})"
            ) from error
    return atomic_write(folder / NAME, _bytes(digests))


def sealed(folder: str | Path) -> bool:
    """Whether a folder has digests."""
    return (Path(folder) / NAME).is_file()


def listed(folder: str | Path) -> Mapping[str, str]:
    """The digests by name; lines that are damaged are left out."""
    return _parsed((Path(folder) / NAME).read_bytes())


def damaged(folder: str | Path, needed: Iterable[str] = ()) -> dict[str, str]:
    """What is wrong with the files that a folder's digests list, by name.

    Args:
      folder: with ``SHA256SUMS``; files that it does not list are no fault,
      needed: but for these; `covered` are all that it should list.

    Returns:
      Nothing where all is well; a damaged ``SHA256SUMS`` is named itself.
    """
    folder = Path(folder)
    try:
        content = (folder / NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {NAME: "is missing"}
    except OSError as error:
        return {NAME: f"cannot be read ({error.strerror or error})"}
    digests = _parsed(content)
    found = {name: _fault(folder / name, digest) for name, digest in digests.items()}
    faults = {name: fault for name, fault in found.items() if fault}
    faults |= {name: "is not listed" for name in needed if name not in digests}
    if not content or content != _bytes(digests):
        faults[NAME] = "is damaged"
    return faults


def covered(folder: Path) -> set[str]:
    """Files below a folder, but for hidden ones and folders with their own digests."""
    names = set()
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name == NAME:
            continue
        if path.is_file():
            names.add(path.name)
        elif path.is_dir() and not sealed(path):
            names |= {f"{path.name}/{name}" for name in covered(path)}
    return names


def _fault(path: Path, digest: str) -> str:
    """In words; empty where the file is what was sealed."""
    try:
        same = sha256_file(path) == digest
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return "" if same else f"differs from its digest in {NAME}"


def _bytes(digests: Mapping[str, str]) -> bytes:
    return "".join(
        f"{digest.removeprefix('sha256:')}  {name}\n"
        for name, digest in digests.items()
    ).encode()


def _parsed(content: bytes) -> dict[str, str]:
    lines = content.decode(errors="replace").split("\n")
    found = (_LINE.fullmatch(line) for line in lines)
    return {match[2]: f"sha256:{match[1]}" for match in found if match}


def whole(path: Path) -> bool:
    """Whether a file is there as it was sealed; where it is damaged, it is removed.

    A file that no digest lists is taken as it is.
    """
    if path.exists() and sealed(path.parent):
        digest = listed(path.parent).get(path.name)
        if digest is not None and _fault(path, digest):
            path.unlink()
    return path.exists()
