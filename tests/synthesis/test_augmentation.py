import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from paramctl_jax.synthesis import resampling
from paramctl_jax.synthesis.augmentation import (
    SAMPLERS,
    Draw,
    apply,
    crop,
    draw,
    random_crops,
)
from paramctl_jax.types import InputError

SETTINGS = {"crop_size": (0.5, 0.6), "noise": 0.05}


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(size=(40, 40, 3)).astype(np.float32)


def draws_of(sampler, key, crops=200, *, crop_size=(0.5, 0.6), canvas=40, size=4):
    def one(key):
        return draw(
            sampler, key, crop_size=crop_size, noise=0.05, canvas=canvas, size=size
        )

    return jax.jit(jax.vmap(one))(jax.random.split(key, crops))


# compiled whole: one by one, its operations take seconds to compile
crops_of = jax.jit(
    random_crops, static_argnames=("crops", "crop_size", "noise", "size", "sampler")
)


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
    inside = crops_of(ones, key, noise=0.0, **settings)
    np.testing.assert_allclose(inside, 1, atol=1e-5)  # outside would be 0
    crops = np.asarray(crops_of(jnp.asarray(image), key, noise=0.0, **settings))
    distances = np.abs(crops[:, None] - crops[None]).max(axis=(2, 3, 4))
    assert (distances[~np.eye(6, dtype=bool)] > 0.01).all()


def test_noise_has_the_asked_spread(key):
    blank = jnp.full((64, 64, 3), 0.5)
    crops = crops_of(blank, key, crops=8, crop_size=(0.9, 0.9), noise=0.1, size=64)
    # normal (variance 1) plus uniform on a unit interval (variance 1 / 12)
    assert float(crops.std()) == pytest.approx(0.1 * np.sqrt(1 + 1 / 12), rel=0.01)
    assert float(crops.mean()) == pytest.approx(0.5, abs=0.002)


def test_draws_depend_on_the_key_alone(image, key):
    settings = {"crops": 2, "crop_size": (0.9, 0.95), "noise": 0.05, "size": 16}
    once = crops_of(jnp.asarray(image), key, **settings)
    again = crops_of(jnp.asarray(image), key, **settings)
    other = crops_of(jnp.asarray(image), jax.random.key(9), **settings)
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_random_crops_are_draws_applied(sampler, image, key):
    """One key per crop; a crop does not depend on how many there are."""
    image, options = jnp.asarray(image), {"sampler": sampler, **SETTINGS}
    crops = crops_of(image, key, crops=3, size=12, **options)
    assert crops.shape == (3, 12, 12, 3)
    one = jax.tree.map(lambda leaf: leaf[1], draws_of(sampler, key, 3, size=12))
    np.testing.assert_allclose(crops[1], apply(sampler, image, one, 12), atol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_crops_are_linear_in_the_image(sampler, image, key):
    """So that their gradient is the transposed resize of the crops'."""
    one = jax.tree.map(lambda leaf: leaf[0], draws_of(sampler, key, 1, size=12))
    weights = jax.random.normal(key, (12, 12, 3))

    def total(image):
        return jnp.sum(weights * apply(sampler, image, one, 12))

    image = jnp.asarray(image)
    gradient = jax.grad(total)(image)
    change = jax.random.normal(jax.random.key(7), image.shape)
    assert float(total(image + change) - total(image)) == pytest.approx(
        float(jnp.sum(gradient * change)), rel=1e-3
    )


def test_inside_and_faccent_stay_on_the_canvas(key):
    for sampler in ("inside", "faccent"):
        drawn = draws_of(sampler, key)
        assert 0.5 <= float(drawn.side.min()) < 0.52
        assert 0.58 < float(drawn.side.max()) <= 0.6
        assert float(drawn.corner.min()) >= 0
        assert float((drawn.corner + drawn.side[:, None]).max()) <= 1
        assert drawn.noise.shape[1] == {"inside": 4, "faccent": 40}[sampler]


def test_horama_crops_more_than_it_is_asked_for(key):
    """Sides in (high, 2 high - low), centres of mean .5 and SD .15, also outside."""
    drawn = draws_of("horama", key, 2000, crop_size=(0.9, 0.95), size=2)
    assert 0.95 <= float(drawn.side.min()) < 0.951
    assert 0.999 < float(drawn.side.max()) <= 1.0
    centre = drawn.corner + drawn.side[:, None] / 2
    assert float(centre.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(centre.std()) == pytest.approx(0.15, rel=0.05)
    assert float(drawn.corner.min()) < -0.2


def test_horama_is_black_outside_the_canvas():
    ones = jnp.ones((20, 20, 3))
    blank = jnp.zeros((8, 8, 3))
    left = Draw(jnp.float32(0.8), jnp.array([0.1, -0.4]), blank)
    shown = apply("horama", ones, left, 8)
    np.testing.assert_allclose(shown[:, :3], 0, atol=0.05)  # cubic: some ringing
    np.testing.assert_allclose(shown[:, 5:], 1, atol=0.05)


def test_faccent_cuts_whole_pixels(image):
    """int() of both ends; an enlargement by two of every pixel, then noise's share."""
    noise = np.zeros_like(image)
    noise[10:20, 4:14] = 0.5
    one = Draw(jnp.float32(0.26), jnp.array([0.255, 0.12]), jnp.asarray(noise))
    got = apply("faccent", jnp.asarray(image), one, 10)
    # rows int(10.2) to int(20.6), columns int(4.8) to int(15.2): 10 by 11 pixels
    columns = resampling.torch_resize(11, 10, resampling.linear)
    padded = np.pad(np.full((10, 10), 0.5), ((0, 0), (0, 1)))
    added = padded[..., None] * np.ones(3)
    expected = np.einsum("jw,hwc->hjc", columns, image[10:20, 4:15] + added)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def roi_by_hand(line, start, side, size):
    """ROI align of one axis, sample by sample."""
    step, count = side / size, int(np.ceil(side / size))
    means = []
    for output in range(size):
        total = 0.0
        for sample in range(count):
            place = start + output * step + (sample + 0.5) * step / count
            if -1 <= place <= len(line):
                place = min(max(place, 0), len(line) - 1)
                low = min(int(place), len(line) - 2)
                total += line[low] + (place - low) * (line[low + 1] - line[low])
        means.append(total / count)
    return np.array(means)


@pytest.mark.parametrize("start", [-9.3, -0.5, 0.0, 3.7, 20.2])
@pytest.mark.parametrize(("side", "size"), [(6.4, 8), (30.0, 8), (39.9, 5), (0.3, 4)])
def test_roi_align_by_hand(image, start, side, size):
    line = image[:, 0, 0].astype(np.float64)
    weights = resampling.roi_align(jnp.float32(start), jnp.float32(side), 40, size)
    expected = roi_by_hand(line, start, max(side, 1), size)
    np.testing.assert_allclose(np.asarray(weights) @ line, expected, atol=2e-5)


@pytest.mark.parametrize(("length", "size"), [(24, 12), (40, 7), (9, 12), (12, 12)])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resizes_are_torchs(image, length, size, mode):
    torch = pytest.importorskip("torch")
    kernel = {"bilinear": resampling.linear, "bicubic": resampling.cubic}[mode]
    cut = image[:length, :length]
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(cut).permute(2, 0, 1)[None],
        size=(size, size),
        mode=mode,
        antialias=True,
        align_corners=True,
    )
    weights = jnp.asarray(resampling.torch_resize(length, size, kernel), jnp.float32)
    got = resampling.resample(jnp.asarray(cut), weights, weights)
    expected = expected[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_unknown_samplers_are_named(image, key):
    with pytest.raises(InputError, match="did you mean 'inside'"):
        draw("insider", key, canvas=40, size=8, **SETTINGS)
    one = Draw(jnp.float32(1), jnp.zeros(2), jnp.zeros((8, 8, 3)))
    with pytest.raises(InputError, match="valid: inside, horama, faccent"):
        apply("pnc", jnp.asarray(image), one, 8)
