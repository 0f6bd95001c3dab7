"""Which source is read how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from paramctl_jax.images.decode import SUFFIXES, SourceImage
from paramctl_jax.images.files import file_images, members
from paramctl_jax.images.nsd import HDF5_SUFFIXES, nsd_images
from paramctl_jax.images.tfds import PREFIX, tfds_images
from paramctl_jax.types import InputError


@contextmanager
def open_source(
    source: str | Path, ids: Sequence[str] | None = None, size: int | None = None
) -> Iterator[list[SourceImage]]:
    """The images of any source, to be read within the ``with`` block.

    Args:
      source: a folder, an archive, NSD's HDF5 file or ``tfds:NAME``.
      ids: the images wanted; None wants all.
      size: side that they will be resized to, None for theirs.

    Yields:
      The images in the order that is best for reading, each id once.

    Raises:
      InputError: naming the source: nothing there, an id twice, ids that are missing.
    """
    wanted = None if ids is None else frozenset(ids)

    def is_wanted(name: str) -> bool:
        return wanted is None or name in wanted

    if str(source).startswith(PREFIX):
        yield _checked(source, tfds_images(str(source), is_wanted), ids)
    elif Path(source).suffix.lower() in HDF5_SUFFIXES and not Path(source).is_dir():
        with nsd_images(Path(source), ids, size) as images:
            yield _checked(source, images, ids)
    else:
        yield _checked(source, file_images(Path(source), is_wanted), ids)


def _checked(
    source: str | Path, images: list[SourceImage], ids: Sequence[str] | None
) -> list[SourceImage]:
    seen = set()
    for image in images:
        if image.stimulus_id in seen:
            place = image.label.removeprefix(f"{source}:")
            raise InputError(
                f"{source}: stimulus id {image.stimulus_id!r} twice, again as {place}"
            )
        seen.add(image.stimulus_id)
    if not images and ids is None:
        raise InputError(f"{source}: no images; expected files {', '.join(SUFFIXES)}")
    missing = [name for name in ids or () if name not in seen]
    if missing:
        raise InputError(
            f"{source}: {len(missing)} of {len(ids or ())} ids are not there, first "
            f"{missing[:3]}; those there are like {_examples(source)}"
        )
    return images


def _examples(source: str | Path) -> list[str]:
    """Some of the ids that a source has."""
    if str(source).startswith(PREFIX):
        return [image.stimulus_id for image in tfds_images(str(source))[:3]]
    return [Path(name).stem for name, _ in islice(members(source), 3)]
