"""Published weights over the network: resumed where it broke off, checked by digest."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from paramctl_jax import progress as bars
from paramctl_jax.backbones.convert import check_digest, convert_weights
from paramctl_jax.backbones.loading import weight_folders
from paramctl_jax.backbones.registry import spec_of
from paramctl_jax.backbones.spec import Source
from paramctl_jax.types import CheckpointError, InputError

_CHUNK = 2**20
_TIMEOUT = 60.0  # seconds without a byte
# What a network or a server does, as against what a disk does; ValueError is a redirect
# to no address.
_BROKEN = (
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
    ValueError,
)


def fetch_weights(
    name: str, folder: str | Path | None = None, progress: bool = False
) -> Path:
    """Downloads a registered backbone's published file and converts it.

    A file that already lies in ``FOLDER/downloads`` is taken as it is and kept; one
    downloaded here is removed once it is converted, or if it proves to be no weights
    and no digest is published that vouches for it.

    Args:
      name: as registered.
      folder: None takes the first of the weights folders.
      progress: show a bar.

    Returns:
      The converted folder.

    Raises:
      InputError: no address is registered for `name`.
      CheckpointError: no network (with the file to put and where), another digest than
        published, or what `convert_weights` refuses.
    """
    source = spec_of(name).source
    if not source.url:
        raise InputError(
            f"{name}: no address is registered for its weights; convert a file of your "
            f"own: python -m launch.convert_weights --source=FILE --name={name}"
        )
    folder = Path(folder or weight_folders()[0])
    path = folder / "downloads" / source.file
    given = path.exists()
    if not given:
        download(source, path, label=name, progress=progress)
    try:
        converted = convert_weights(
            path,
            name,
            folder=folder,
            sha256=source.sha256,
            licence="" if given else source.licence,
            url="" if given else source.url,
        )
    except CheckpointError as error:
        if not given and not source.sha256:  # it may be anything
            path.unlink(missing_ok=True)
            raise
        raise CheckpointError(
            f"{error}; if {path} is not the published file, remove it"
        ) from error
    if not given:
        path.unlink(missing_ok=True)
    return converted


def download(source: Source, path: Path, *, label: str, progress: bool) -> Path:
    """Downloads a file whole; an interrupted download goes on at the next call.

    Raises:
      CheckpointError: the file did not arrive whole, or has another digest than
        published.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _receive(source.url, part, label, progress)
        with part.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        check_digest(source.url, digest, source.sha256)
        os.replace(part, path)
    except CheckpointError:
        part.unlink(missing_ok=True)
        raise
    except _BROKEN as error:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        raise CheckpointError(
            f"{source.url}: cannot be fetched ({reason}); run this again to go on, or "
            f"get the file by other means and put it at {path}"
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            part.unlink(missing_ok=True)
        raise CheckpointError(
            f"{part}: cannot be written ({error.strerror or error})"
        ) from error
    return path


def _receive(url: str, part: Path, label: str, progress: bool) -> None:
    """Appends to `part` what is still missing of the file at `url`."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "paramctl_jax", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT
        )
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing beyond what is here: the digest decides
            raise
        error.close()
        return
    with response:
        resumed = response.status == 206
        if resumed and not _starts_at(response, have):
            raise http.client.HTTPException("answered with another part than asked for")
        have = have if resumed else 0
        length = response.headers.get("Content-Length") or ""
        total = have + int(length) if length.isdigit() else None
        with part.open("ab" if resumed else "wb") as stream:
            _copy(response, stream, have, total, label, progress)


def _starts_at(response: Any, position: int) -> bool:
    """Whether a partial answer begins where it was asked to."""
    return (response.headers.get("Content-Range") or "").startswith(
        f"bytes {position}-"
    )


def _copy(
    response: Any, stream: Any, have: int, total: int | None, label: str, progress: bool
) -> None:
    with bars.bar(total=total, label=label, show=progress) as bar:
        bar.unit, bar.unit_scale = "B", True
        bar.update(have)
        while chunk := response.read(_CHUNK):
            stream.write(chunk)
            have += len(chunk)
            bar.update(len(chunk))
    if total is not None and have < total:
        raise http.client.IncompleteRead(b"", total - have)
