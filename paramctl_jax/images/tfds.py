"""Images of a dataset prepared with TensorFlow Datasets, read without TensorFlow."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import UInt8

from paramctl_jax.images.decode import SourceImage, decode_image
from paramctl_jax.types import InputError

PREFIX = "tfds:"
ID_FEATURES = (
    "stimulus_id",
    "file_name",
    "filename",
    "image/filename",
    "image/id",
    "id",
)
"""Features that may name the image; the first one that a dataset has is taken."""

_PATH = ("/", ".", "~")
# A split begins with a letter, train[:9] is one; a version (NAME:1.0.0) with a digit.
_NAME_AND_SPLIT = re.compile(r"(.+?)(?::([A-Za-z_][^/]*))?")


def tfds_images(
    source: str, wanted: Callable[[str], bool] = lambda name: True
) -> list[SourceImage]:
    """The images of a prepared tfds dataset.

    tfds shuffles the records by a hash, so that their numbers mean nothing: the id is
    the record's ``stimulus_id``, or the stem of its file name, or its number if it
    stores one. Encoded images are decoded by `decode_image`, as files are.

    Args:
      source: ``tfds:NAME[/CONFIG][:SPLIT]``, looked for in ``$TFDS_DATA_DIR`` (else
        ``~/tensorflow_datasets``), or ``tfds:FOLDER[:SPLIT]`` with the folder of one
        version. The split may be left out if there is only one.
      wanted: whether an id is asked for.

    Returns:
      The images in the order of their ids.

    Raises:
      InputError: naming the source: no such dataset, not prepared, one that needs
        TensorFlow, an unknown split, or records without image or id.
    """
    builder, split = _open(source)
    features = builder.info.features
    id_feature = _id_feature(source, features)
    records = _records(source, builder, split, _is_encoded(features["image"]))
    found = []
    for index in range(len(records)):
        stimulus_id = _stimulus_id(source, _record(source, records, index), id_feature)
        if wanted(stimulus_id):
            label = f"{source}:{stimulus_id}"
            read = partial(_pixels, source, records, index, label)
            found.append(SourceImage(stimulus_id, label, read))
    return sorted(found, key=lambda image: image.stimulus_id)


def _open(source: str) -> tuple[Any, str]:
    """The builder and the split."""
    name, split = _parse(source)
    try:
        import tensorflow_datasets as tfds

        if _is_folder(name):
            builder = tfds.builder_from_directory(name)
        else:
            builder = tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR"))
    except ModuleNotFoundError as error:
        raise _needs(source, error) from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{source}: no such dataset; expected tfds:NAME[/CONFIG][:SPLIT] or the "
            f"folder of a prepared version ({_first_line(error)})"
        ) from error
    splits = list(builder.info.splits)
    if not splits:
        raise _not_prepared(source, name)
    return builder, _one_split(source, split, splits)


def _parse(source: str) -> tuple[str, str]:
    """Name or folder, and the split or ``""``."""
    text = source.removeprefix(PREFIX)
    parts = _NAME_AND_SPLIT.fullmatch(text)
    name, split = parts.groups(default="") if parts else (text, "")
    if _is_folder(text):
        name, split = text, ""
    if name.startswith(_PATH) and not Path(name).is_dir():
        found = "a file" if Path(name).exists() else "nothing"
        raise InputError(
            f"{source}: expected the folder of a prepared dataset, found {found}"
        )
    return name, split


def _is_folder(name: str) -> bool:
    """A folder, not a dataset's name that some folder here happens to have."""
    here = (Path(name) / "dataset_info.json").is_file()
    return here or (name.startswith(_PATH) and Path(name).is_dir())


def _one_split(source: str, split: str, splits: list[str]) -> str:
    if re.split(r"[\[+]", split)[0] in splits:
        return split
    if not split and len(splits) == 1:
        return splits[0]
    asked = f"split {split!r} is not there" if split else "expected a split"
    raise InputError(
        f"{source}: {asked}; append :SPLIT, one of {', '.join(sorted(splits))}"
    )


def _id_feature(source: str, features: Any) -> str:
    """The feature that names an image."""
    names = list(features)
    found = [name for name in ID_FEATURES if name in names]
    if "image" not in names or not found:
        raise InputError(
            f"{source}: expected the features image and one of "
            f"{', '.join(ID_FEATURES)} (records are shuffled, their numbers name "
            f"nothing); found {', '.join(sorted(names))}"
        )
    return found[0]


def _is_encoded(feature: Any) -> bool:
    """Whether the records hold image files rather than arrays."""
    return type(feature).__name__ == "Image"


def _records(source: str, builder: Any, split: str, encoded: bool) -> Any:
    import tensorflow_datasets as tfds

    decoders = {"image": tfds.decode.SkipDecoding()} if encoded else None
    try:
        return builder.as_data_source(split=split, decoders=decoders)
    except ModuleNotFoundError as error:
        raise _needs(source, error) from error
    except NotImplementedError as error:
        raise _not_prepared(source, builder.name) from error
    except (OSError, ValueError, AssertionError, RuntimeError) as error:
        raise InputError(f"{source}: cannot be read ({_first_line(error)})") from error


def _record(source: str, records: Any, index: int) -> Any:
    """One record; a truncated file gives an error, or features that are None."""
    try:
        record = records[index]
    except (OSError, ValueError, IndexError, RuntimeError) as error:
        raise _damaged(source, index, _first_line(error)) from error
    if any(record[name] is None for name in ("image", *ID_FEATURES) if name in record):
        raise _damaged(source, index, "it is empty")
    return record


def _stimulus_id(source: str, record: Any, feature: str) -> str:
    value = record[feature]
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{source}: {feature}: {value!r} is not UTF-8") from error
    text = str(value)
    return PurePosixPath(text).stem if "file" in feature else text


def _pixels(
    source: str, records: Any, index: int, label: str
) -> UInt8[np.ndarray, "height width 3"]:
    image = _record(source, records, index)["image"]
    if isinstance(image, bytes):
        return decode_image(image, label)
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise InputError(
            f"{label}: expected uint8 [height, width, 3], found {pixels.dtype} "
            f"{pixels.shape}"
        )
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _needs(source: str, error: ModuleNotFoundError) -> InputError:
    package = error.name or "tensorflow"  # what tfds raises itself has no name
    return InputError(f"{source}: this dataset needs {package}; pip install {package}")


def _not_prepared(source: str, name: str) -> InputError:
    return InputError(
        f"{source}: not prepared for reading without TensorFlow; run "
        f'tensorflow_datasets.builder("{name}", file_format="array_record")'
        ".download_and_prepare(), or set TFDS_DATA_DIR to where it is"
    )


def _damaged(source: str, index: int, reason: str) -> InputError:
    return InputError(
        f"{source}: record {index} is truncated or damaged ({reason}); prepare or copy "
        "the dataset again"
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
