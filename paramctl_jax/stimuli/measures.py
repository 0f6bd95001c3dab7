"""How far an accentuated image is from its seed: in pixels, structure, features."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

WINDOW = 7  # pixels, of the structural similarity
_LUMINANCE, _CONTRAST = 0.01**2, 0.03**2  # Wang et al.'s constants at data range 1
HIGH = 1 / 8  # cycles per pixel


def pixel_changes(
    pixels: UInt8[np.ndarray, "height width 3"],
    seed: UInt8[np.ndarray, "height width 3"],
) -> dict[str, float]:
    """Every measure of a saved image against its seed that needs no network.

    Args:
      pixels: of the saved PNG.
      seed: of the un-accentuated seed image.

    Returns:
      ``rms`` and ``linf`` of the change in [0, 1] pixel units, ``clipped`` (fraction of
      the image's channel values at 0 or 255), ``ssim`` and ``high_frequency``.

    Example:
      >>> seed = np.full((8, 8, 3), 100, np.uint8)
      >>> changed = seed + np.uint8(51)
      >>> {name: round(x, 3) for name, x in pixel_changes(changed, seed).items()}
      ... # doctest: +NORMALIZE_WHITESPACE
      {'rms': 0.2, 'linf': 0.2, 'clipped': 0.0, 'ssim': 0.921, 'high_frequency': 0.0}
    """
    a, b = pixels.astype(np.float64) / 255, seed.astype(np.float64) / 255
    return {
        "rms": float(np.sqrt(np.mean((a - b) ** 2))),
        "linf": float(np.max(np.abs(a - b))),
        "clipped": float(np.mean((pixels == 0) | (pixels == 255))),
        "ssim": ssim(a, b),
        "high_frequency": high_frequency_share(a - b),
    }


def ssim(
    a: Float[np.ndarray, "height width 3"], b: Float[np.ndarray, "height width 3"]
) -> float:
    """Mean structural similarity, taken per channel and averaged over channels.

    With means ``m``, variances ``v`` and the covariance ``c`` of the two images (all
    unbiased) in a uniform window of 7 x 7 pixels,

        (2 m_a m_b + .01²) (2 c + .03²) / ((m_a² + m_b² + .01²) (v_a + v_b + .03²)),

    averaged over all windows that lie inside the image (Wang et al. 2004).

    Args:
      a: image in [0, 1].
      b: the other image.

    Returns:
      At most 1, which only equal images reach; NaN for images smaller than the window.

    Example:
      >>> image = np.random.default_rng(0).random((16, 16, 3))
      >>> ssim(image, image)
      1.0
    """
    if min(a.shape[:2]) < WINDOW:
        return math.nan
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    variances = unbiased * (
        _window_mean(a * a) - mean_a**2 + _window_mean(b * b) - mean_b**2
    )
    covariance = unbiased * (_window_mean(a * b) - mean_a * mean_b)
    similarity = (2 * mean_a * mean_b + _LUMINANCE) * (2 * covariance + _CONTRAST)
    similarity /= (mean_a**2 + mean_b**2 + _LUMINANCE) * (variances + _CONTRAST)
    return float(np.mean(similarity))


def _window_mean(
    image: Float[np.ndarray, "height width 3"],
) -> Float[np.ndarray, "row column 3"]:
    """Of all windows inside the image."""
    margin = WINDOW // 2
    means = ndimage.uniform_filter(image, WINDOW, axes=(0, 1))
    return means[margin:-margin, margin:-margin]


def high_frequency_share(change: Float[np.ndarray, "height width 3"]) -> float:
    """Share of a change's power that lies above 1/8 cycles per pixel.

    With the Fourier transform ``F`` of the change over both axes of the image, the sum
    of ``|F|²`` over all channels and the frequencies with ``sqrt(fx² + fy²) > 1/8``,
    over the sum over all of them, the mean (frequency 0) included.

    Args:
      change: image minus seed.

    Returns:
      From 0 to 1; NaN where nothing changed.

    Example:
      >>> stripes = np.zeros((16, 16, 3))
      >>> stripes[::2] = 1.0  # half its power is its mean, half at 1/2 cycles per pixel
      >>> round(high_frequency_share(stripes), 6)
      0.5
    """
    power = np.abs(np.fft.fft2(change, axes=(0, 1))) ** 2
    rows, columns = (np.fft.fftfreq(n) for n in change.shape[:2])
    high = np.hypot(rows[:, None], columns[None]) > HIGH
    total = float(power.sum())
    return float(power[high].sum()) / total if total > 0 else math.nan


def off_axis_drift(
    features: Float[np.ndarray, " feature"],
    seed_features: Float[np.ndarray, " feature"],
    weights: Float[np.ndarray, " feature"],
) -> float:
    """How far the features moved without moving the prediction.

    With the change ``d`` of the features and the axis ``w``,

        || d - (d·w / ||w||²) w || / || seed features ||

    Args:
      features: raw features of the image.
      seed_features: of its seed.
      weights: the encoding axis, in the same features.

    Returns:
      0 for a change along the axis only; NaN where the seed's features are all 0.

    Example:
      >>> seed, axis = np.asarray([3.0, 4.0]), np.asarray([0.0, 2.0])
      >>> off_axis_drift(np.asarray([4.0, 9.0]), seed, axis)
      0.2
    """
    change = features.astype(np.float64) - seed_features
    axis = _unit(weights)
    scale = float(np.linalg.norm(seed_features.astype(np.float64)))
    across = float(np.linalg.norm(change - (change @ axis) * axis))
    return across / scale if scale > 0 else math.nan


def alignment(
    features: Float[np.ndarray, " feature"],
    seed_features: Float[np.ndarray, " feature"],
    weights: Float[np.ndarray, " feature"],
) -> float:
    """Cosine of the change of the features and the axis, ``|d·w| / (||d|| ||w||)``.

    Args:
      features: raw features of the image.
      seed_features: of its seed.
      weights: the encoding axis, in the same features.

    Returns:
      From 0 to 1; NaN where nothing changed or the axis is 0.

    Example:
      >>> alignment(np.asarray([3.0, 4.0]), np.zeros(2), np.asarray([0.0, 2.0]))
      0.8
    """
    change = features.astype(np.float64) - seed_features
    lengths = np.linalg.norm(change) * np.linalg.norm(_unit(weights))
    return float(abs(change @ _unit(weights)) / lengths) if lengths > 0 else math.nan


def _unit(axis: Float[np.ndarray, " feature"]) -> Float[np.ndarray, " feature"]:
    length = float(np.linalg.norm(axis.astype(np.float64)))
    return axis.astype(np.float64) / (length or 1.0)
