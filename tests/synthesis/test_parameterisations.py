import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.synthesis.parameterisations import (
    COLOUR,
    COLOUR_INVERSE,
    PARAMETERISATIONS,
    Fourier,
    Horama,
    Parameterisation,
    Phase,
    Pixel,
    Precond,
    frequency_prior,
    make_parameterisation,
)
from paramctl_jax.synthesis.parameterisations.colour import from_rgb, to_rgb
from paramctl_jax.types import InputError

ALL = (
    *(make_parameterisation(name, gamma=1.0, limit=0.5) for name in PARAMETERISATIONS),
    Phase(train_magnitude=False),
    Pixel(logit=True),
    Horama(minmax=False),
)
every = pytest.mark.parametrize("decoder", ALL, ids=str)


def image_of(size, seed=0, low=0, high=256):
    """An 8-bit image of noise with black and white in it."""
    pixels = np.random.default_rng(seed).integers(low, high, (size, size, 3), np.uint8)
    pixels[0, 0], pixels[0, 1] = 0, 255  # black and white saturate the logit
    return jnp.asarray(pixels.astype(np.float32) / 255)


def moved(decoder, seed, scale=0.3):
    """Parameters a random step away from the seed's."""
    leaves, structure = jax.tree.flatten(decoder.initial(seed))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return structure.unflatten(
        leaf + scale * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    )


def start_of(decoder, seed):
    return np.asarray(decoder.decode(decoder.initial(seed), seed))


@every
@pytest.mark.parametrize("size", [8, 31])
def test_every_one_keeps_the_contract(decoder, size):
    """Static and hashable; float32 in and out, in gamut, at odd sizes, under vmap."""
    seed = image_of(size)
    assert isinstance(decoder, Parameterisation)
    assert hash(decoder) == hash(dataclasses.replace(decoder))
    theta = moved(decoder, seed)
    assert {leaf.dtype for leaf in jax.tree.leaves(theta)} == {jnp.dtype("float32")}
    image = decoder.decode(theta, seed)
    assert image.shape == seed.shape
    assert image.dtype == jnp.float32
    assert 0 <= float(image.min()) < float(image.max()) <= 1
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), theta)
    mapped = jax.jit(jax.vmap(decoder.decode))(both, jnp.stack([seed, seed]))
    np.testing.assert_allclose(mapped[1], image, atol=1e-5)


@every
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0, None])
def test_gradients_are_finite_everywhere(decoder, level):
    """Also at images of one colour, whose spectrum is 0 but for one bin."""
    seed = image_of(8) if level is None else jnp.full((8, 8, 3), level)
    weights = jax.random.normal(jax.random.key(2), seed.shape)
    for scale in (0.0, 0.3, 50.0):

        def total(theta, seed):
            return jnp.sum(weights * decoder.decode(theta, seed))

        theta = moved(decoder, seed, scale)
        gradients = jax.grad(total, argnums=(0, 1))(theta, seed)
        for leaf in jax.tree.leaves(gradients):
            assert bool(jnp.isfinite(leaf).all())
    for leaf in jax.tree.leaves(jax.jacfwd(lambda s: decoder.initial(s))(seed)):
        assert bool(jnp.isfinite(leaf).all())


@every
def test_gradients_are_those_of_finite_differences(decoder):
    """But for Horama's, which are weighted on purpose."""
    seed = image_of(8, low=40, high=200) * 0.9 + 0.05
    theta = moved(decoder, seed, 0.1)
    weights = jax.random.normal(jax.random.key(2), seed.shape)
    way = moved(decoder, seed, 1.0)
    way = jax.tree.map(jnp.subtract, way, decoder.initial(seed))

    def total(amount):
        shifted = jax.tree.map(lambda t, w: t + amount * w, theta, way)
        return jnp.sum(weights * decoder.decode(shifted, seed))

    step = jnp.float32(2e-3)
    difference = (total(step) - total(-step)) / (2 * step)
    gradient = jax.grad(total)(jnp.float32(0))
    if isinstance(decoder, Horama):
        assert float(gradient) != pytest.approx(float(difference), rel=0.1)
    else:
        assert float(gradient) == pytest.approx(float(difference), rel=0.02, abs=2e-3)


@pytest.mark.parametrize("size", [8, 31, 64])
@pytest.mark.parametrize(
    ("decoder", "largest"),
    [
        (Precond(), 1e-7),
        (Fourier(), 1e-7),
        (Pixel(), 0.0),
        (Pixel(logit=True), 1e-7),
        (Phase(train_magnitude=False), 2e-5),
        (Phase(), 5e-3),
        (Horama(minmax=False), 1.1e-3),
        (Horama(), 1.1e-3),  # the seed has the full range already
    ],
    ids=str,
)
def test_the_start_is_the_seed_within(decoder, largest, size):
    seed = image_of(size)
    start = start_of(decoder, seed)
    np.testing.assert_allclose(start, seed, atol=largest, rtol=0)
    if largest < 1e-3:
        np.testing.assert_array_equal(np.round(start * 255), np.round(seed * 255))


def test_horama_stretches_and_pnc_loses_the_lightness():
    seed = image_of(16)[4:12, 4:12] * 0.3 + 0.6  # bright, of low contrast
    stretched = (seed - seed.min()) / (seed.max() - seed.min())
    expected = (stretched + 1e-3) / (1 + 2e-3)
    np.testing.assert_allclose(start_of(Horama(), seed), expected, atol=1e-5)
    pnc = make_parameterisation("pnc", gamma=1.0, limit=0.5)
    assert abs(start_of(pnc, seed).mean() - float(seed.mean())) > 0.1
    wide = Horama(values_range=(-2.5, 2.5))
    np.testing.assert_allclose(start_of(wide, seed), expected * 5 - 2.5, atol=1e-4)


def test_horama_weighs_the_gradient_alone():
    seed = image_of(8)
    theta = moved(Horama(), seed)
    weighted, plain = (
        jax.grad(lambda t, d=decay: Horama(decay=d).decode(t, seed)[2, 3, 0])(theta)
        for decay in (1.5, 0.0)
    )
    frequency = np.hypot(np.fft.fftfreq(8)[:, None], np.fft.rfftfreq(8)[None])
    ratio = np.maximum(frequency, 1 / 8) ** -1.5
    np.testing.assert_allclose(
        weighted, plain * ratio[None, ..., None].astype(np.float32), rtol=1e-4
    )
    np.testing.assert_array_equal(
        Horama(decay=0.0).decode(theta, seed), Horama(decay=2.0).decode(theta, seed)
    )


def test_phases_turn_and_gains_damp():
    """A phase of 2 pi u turns the image by one pixel; a gain of 0 greys it."""
    decoder = Phase(train_magnitude=False)
    seed = image_of(9)
    theta = decoder.initial(seed)
    turn = 2 * np.pi * np.fft.fftfreq(9)[:, None, None]
    shifted = theta["phase"] - jnp.asarray(turn, jnp.float32) * jnp.ones((9, 5, 3))
    image = decoder.decode({"phase": shifted}, seed)
    np.testing.assert_allclose(image, jnp.roll(seed, 1, axis=0), atol=1e-4)
    silent = {**Phase().initial(seed), "gain": jnp.full((9, 5, 3), -40.0)}
    np.testing.assert_allclose(Phase().decode(silent, seed), 0.5, atol=1e-6)


def test_make_parameterisation_names_what_there_is():
    assert make_parameterisation("precond", gamma=0.5, limit=0.2) == Precond(0.5, 0.2)
    with pytest.raises(InputError, match="did you mean 'horama'"):
        make_parameterisation("harama", gamma=1.0, limit=0.5)


# The default, `Precond`.


def random_theta(size, scale=1.0):
    return moved(Precond(), jnp.zeros((size, size, 3)), scale)


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


def test_precond_is_the_formula():
    """Against numpy's FFT in float64, written out."""
    size = 16
    seed = np.random.default_rng(0).uniform(0.1, 0.9, (size, size, 3))
    theta = np.asarray(random_theta(size, 0.3), np.float64)
    prior = frequency_prior(size, 1.0, 0.5)
    spectrum = (theta[0] + 1j * theta[1]) * prior[..., None]
    change = np.fft.irfft2(spectrum, s=(size, size), axes=(0, 1), norm="ortho")
    expected = 1 / (1 + np.exp(-(np.log(seed / (1 - seed)) + change @ COLOUR)))
    got = Precond().decode(
        jnp.asarray(theta, jnp.float32), jnp.asarray(seed, jnp.float32)
    )
    np.testing.assert_allclose(got, np.clip(expected, 0, 1), atol=2e-6)


def test_the_prior_acts_in_the_forward_map():
    """A sign step, as Adam's first, has most of its power at low frequencies."""
    seed = jnp.full((32, 32, 3), 0.5)
    step = jnp.sign(random_theta(32)) * 0.05
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32)))

    def high_share(gamma: float) -> float:
        change = np.asarray(Precond(gamma).decode(step, seed) - seed)
        power = np.abs(np.fft.fft2(change, axes=(0, 1))) ** 2
        return float(power[frequency > 1 / 8].sum() / power.sum())

    shares = [high_share(gamma) for gamma in (0.0, 1.0, 2.0)]
    assert shares[0] > 0.8 > shares[1] > 0.1 > shares[2]


def test_colour_axes_are_independent():
    np.testing.assert_allclose(COLOUR @ COLOUR_INVERSE, np.eye(3), atol=1e-12)
    # condition number and inverse as published with the matrix
    assert np.linalg.cond(COLOUR) == pytest.approx(7.56, abs=0.01)
    published = [0.57744051, 2.7717143, 3.11817871]
    assert COLOUR_INVERSE[0] == pytest.approx(published, rel=1e-6)
    seed = image_of(4)
    np.testing.assert_allclose(to_rgb(from_rgb(seed)), seed, atol=1e-5)


@pytest.mark.parametrize("size", [32, 33, 56])
@pytest.mark.parametrize("slots", [2, 3, 8])
def test_every_place_of_a_batch_gives_the_same_bits(size, slots):
    """Fast Fourier transforms of the CPU do not, and images would show it."""
    chosen = make_parameterisation("precond", gamma=1.0, limit=0.5)
    rng = np.random.default_rng(0)
    seed = jnp.asarray(rng.random((size, size, 3), np.float32))
    theta = rng.standard_normal(chosen.initial(seed).shape).astype(np.float32)
    theta = jnp.asarray(theta)

    def both(theta, seed):
        image, pull = jax.vjp(lambda theta: chosen.decode(theta, seed), theta)
        return image, pull(jnp.sin(37 * seed))[0]

    batch = [jnp.stack([x] * slots) for x in (theta, seed)]
    for values in jax.jit(jax.vmap(both))(*batch):
        values = np.asarray(values)
        np.testing.assert_array_equal(values, np.stack([values[0]] * slots))
