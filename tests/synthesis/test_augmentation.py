import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from paramctl_jax.synthesis.augmentation import crop, random_crops


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(size=(40, 40, 3)).astype(np.float32)


def test_a_whole_crop_is_the_antialiased_resize(image):
    got = crop(jnp.asarray(image), jnp.float32(1), jnp.zeros(2), 16)
    expected = jax.image.resize(image, (16, 16, 3), "linear", antialias=True)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_crop_agrees_with_pil(image):
    """Half-pixel centres: PIL's resize with a box is an independent oracle."""
    got = crop(jnp.asarray(image), jnp.float32(0.5), jnp.asarray([0.25, 0.1]), 10)
    channel = Image.fromarray(image[..., 0], mode=None)
    box = (4.0, 10.0, 24.0, 30.0)  # left, top, right, bottom
    expected = channel.resize((10, 10), Image.Resampling.BILINEAR, box=box)
    inner = slice(1, -1)  # PIL renormalises at the box's border
    np.testing.assert_allclose(
        got[inner, inner, 0], np.asarray(expected)[inner, inner], atol=1e-5
    )


def test_crops_lie_inside_and_differ(image, key):
    ones = jnp.ones_like(jnp.asarray(image))
    settings = {"crops": 6, "crop_size": (0.5, 0.6), "size": 12}
    inside = random_crops(ones, key, noise=0.0, **settings)
    np.testing.assert_allclose(inside, 1, atol=1e-5)  # outside would be 0
    crops = np.asarray(random_crops(jnp.asarray(image), key, noise=0.0, **settings))
    distances = np.abs(crops[:, None] - crops[None]).max(axis=(2, 3, 4))
    assert (distances[~np.eye(6, dtype=bool)] > 0.01).all()


def test_noise_has_the_asked_spread(key):
    blank = jnp.full((64, 64, 3), 0.5)
    crops = random_crops(blank, key, crops=8, crop_size=(0.9, 0.9), noise=0.1, size=64)
    # normal (variance 1) plus uniform on a unit interval (variance 1 / 12)
    assert float(crops.std()) == pytest.approx(0.1 * np.sqrt(1 + 1 / 12), rel=0.01)
    assert float(crops.mean()) == pytest.approx(0.5, abs=0.002)


def test_draws_depend_on_the_key_alone(image, key):
    settings = {"crops": 2, "crop_size": (0.9, 0.95), "noise": 0.05, "size": 16}
    once = random_crops(jnp.asarray(image), key, **settings)
    again = random_crops(jnp.asarray(image), key, **settings)
    other = random_crops(jnp.asarray(image), jax.random.key(9), **settings)
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
