"""A folder or archive of images as a tfds dataset, made and read without TensorFlow."""

from __future__ import annotations

import functools
import io
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from paramctl_jax.images.decode import SourceImage, encode_png
from paramctl_jax.images.sources import open_source
from paramctl_jax.types import InputError

SPLIT = "train"
VERSION = "1.0.0"


def make_tfds_folder(
    source: str | Path,
    data_dir: str | Path,
    name: str = "local_stimuli",
    *,
    ids: Sequence[str] | None = None,
) -> Path:
    """Prepares a tfds dataset of a folder or an archive of images.

    Every record holds a ``stimulus_id`` and an ``image``: the decoded pixels as an RGB
    PNG, so that no reader depends on a JPEG decoder, an orientation or a palette. The
    files are array_record, which need no TensorFlow; a dataset is there whole or not at
    all.

    Args:
      source: of the images, as in `load_images`.
      data_dir: folder for datasets, e.g. ``$TFDS_DATA_DIR``.
      name: of the dataset: lower case letters, digits and ``_``.
      ids: the images to put into it; None takes all.

    Returns:
      The folder of the dataset; ``load_images(f"tfds:{folder}")`` reads it, and so does
      ``load_images("tfds:NAME")`` where ``TFDS_DATA_DIR`` is `data_dir`.

    Raises:
      InputError: naming what cannot be used: the name, the source or one of its images,
        or a folder where the dataset exists already.

    Example:
      >>> from paramctl_jax.data import photographs_path
      >>> make_tfds_folder(photographs_path(), "datasets")  # doctest: +SKIP
      PosixPath('datasets/local_stimuli/1.0.0')
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(
            f"name: expected lower case letters, digits and _, found {name!r}"
        )
    folder = Path(data_dir) / name / VERSION
    if folder.exists():
        raise InputError(
            f"{folder}: the dataset exists already; remove it or give another name"
        )
    with open_source(source, ids) as images:
        _prepare(name, str(data_dir), images)
    return folder


def _prepare(name: str, data_dir: str, images: list[SourceImage]) -> None:
    import tensorflow_datasets as tfds

    builder = _builder_class(name)(data_dir=data_dir, file_format="array_record")
    builder.images = images
    settings = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        with tempfile.TemporaryDirectory() as scratch:  # for downloads: there are none
            builder.download_and_prepare(download_dir=scratch, download_config=settings)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise InputError(f"{data_dir}: cannot be written ({reason})") from error


@functools.cache
def _builder_class(name: str) -> Any:
    """The tfds builder of datasets with this name; its `images` are set before use.

    tfds is imported here, so that nobody waits for it who does not use it.
    """
    import tensorflow_datasets as tfds

    class Info(tfds.core.DatasetInfo):
        def initialize_from_bucket(self) -> None:
            """Nobody's storage but this machine's knows a local dataset."""

    class LocalStimuli(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Images of a folder or an archive, keyed by stimulus id."""

        VERSION = tfds.core.Version(VERSION)
        code_path = None  # asked for, tfds imports importlib_resources, often missing
        images: Sequence[SourceImage] = ()

        def _info(self) -> tfds.core.DatasetInfo:
            image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
            features = {"stimulus_id": tfds.features.Text(), "image": image}
            return Info(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {SPLIT: self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
            for stimulus_id, _, read in self.images:
                data = io.BytesIO(encode_png(read()))
                yield stimulus_id, {"stimulus_id": stimulus_id, "image": data}

    LocalStimuli.name = name
    return LocalStimuli
