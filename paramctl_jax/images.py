"""Images in and out: the one path from pixels to a network's input.

Fit, synthesis and the check of the saved PNG all go through `prepare`: 8-bit sRGB,
scaled to [0, 1], resized bilinearly with antialiasing in the graph, normalised.
Decoding is strict: what a file holds is either an unambiguous RGB photograph or an
error that names the file.
"""

from __future__ import annotations

import io
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from paramctl_jax.types import ImageSet, InputError, Network

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
MAX_PIXELS = 50_000_000
# Multiplied, not divided by 255: compilers replace a division by what they find faster.
_LEVEL = np.float32(1 / 255)


def decode_image(data: bytes, name: str) -> UInt8[np.ndarray, "height width 3"]:
    """Decodes one 8-bit photograph to RGB.

    Grey images become RGB and EXIF orientation is applied; an alpha channel must be
    opaque. Palettes are resolved, 16-bit, CMYK and other modes are refused.

    Args:
      data: content of an image file.
      name: of the file, for messages.

    Returns:
      sRGB pixels.

    Raises:
      InputError: truncated, not an image, wrong mode, transparent or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{name}: {image.width} x {image.height} pixels; expected at most "
                    f"{MAX_PIXELS:,} pixels"
                )
            image.load()
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name}: not an image that can be read; expected {', '.join(SUFFIXES)}"
        ) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: too many pixels ({error})") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(
            f"{name}: truncated or damaged image ({error}); copy the file again"
        ) from error
    return np.asarray(_as_rgb(ImageOps.exif_transpose(image), name))


def _as_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode in ("P", "L", "RGB") and "transparency" in image.info:
        image = image.convert("RGBA")  # one colour or palette entry is transparent
    elif image.mode == "P":
        image = image.convert("RGB")
    if image.mode in ("LA", "RGBA"):
        lowest = np.asarray(image)[..., -1].min()
        if lowest < 255:
            raise InputError(
                f"{name}: transparent (alpha down to {lowest}); expected opaque pixels,"
                " flatten the image onto a background first"
            )
        image = image.convert("RGB")
    if image.mode not in ("L", "RGB"):
        raise InputError(
            f"{name}: image mode {image.mode}; expected 8-bit RGB or grey (L)"
        )
    return image.convert("RGB")


def read_image(path: str | Path) -> UInt8[np.ndarray, "height width 3"]:
    """Reads one image file; see `decode_image`."""
    return decode_image(_read_bytes(Path(path)), str(path))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def encode_png(pixels: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Encodes 8-bit RGB as a PNG whose bytes depend on nothing but the pixels.

    Example:
      >>> pixels = np.zeros((2, 2, 3), np.uint8)
      >>> bool((decode_image(encode_png(pixels), "x") == pixels).all())
      True
    """
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def fit_square(
    pixels: UInt8[np.ndarray, "height width 3"], size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """The centre square, resized (bilinear, antialiased) to `size` and rounded."""
    side = min(pixels.shape[:2])
    top, left = ((extent - side) // 2 for extent in pixels.shape[:2])
    square = pixels[top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(square)
    resized = Image.fromarray(np.ascontiguousarray(square)).resize(
        (size, size), Image.Resampling.BILINEAR
    )
    return np.asarray(resized)


def load_images(source: str | Path, size: int | None = None) -> ImageSet:
    """Loads a folder or an archive of images, keyed by file stem.

    Args:
      source: a folder (searched at all levels), or a .zip, .tar or .tar.gz archive.
      size: side in pixels; every image is cut to its centre square and resized. None
        keeps the images as they are, and they must then all be squares of one size.

    Returns:
      The images in the order of their stimulus ids.

    Raises:
      InputError: naming the source or file: nothing there, an unreadable image, a
        stimulus id twice, sizes that differ.

    Example:
      >>> from paramctl_jax.data import photographs_path
      >>> load_images(photographs_path()).pixels.shape[1:]
      (112, 112, 3)
    """
    source = Path(source)
    pixels: dict[str, np.ndarray] = {}
    for name, read in sorted(members(source), key=lambda member: member[0]):
        stimulus_id = Path(name).stem
        if stimulus_id in pixels:
            raise InputError(
                f"{source}: stimulus id {stimulus_id!r} twice, again as {name}"
            )
        label = name if source.is_dir() else f"{source}:{name}"
        decoded = decode_image(read(), label)
        pixels[stimulus_id] = decoded if size is None else fit_square(decoded, size)
    if not pixels:
        raise InputError(f"{source}: no images; expected files {', '.join(SUFFIXES)}")
    return ImageSet(tuple(pixels), _stack(pixels, source))


def _stack(pixels: dict[str, np.ndarray], source: Path) -> UInt8[np.ndarray, "n h w 3"]:
    first_id, first = next(iter(pixels.items()))
    for stimulus_id, image in pixels.items():
        height, width = image.shape[:2]
        if image.shape != first.shape or height != width:
            raise InputError(
                f"{source}: image {stimulus_id} is {height} x {width}, {first_id} is "
                f"{first.shape[0]} x {first.shape[1]}; expected squares of one size: "
                "give `size` to cut and resize them"
            )
    return np.stack(list(pixels.values()))


def members(source: str | Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names and readers of the image files in a folder (all levels) or an archive."""
    source = Path(source)
    if source.is_dir():
        files = (path for path in source.rglob("*") if path.is_file())
        yield from (
            (str(p), partial(_read_bytes, p)) for p in files if _is_image(p.name)
        )
    elif source.is_file() and source.name.lower().endswith(ARCHIVES):
        yield from _archive_members(source)
    else:
        found = "a file" if source.exists() else "nothing"
        raise InputError(
            f"{source}: expected a folder of images or an archive "
            f"({', '.join(ARCHIVES)}), found {found}"
        )


def _archive_members(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Members are read into memory one by one; nothing is unpacked to disk."""
    try:
        if source.suffix.lower() == ".zip":
            with zipfile.ZipFile(source) as archive:
                for entry in archive.infolist():
                    if not entry.is_dir() and _is_image(entry.filename):
                        data = archive.read(entry)
                        yield entry.filename, lambda data=data: data
        else:
            with tarfile.open(source) as archive:
                for member in archive:
                    stream = archive.extractfile(member) if member.isfile() else None
                    if stream is not None and _is_image(member.name):
                        data = stream.read()
                        yield member.name, lambda data=data: data
                _check_end(archive)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,  # an encrypted member
        NotImplementedError,  # a method of compression that is not known
    ) as error:
        raise InputError(
            f"{source}: truncated or damaged archive ({' '.join(str(error).split())}); "
            "copy it again"
        ) from error


def _check_end(archive: tarfile.TarFile) -> None:
    """A whole archive ends with zeros; `tarfile` takes a cut between members for it."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EOFError("its end is missing")


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not Path(name).name.startswith(".")


def to_float(pixels: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """8-bit values as float32 in [0, 1]; the bits are those of `quantise`."""
    return pixels.astype(np.float32) * _LEVEL


def quantise(images: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Rounds [0, 1] floats to the 256 levels of an 8-bit file, half to even."""
    return jnp.round(jnp.clip(images, 0, 1) * 255) * _LEVEL


def resize(
    images: Float[Array, "*batch height width channel"], size: int
) -> Float[Array, "*batch size size channel"]:
    """Bilinear, antialiased (half-pixel centres), differentiable; as PIL to 1/255."""
    if images.shape[-3:-1] == (size, size):
        return images
    shape = (*images.shape[:-3], size, size, images.shape[-1])
    return jax.image.resize(images, shape, "linear", antialias=True)


def normalise(
    images: Float[Array, "*batch height width 3"], network: Network
) -> Float[Array, "*batch height width 3"]:
    """``(x - mean) / std`` per channel."""
    shape = (1,) * (images.ndim - 1) + (3,)
    mean = jnp.asarray(network.mean, images.dtype).reshape(shape)
    std = jnp.asarray(network.std, images.dtype).reshape(shape)
    return (images - mean) / std


def prepare(
    images: Float[Array, "*batch height width 3"], network: Network
) -> Float[Array, "*batch size size 3"]:
    """The one preprocessing: resize to the network's input, then normalise.

    Args:
      images: sRGB in [0, 1], squares of any size.
      network: whose `input_size`, `mean` and `std` apply.
    """
    return normalise(resize(images, network.input_size), network)
