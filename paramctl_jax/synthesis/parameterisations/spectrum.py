"""Half spectra of real images as real arrays, and how their bins are weighted.

A spectrum is ``(2, size, size // 2 + 1, 3)``: real and imaginary part apart, so that
an optimiser sees two coordinates and not one complex modulus. The imaginary parts of
bins that are their own conjugate (frequency 0 and Nyquist) are without effect.

The transforms are sums, written as matrix products. A CPU's fast ones add up a lane in
another order at another place of the batch and with another number of cores, and its
last bits would travel into the images. Beside a network the sums cost next to nothing.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Spectrum = Float[Array, "2 size half 3"]
Pixels = Float[Array, "size size 3"]


def zero_spectrum(size: int) -> Spectrum:
    """The half spectrum of a black image of side `size` in pixels."""
    return jnp.zeros((2, size, size // 2 + 1, 3), jnp.float32)


def forward(pixels: Pixels) -> Spectrum:
    """``rfft2``, un-normalised, as real and imaginary part."""
    size = pixels.shape[0]
    angle = _angles(size)
    half = np.stack([np.cos(angle), -np.sin(angle)])[..., : size // 2 + 1]
    rows = _sum("xlm,jlc->xjmc", half, pixels)
    turned = jnp.stack([rows[1], -rows[0]])
    columns = _sum("kj,xjmc->xkmc", np.cos(angle), rows)
    return columns + _sum("kj,xjmc->xkmc", np.sin(angle), turned)


def inverse(spectrum: Spectrum, *, norm: str = "backward") -> Pixels:
    """``irfft2``, the inverse of `forward`.

    Args:
      spectrum: real and imaginary part.
      norm: ``"backward"`` divides by the number of pixels; ``"ortho"`` by its root, so
        that one unit of a coefficient changes an image as much at every size.

    Example:
      >>> image = jnp.arange(27.0).reshape(3, 3, 3)
      >>> bool(jnp.allclose(inverse(forward(image)), image, atol=1e-4))
      True
    """
    size, half = spectrum.shape[1:3]
    angle = _angles(size)
    turned = jnp.stack([-spectrum[1], spectrum[0]])
    columns = _sum("jk,xkmc->xjmc", np.cos(angle), spectrum)
    columns = columns + _sum("jk,xkmc->xjmc", np.sin(angle), turned)
    # a bin stands for its conjugate as well, unless it is its own
    own = (np.arange(half) == 0) | (2 * np.arange(half) == size)
    weight = np.where(own, 1, 2) / size ** {"backward": 2, "ortho": 1}[norm]
    rows = np.stack([np.cos(angle), -np.sin(angle)])[:, :half] * weight[:, None]
    return _sum("xml,xjmc->jlc", rows, columns)


def _angles(size: int) -> Float[np.ndarray, "size size"]:
    """``2 pi j k / size``, reduced before it is rounded."""
    index = np.arange(size)
    return 2 * np.pi * (np.outer(index, index) % size) / size


def _sum(axes: str, waves: np.ndarray, values: Array) -> Array:
    """A matrix product of one lane, in a batch of lanes as well.

    The waves are made the lane's own by adding its first value times 0. A batch is
    then a product per lane, each of one shape, and not one large product whose parts
    are added up in different orders.
    """
    exact = jnp.asarray(np.where(np.abs(waves) < 1e-12, 0, waves), jnp.float32)
    own = exact + 0 * jax.lax.stop_gradient(values.ravel()[0])
    return jnp.einsum(axes, own, values, precision="highest")


def frequencies(size: int) -> Float[np.ndarray, "size half"]:
    """Radial frequency of every bin, in cycles per pixel, 0 to .71.

    Example:
      >>> frequencies(4)[:, 1].round(3)
      array([0.25 , 0.354, 0.559, 0.354])
    """
    return np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])


def decay_of(size: int, power: float) -> Float[np.ndarray, "size half"]:
    """``1 / max(f, 1 / size)^power``: Lucid's weight of every bin.

    Args:
      size: side of the image in pixels.
      power: 0 weights all bins alike; natural images fall off with about 1.

    Example:
      >>> decay_of(4, 1.0)[0].tolist()
      [4.0, 4.0, 2.0]
    """
    return np.maximum(frequencies(size), 1 / size) ** -power


def frequency_prior(
    size: int, gamma: float, limit: float
) -> Float[np.ndarray, "size half"]:
    """``1 / max(f, 1 / size)^gamma`` below `limit`, with mean square 1.

    Args:
      size: side of the image in pixels.
      gamma: slope of the prior, 0 (white) to 2.
      limit: highest frequency along either axis in cycles per pixel; .5 keeps all.

    Returns:
      Amplitude per bin; 0 above the limit.

    Example:
      >>> frequency_prior(4, 0.0, 0.25)[0].round(2).tolist()
      [1.41, 1.41, 0.0]
    """
    rows, columns = np.fft.fftfreq(size), np.fft.rfftfreq(size)
    highest = np.maximum(np.abs(rows)[:, None], columns[None])
    amplitude = np.where(highest <= limit, decay_of(size, gamma), 0.0)
    return amplitude / np.sqrt(np.mean(amplitude**2))
