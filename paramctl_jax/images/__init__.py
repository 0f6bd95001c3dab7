"""Images in and out: every source of images, and the one path to a network's input.

`load_images` reads images from wherever they are; fit, synthesis and the check of the
saved PNG all take them to the network through `prepare`.
"""

from paramctl_jax.images.decode import (
    MAX_PIXELS,
    SUFFIXES,
    decode_image,
    encode_png,
    fit_square,
    read_image,
)
from paramctl_jax.images.files import ARCHIVES, members
from paramctl_jax.images.load import duplicate_images, load_images
from paramctl_jax.images.preprocess import (
    normalise,
    prepare,
    quantise,
    resize,
    to_float,
)
from paramctl_jax.images.tfds_folder import make_tfds_folder

__all__ = [
    "ARCHIVES",
    "MAX_PIXELS",
    "SUFFIXES",
    "decode_image",
    "duplicate_images",
    "encode_png",
    "fit_square",
    "load_images",
    "make_tfds_folder",
    "members",
    "normalise",
    "prepare",
    "quantise",
    "read_image",
    "resize",
    "to_float",
]
