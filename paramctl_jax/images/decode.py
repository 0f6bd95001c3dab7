"""Image files to pixels and back.

Decoding is strict: what a file holds is either an unambiguous RGB photograph or an
error that names the file.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from paramctl_jax.types import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_PIXELS = 50_000_000


# What Pillow's decoders let through where a byte of a file is wrong.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError),
    *(ArithmeticError, AttributeError, MemoryError, struct.error, zlib.error),
)


class SourceImage(NamedTuple):
    """An image that a source has, to be read when it is needed.

    Attributes:
      stimulus_id: of the image.
      label: of its place in the source, for messages.
      read: gives 8-bit sRGB ``[height, width, 3]``, or raises an `InputError` that
        names the place.
    """

    stimulus_id: str
    label: str
    read: Callable[[], UInt8[np.ndarray, "height width 3"]]


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
            image = ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name}: not an image that can be read; expected {', '.join(SUFFIXES)}"
        ) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: too many pixels ({error})") from error
    except _DAMAGE as error:
        raise InputError(
            f"{name}: truncated or damaged image ({error}); copy the file again"
        ) from error
    return np.asarray(_as_rgb(image, name))


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
    return decode_image(read_bytes(Path(path)), str(path))


def read_bytes(path: Path) -> bytes:
    """The content of a file, or an error that names it."""
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
