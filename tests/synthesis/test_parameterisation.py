import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.synthesis.parameterisation import (
    COLOUR,
    decode,
    frequency_prior,
    zero_theta,
)


def random_theta(size: int, scale: float = 1.0):
    return scale * jax.random.normal(jax.random.key(1), zero_theta(size).shape)


def prior_of(size: int, gamma: float = 1.0, limit: float = 0.5):
    return jnp.asarray(frequency_prior(size, gamma, limit), jnp.float32)


@pytest.mark.parametrize("size", [8, 31, 64])
def test_zero_is_the_seed_exactly(size):
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    pixels[0, 0], pixels[0, 1] = 0, 255  # black and white saturate the logit
    seed = jnp.asarray(pixels.astype(np.float32) / 255)
    image = decode(zero_theta(size), seed, prior_of(size))
    np.testing.assert_allclose(image, seed, atol=1e-6)
    np.testing.assert_array_equal(jnp.round(image * 255).astype(jnp.uint8), pixels)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_prior_has_unit_mean_square_and_the_asked_slope(gamma):
    prior = frequency_prior(32, gamma, 0.5)
    assert np.mean(prior**2) == pytest.approx(1)
    assert prior[0, 1] / prior[0, 4] == pytest.approx(4**gamma)
    assert prior[0, 0] == pytest.approx(prior[0, 1])  # f is at least 1 / size


def test_prior_is_silent_above_the_limit():
    prior = frequency_prior(32, 1.0, 0.25)
    rows = np.abs(np.fft.fftfreq(32))
    assert (prior[rows > 0.25] == 0).all()
    assert (prior[:, np.fft.rfftfreq(32) > 0.25] == 0).all()
    assert (prior[np.ix_(rows <= 0.25, np.fft.rfftfreq(32) <= 0.25)] > 0).all()


def test_decode_is_the_formula():
    """Against numpy's FFT in float64, written out."""
    size = 16
    seed = np.random.default_rng(0).uniform(0.1, 0.9, (size, size, 3))
    theta = np.asarray(random_theta(size, 0.3), np.float64)
    prior = frequency_prior(size, 1.0, 0.5)
    spectrum = (theta[0] + 1j * theta[1]) * prior[..., None]
    change = np.fft.irfft2(spectrum, s=(size, size), axes=(0, 1), norm="ortho")
    expected = 1 / (1 + np.exp(-(np.log(seed / (1 - seed)) + change @ COLOUR)))
    got = decode(
        jnp.asarray(theta, jnp.float32), jnp.asarray(seed, jnp.float32), prior_of(size)
    )
    np.testing.assert_allclose(got, np.clip(expected, 0, 1), atol=2e-6)


def test_images_stay_in_gamut_and_gradients_are_finite():
    seed = jnp.asarray(np.random.default_rng(0).choice([0.0, 0.5, 1.0], (16, 16, 3)))
    seed = seed.astype(jnp.float32)
    image = decode(random_theta(16, 50.0), seed, prior_of(16))
    assert float(image.min()) >= 0
    assert float(image.max()) <= 1
    gradient = jax.grad(lambda t: decode(t, seed, prior_of(16)).sum())(zero_theta(16))
    assert bool(jnp.isfinite(gradient).all())


def test_colour_axes_are_independent():
    inverse = np.linalg.inv(COLOUR)
    np.testing.assert_allclose(COLOUR @ inverse, np.eye(3), atol=1e-12)
    # condition number and inverse as published with the matrix
    assert np.linalg.cond(COLOUR) == pytest.approx(7.56, abs=0.01)
    assert inverse[0] == pytest.approx([0.57744051, 2.7717143, 3.11817871], rel=1e-6)


def test_the_prior_acts_in_the_forward_map():
    """A sign step, as Adam's first, has most of its power at low frequencies."""
    seed = jnp.full((32, 32, 3), 0.5)
    step = jnp.sign(random_theta(32)) * 0.05
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32)))

    def high_share(gamma: float) -> float:
        change = np.asarray(decode(step, seed, prior_of(32, gamma)) - seed)
        power = np.abs(np.fft.fft2(change, axes=(0, 1))) ** 2
        return float(power[frequency > 1 / 8].sum() / power.sum())

    shares = [high_share(gamma) for gamma in (0.0, 1.0, 2.0)]
    assert shares[0] > 0.8 > shares[1] > 0.1 > shares[2]
