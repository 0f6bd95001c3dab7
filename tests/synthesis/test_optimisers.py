import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from paramctl_jax.synthesis.optimisers import OPTIMISERS, make_optimiser
from paramctl_jax.types import InputError


def theta():
    return {"a": jnp.array([1.0, -2.0, 0.5]), "b": jnp.full((2, 2), 3.0)}


def gradient_of(tree, step):
    """Of a bowl whose steepness changes from step to step."""
    return jax.tree.map(lambda leaf: leaf * (1 + 0.5 * np.cos(step)), tree)


def run(optimiser, steps=30, rate=0.05):
    parameters, path = theta(), []
    state = optimiser.init(parameters)
    with jax.numpy_dtype_promotion("standard"):  # as the engine does
        for step in range(steps):
            gradient = gradient_of(parameters, step)
            direction, state = optimiser.update(gradient, state, parameters)
            parameters = jax.tree.map(lambda t, d: t - rate * d, parameters, direction)
            path.append(parameters)
    return path


def size(tree):
    return float(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_descends(name):
    path = run(make_optimiser(name))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(path[-1]))
    assert size(path[-1]) < size(theta())


def test_the_usual_ones_are_there():
    assert {"adam", "sgd", "rmsprop", "nadam", "lion", "nadam_torch"} <= set(OPTIMISERS)


def test_adam_is_scale_by_adam():
    ours = run(make_optimiser("adam"))
    theirs = run(optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_sgd_is_the_gradient():
    gradient = theta()
    optimiser = make_optimiser("sgd")
    direction, _ = optimiser.update(gradient, optimiser.init(gradient))
    jax.tree.map(np.testing.assert_array_equal, direction, gradient)


def written_out(gradients, b1, b2, eps, psi):
    """PyTorch's NAdam of one coordinate, from its documentation, in float64."""
    m = v = 0.0
    product, directions = 1.0, []
    for t, g in enumerate(gradients, start=1):
        now = b1 * (1 - 0.5 * 0.96 ** (t * psi))
        after = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * psi))
        product *= now
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        ahead = after * m / (1 - product * after) + (1 - now) * g / (1 - product)
        directions.append(ahead / (np.sqrt(v / (1 - b2**t)) + eps))
    return directions


@pytest.mark.parametrize(
    "options", [(), (("b1", 0.95), ("b2", 0.9), ("momentum_decay", 0.1))]
)
def test_nadam_torch_is_the_formula(options):
    gradients = np.random.default_rng(0).normal(size=40)
    named = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "momentum_decay": 4e-3}
    named |= dict(options)
    expected = written_out(gradients, *named.values())
    optimiser = make_optimiser("nadam_torch", options)
    state, got = optimiser.init(jnp.float32(0)), []
    for gradient in gradients:  # under strict promotion
        direction, state = optimiser.update(jnp.float32(gradient), state)
        got.append(float(direction))
    np.testing.assert_allclose(got, expected, rtol=2e-4)


def test_nadam_torch_is_torchs():
    torch = pytest.importorskip("torch")
    parameters = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    theirs = torch.optim.NAdam([parameters], lr=0.05, betas=(0.95, 0.9))
    expected = []
    for step in range(30):
        theirs.zero_grad()
        parameters.grad = parameters.detach() * (1 + 0.5 * np.cos(step))
        theirs.step()
        expected.append(parameters.detach().numpy().copy())
    path = run(make_optimiser("nadam_torch", (("b1", 0.95), ("b2", 0.9))))
    np.testing.assert_allclose([p["a"] for p in path], expected, atol=1e-5)


def test_optaxs_nadam_is_another():
    ours, other = run(make_optimiser("nadam_torch")), run(make_optimiser("nadam"))
    assert float(jnp.abs(ours[-1]["a"] - other[-1]["a"]).max()) > 1e-3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adamm", (), "did you mean 'adam'"),
        (
            "adam",
            (("beta", 0.9),),
            "option of the optimiser 'adam'.*valid: b1, b2, eps",
        ),
        ("adam", (("learning_rate", 0.9),), "learning_rate"),
        ("nadam_torch", (("b3", 0.9),), "valid: b1, b2, eps, momentum_decay"),
        ("scale_by_adam", (), "unknown optimiser"),
        ("nadam_torch", (("b1", 1.5),), "b1=1.5"),
    ],
)
def test_unknown_names_and_options_are_named(name, options, message):
    with pytest.raises(InputError, match=message):
        make_optimiser(name, options)
