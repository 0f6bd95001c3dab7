"""Readouts with many channels or positions, on their principal modes along each axis.

Principal components of channels (over images and positions) and of positions (over
images and channels) are orthonormal, so that what is a mask times a channel vector on
the modes is one on the readout too: a truncated Tucker decomposition.

Source: De Lathauwer, De Moor & Vandewalle 2000, SIAM J. Matrix Anal. 21:1253 (HOSVD).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.gram import feature_mean
from paramctl_jax.encoding.pca import leading_modes
from paramctl_jax.types import InputError

MAX_CHANNELS = 128
"""Channel modes at most: a site's fit takes milliseconds per step."""

MAX_POSITIONS = 196
"""Position modes at most, those of a map of 14 x 14; smaller maps stay as they are."""

CHUNK = 16
"""Images at a time: 13 MB in float64 of 100,352 features."""


@dataclasses.dataclass(frozen=True)
class Compressed:
    """Features on channel and position modes.

    Attributes:
      tensor: ``channels' x positions`` of every image, not centred.
      channels: orthonormal modes; the identity where there are few channels.
      positions: orthonormal modes; likewise.
      notes: what was left out, in plain words.
    """

    tensor: Float[np.ndarray, "image channel_mode position_mode"]
    channels: Float[np.ndarray, "channel channel_mode"]
    positions: Float[np.ndarray, "position position_mode"]
    notes: tuple[str, ...] = ()


def compress(features: FeatureBlocks, shape: tuple[int, int, int]) -> Compressed:
    """Keeps the leading channel modes, then the leading position modes of these.

    Args:
      features: of the training images, in the order channel, height, width.
      shape: height, width and channels of the readout.

    Returns:
      Float64; nothing is lost of up to 128 channels and 196 positions. In memory at
      once: the tensor, and the features of a few images.

    Raises:
      InputError: values that are not finite, or equal features of all images.

    Example:
      >>> import numpy as np
      >>> small = compress(FeatureBlocks(np.arange(12.0).reshape(2, 6)), (1, 2, 3))
      >>> small.tensor[0].tolist()  # channel, position
      [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    height, width, n_channels = shape
    n_positions = height * width
    channels, positions = np.eye(n_channels), np.eye(n_positions)
    mean = feature_mean(features).reshape(n_channels, n_positions)
    if n_channels > MAX_CHANNELS:
        scatter = np.zeros((n_channels, n_channels))
        for _, x in _images(features, mean.shape):
            x = np.swapaxes(x - mean, 0, 1).reshape(n_channels, -1)
            scatter += x @ x.T
        channels = leading_modes(scatter, MAX_CHANNELS)[1]
    if n_positions > MAX_POSITIONS:
        scatter = np.zeros((n_positions, n_positions))
        for _, x in _images(features, mean.shape):
            x = (channels.T @ (x - mean)).reshape(-1, n_positions)
            scatter += x.T @ x
        positions = leading_modes(scatter, MAX_POSITIONS)[1]
    tensor = np.empty((len(features), channels.shape[1], positions.shape[1]))
    total = kept = 0.0
    for rows, x in _images(features, mean.shape):
        tensor[rows] = channels.T @ x @ positions
        total += np.sum((x - mean) ** 2)
        kept += np.sum((tensor[rows] - channels.T @ mean @ positions) ** 2)
    if total == 0:
        raise InputError(
            f"factorised: the features of all {len(features)} training images are "
            "equal; expected a readout that responds to the images"
        )
    return Compressed(tensor, channels, positions, _notes(tensor, shape, kept / total))


def _images(
    features: FeatureBlocks, shape: tuple[int, int]
) -> Iterator[tuple[slice, Float[np.ndarray, "image channel position"]]]:
    """A few images at a time, all their features in float64."""
    count, width = features.shape
    for start in range(0, count, CHUNK):
        chunk = slice(start, min(start + CHUNK, count))
        part = FeatureBlocks(features.array, features.row_ids[chunk])
        for _, block in part.blocks(width):
            yield chunk, block.reshape(-1, *shape)


def _notes(
    tensor: np.ndarray, shape: tuple[int, int, int], share: float
) -> tuple[str, ...]:
    height, width, channels = shape
    n_channels, n_positions = tensor.shape[1:]
    if (n_channels, n_positions) == (channels, height * width):
        return ()
    return (
        f"factorised: fitted on {n_channels} principal modes of {channels} channels "
        f"and {n_positions} of {height * width} positions, which hold {share:.1%} of "
        "the training images' variance",
    )
