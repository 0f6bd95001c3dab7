"""Equal random draws give the images of faccent and Horama, step by step."""

import importlib.util
import inspect
import pathlib
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramctl_jax.synthesis import augmentation
from paramctl_jax.synthesis.optimisers import make_optimiser
from paramctl_jax.synthesis.parameterisations import Fourier, Horama, Phase
from paramctl_jax.synthesis.presets import COMPATIBILITY

# by its path: Horama installs a package "tests", which hides this project's
_PATH = pathlib.Path(__file__).parents[1] / "golden" / "make_peers.py"
_SPEC = importlib.util.spec_from_file_location("make_peers", _PATH)
make_peers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make_peers)
FACCENT, HORAMA, SIZE = make_peers.FACCENT, make_peers.HORAMA, make_peers.SIZE
FILE, STEPS = make_peers.FILE, make_peers.STEPS

FACCENTS = ("phase", "fourier")
NAMES = (*FACCENTS, *HORAMA)


def engine_of(name):
    """Parameterisation, sampler, optimiser, learning rate, seed of one trajectory."""
    if name in HORAMA:
        settings = HORAMA[name]
        decoder = Horama(decay=settings["decay"])
        return decoder, "horama", "nadam_torch", settings["rate"], "dull"
    decoder = Phase() if name == "phase" else Fourier()
    return decoder, "faccent", "adam", FACCENT["rate"], "seed"


def predict(arrays, crops):
    """Convolution, ReLU and read-out of ``[crop, height, width, channel]``."""
    kernel = jnp.asarray(arrays["kernel"].transpose(2, 3, 1, 0))
    features = jax.lax.conv_general_dilated(
        crops,
        kernel,
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )
    readout = jnp.asarray(arrays["readout"].transpose(1, 2, 0))
    return jnp.sum(jax.nn.relu(features) * readout[None], axis=(1, 2, 3))


def trajectory(name, arrays):
    """Our images at `STEPS`, composed from the public pieces as the engine does."""
    decoder, sampler, optimiser_name, rate, seed_name = engine_of(name)
    optimiser = make_optimiser(optimiser_name)
    seed = jnp.asarray(arrays[seed_name])
    apply = augmentation.apply

    @jax.jit
    def step(theta, state, draws):
        image, pull = jax.vjp(lambda theta: decoder.decode(theta, seed), theta)

        def objective(image):
            cut = jax.vmap(lambda one: apply(sampler, image, one, SIZE))(draws)
            return -predict(arrays, cut).mean()

        gradient = pull(jax.grad(objective)(image))[0]
        with jax.numpy_dtype_promotion("standard"):
            direction, state = optimiser.update(gradient, state, theta)
        return jax.tree.map(lambda t, d: t - rate * d, theta, direction), state

    theta = decoder.initial(seed)
    state, images = optimiser.init(theta), [decoder.decode(theta, seed)]
    source = "phase" if name == "fourier" and "fourier/side" not in arrays else name
    parts = [arrays[f"{source}/{part}"] for part in ("side", "corner", "noise")]
    for draws in zip(*parts, strict=True):
        theta, state = step(theta, state, augmentation.Draw(*map(jnp.asarray, draws)))
        images.append(decoder.decode(theta, seed))
    return np.stack([images[step] for step in STEPS])


def errors_of(name, arrays, theirs):
    return np.abs(trajectory(name, arrays) - theirs).max(axis=(1, 2, 3))


@pytest.fixture(scope="module")
def golden():
    with np.load(FILE) as file:
        return dict(file)


@pytest.mark.parametrize("name", NAMES)
def test_stored_images_of_the_peers_are_reached(name, golden):
    theirs = golden[f"{name}/images"] / 65535
    errors = errors_of(name, golden, theirs)
    assert np.abs(theirs[-1] - theirs[0]).max() > 0.1  # they did move
    assert errors.max() < 1e-3, dict(zip(STEPS, errors, strict=True))


@pytest.fixture(scope="module")
def peers():
    """Skips where the tools, or the compiled operators they need, are not installed."""
    pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for name in ("faccent.render", "horama", "torchvision"):
                importlib.import_module(name)
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"no peers: {error}")
    if not sys.modules["torchvision"].extension._has_ops():
        pytest.skip("torchvision has no compiled roi_align")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_peers.trajectories(seed=1)


@pytest.mark.parametrize("name", NAMES)
def test_installed_peers_agree_on_another_problem(name, peers):
    errors = errors_of(name, peers, peers[f"{name}/images"])
    assert errors.max() < 1e-3, dict(zip(STEPS, errors, strict=True))


def test_round_trip_of_faccent_is_its_own(golden):
    """58 to 62 dB before the first step: its gains start at sigmoid(5), not at 1."""
    seed = golden["seed"]
    ours = Phase().decode(Phase().initial(jnp.asarray(seed)), jnp.asarray(seed))
    for image in (ours, golden["phase/images"][0] / 65535):
        decibels = -10 * np.log10(np.mean((np.asarray(image) - seed) ** 2))
        assert 58 < decibels < 62
        assert np.abs(image - seed).max() < 2e-3


def test_round_trip_of_horama_is_the_stretched_seed(golden):
    dull = golden["dull"]
    stretched = (dull - dull.min()) / np.ptp(dull)
    start = golden["horama/images"][0] / 65535
    np.testing.assert_allclose(start, (stretched + 1e-3) / 1.002, atol=2e-5)
    assert np.abs(start - dull).max() > 0.2


def test_presets_name_settings_that_exist():
    from paramctl_jax.synthesis import Settings

    known = set(inspect.signature(Settings).parameters)
    for name, preset in COMPATIBILITY.items():
        assert set(preset) <= known, name
        Settings(**preset)
