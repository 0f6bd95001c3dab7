"""Where the bundled photographs are, and the photographs themselves."""

from __future__ import annotations

from pathlib import Path

from paramctl_jax.images import load_images
from paramctl_jax.types import ImageSet


def photographs_path() -> Path:
    """The archive of 400 photographs, 112 x 112 pixels, that comes with the package.

    The photographs are Caltech-101's and under CC BY 4.0, not under the code's licence.

    Example:
      >>> photographs_path().name
      'photographs.zip'
    """
    return Path(__file__).with_name("photographs.zip")


def load_photographs(size: int | None = None) -> ImageSet:
    """The bundled photographs, keyed by names such as ``"butterfly_0003"``.

    Args:
      size: side in pixels; None keeps 112.

    Returns:
      The photographs in the order of their names.

    Example:
      >>> load_photographs().select(["butterfly_0003"]).pixels.shape
      (1, 112, 112, 3)
    """
    return load_images(photographs_path(), size)
