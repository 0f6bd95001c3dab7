"""Measures of change against closed forms, and formulas read literally."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from paramctl_jax.stimuli.measures import (
    alignment,
    high_frequency_share,
    off_axis_drift,
    pixel_changes,
    ssim,
)

SHAPES = [(16, 16), (7, 7), (9, 20)]


@pytest.fixture
def pair(request):
    rng = np.random.default_rng(3)
    seed = rng.random((*request.param, 3))
    return seed, np.clip(seed + 0.2 * rng.standard_normal(seed.shape), 0, 1)


def literal_ssim(a, b):
    """Every window on its own, with numpy's variances."""
    x, y = (sliding_window_view(v, (7, 7), axis=(0, 1)).reshape(-1, 49) for v in (a, b))
    values = []
    for p, q in zip(x, y, strict=True):
        (va, c), (_, vb) = np.cov(p, q)
        ma, mb = p.mean(), q.mean()
        top = (2 * ma * mb + 1e-4) * (2 * c + 9e-4)
        values.append(top / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    return np.mean(values)


@pytest.mark.parametrize("pair", SHAPES, indirect=True)
def test_ssim_is_the_formula(pair):
    assert ssim(*pair) == pytest.approx(literal_ssim(*pair), rel=1e-9)
    assert ssim(*pair) == pytest.approx(ssim(*pair[::-1]), rel=1e-12)
    assert ssim(pair[0], pair[0]) == pytest.approx(1)


@pytest.mark.parametrize("pair", SHAPES, indirect=True)
def test_ssim_is_scikit_images(pair):
    metrics = pytest.importorskip("skimage.metrics")
    expected = metrics.structural_similarity(*pair, data_range=1.0, channel_axis=-1)
    assert ssim(*pair) == pytest.approx(expected, rel=1e-9)


def test_ssim_of_flat_images_is_its_luminance_term():
    a, b = np.full((8, 8, 3), 0.2), np.full((8, 8, 3), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(a, b) == pytest.approx(expected)
    assert np.isnan(ssim(a[:6], b[:6]))


@pytest.mark.parametrize(
    ("cycles", "share"), [(1, 0.0), (4, 0.0), (5, 1.0), (16, 1.0)]
)  # of 32 pixels; 4 is 1/8 cycles per pixel, the edge
def test_high_frequencies_of_gratings(cycles, share):
    wave = np.cos(2 * np.pi * cycles * np.arange(32) / 32)
    grating = np.broadcast_to(wave[:, None, None], (32, 32, 3))
    assert high_frequency_share(grating) == pytest.approx(share, abs=1e-12)
    lifted = grating + np.sqrt(np.mean(grating**2))  # as much power at frequency 0
    assert high_frequency_share(lifted) == pytest.approx(share / 2, abs=1e-12)
    only_red = grating * [1, 0, 0] + np.ones(3) * [0, 0, 1]
    red, blue = np.mean(grating**2), 1.0
    assert high_frequency_share(only_red) == pytest.approx(share * red / (red + blue))


def test_white_noise_is_spread_evenly():
    change = np.random.default_rng(0).standard_normal((64, 64, 3))
    disc = np.pi / 64  # area of the low frequencies in the unit square of all
    assert high_frequency_share(change) == pytest.approx(1 - disc, abs=0.01)


def test_no_change():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    changes = pixel_changes(image, image)
    assert (changes["rms"], changes["linf"]) == (0, 0)
    assert changes["ssim"] == pytest.approx(1)
    assert np.isnan(changes["high_frequency"])
    features = np.arange(3.0)
    assert off_axis_drift(features, features, np.ones(3)) == 0
    assert np.isnan(alignment(features, features, np.ones(3)))


def test_drift_and_alignment_split_the_change():
    rng = np.random.default_rng(0)
    seed, axis, change = rng.standard_normal((3, 50))
    across, along = (f(seed + change, seed, axis) for f in (off_axis_drift, alignment))
    length = np.linalg.norm(change)
    part = across * np.linalg.norm(seed) / length
    assert part**2 + along**2 == pytest.approx(1)
    assert along == pytest.approx(abs(change @ axis) / length / np.linalg.norm(axis))
    assert off_axis_drift(seed + 3 * axis, seed, axis) == pytest.approx(0, abs=1e-12)
    assert alignment(seed - 3 * axis, seed, 7 * axis) == pytest.approx(1)


def test_degenerate_axes_and_seeds():
    seed, zero = np.asarray([3.0, 4.0]), np.zeros(2)
    assert off_axis_drift(seed + 1, seed, zero) == pytest.approx(np.sqrt(2) / 5)
    assert np.isnan(alignment(seed + 1, seed, zero))
    assert np.isnan(off_axis_drift(seed, zero, seed))
