"""Folders and archives of image files."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import UInt8

from paramctl_jax.images.decode import (
    SUFFIXES,
    SourceImage,
    decode_image,
    read_bytes,
)
from paramctl_jax.types import InputError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
Member = tuple[str, Callable[[], bytes]]
Wanted = Callable[[str], bool]

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,  # an encrypted member
    NotImplementedError,  # a method of compression that is not known
)


def _everything(name: str) -> bool:
    return True


def file_images(source: Path, wanted: Wanted = _everything) -> list[SourceImage]:
    """The images of a folder or an archive, their ids the stems of the file names.

    Args:
      source: a folder (searched at all levels), or an archive.
      wanted: whether an id is asked for; what is not is never read.

    Returns:
      The images in the order of their names.

    Raises:
      InputError: as `members`.
    """
    named = members(source, lambda name: wanted(Path(name).stem))
    prefix = "" if source.is_dir() else f"{source}:"
    return [
        SourceImage(
            Path(name).stem, prefix + name, partial(_decode, read, prefix + name)
        )
        for name, read in sorted(named, key=lambda member: member[0])
    ]


def _decode(
    read: Callable[[], bytes], label: str
) -> UInt8[np.ndarray, "height width 3"]:
    return decode_image(read(), label)


def members(
    source: str | Path, wanted: Wanted = _everything
) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names and readers of the image files in a folder (all levels) or an archive.

    Args:
      source: a folder, or a .zip, .tar or .tar.gz archive.
      wanted: whether a file of this name is asked for.

    Yields:
      Name and reader of each file; a damaged one is told when it is read.

    Raises:
      InputError: naming the source: nothing there, of another kind, or truncated.
    """
    source = Path(source)
    if source.is_dir():
        # A link to nothing is an image that is missing, not a name to pass over.
        files = (p for p in source.rglob("*") if p.is_file() or not p.exists())
        yield from (
            (str(p), partial(read_bytes, p))
            for p in files
            if _is_image(p.name) and wanted(p.name)
        )
    elif source.is_file() and source.name.lower().endswith(ARCHIVES):
        is_zip = source.suffix.lower() == ".zip"
        yield from (_zip_members if is_zip else _tar_members)(source, wanted)
    else:
        found = "a file" if source.exists() else "nothing"
        raise InputError(
            f"{source}: expected a folder of images or an archive "
            f"({', '.join(ARCHIVES)}), found {found}"
        )


def _zip_members(source: Path, wanted: Wanted) -> Iterator[Member]:
    """Members are read into memory one by one; nothing is unpacked to disk."""
    try:
        with zipfile.ZipFile(source) as archive:
            for entry in archive.infolist():
                name = entry.filename
                if not entry.is_dir() and _is_image(name) and wanted(name):
                    yield name, _zip_content(source, archive, entry)
    except _DAMAGE as error:
        raise _damaged(source, error) from error


def _zip_content(
    source: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo
) -> Callable[[], bytes]:
    """Each member has its own checksum: one that fails it leaves the others whole."""
    try:
        data = archive.read(entry)
    except _DAMAGE as error:
        return partial(_raise, _damaged(source, error))
    return lambda: data


def _raise(error: InputError) -> NoReturn:
    raise error


def _tar_members(source: Path, wanted: Wanted) -> Iterator[Member]:
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                if member.isfile() and _is_image(member.name) and wanted(member.name):
                    stream = archive.extractfile(member)
                    data = b"" if stream is None else stream.read()
                    yield member.name, lambda data=data: data
            _check_end(archive)
    except _DAMAGE as error:
        raise _damaged(source, error) from error


def _damaged(source: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(
        f"{source}: truncated or damaged archive ({reason}); copy it again"
    )


def _check_end(archive: tarfile.TarFile) -> None:
    """A whole archive ends with zeros; `tarfile` takes a cut between members for it."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EOFError("its end is missing")


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not Path(name).name.startswith(".")
