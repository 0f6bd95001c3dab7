"""Optimisers as directions: what is multiplied by a step size and subtracted.

    direction, state = optimiser.update(gradient, state, theta)
    theta <- theta - eta * gain * direction

The engine scales the step after the optimiser, for (N)Adam would divide out of the
gradient whatever was multiplied in before. Every optimiser of optax that needs nothing
but a gradient is there by its name, and PyTorch's NAdam, which optax's is not.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from paramctl_jax.types import InputError, unknown

NADAM_TORCH = "nadam_torch"
# one adds random noise, the other is a deprecated name
_EXCLUDED = ("noisy_sgd", "optimistic_adam")


class NAdamState(NamedTuple):
    """State of `nadam_torch`: steps, product of the momenta, and two moments."""

    count: Int[Array, ""]
    product: Float[Array, ""]
    first: PyTree
    second: PyTree


def nadam_torch(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    momentum_decay: float = 4e-3,
) -> optax.GradientTransformation:
    """The direction of ``torch.optim.NAdam`` with its momentum schedule.

    With ``mu_t = b1 (1 - .96^(t psi) / 2)`` and ``P_t = mu_1 ... mu_t``,

        m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) g^2,
        direction = (mu_(t+1) m / (1 - P_(t+1)) + (1 - mu_t) g / (1 - P_t))
                    / (sqrt(v / (1 - b2^t)) + eps)

    optax's ``nadam`` has a constant momentum in its place.

    Args:
      b1: decay of the first moment.
      b2: decay of the second moment.
      eps: added to the root.
      momentum_decay: ``psi`` of the schedule.

    Returns:
      Directions to be descended, positive along the gradient.

    Raises:
      InputError: a decay that is none.

    Example:
      >>> optimiser = nadam_torch()
      >>> gradient = jnp.array([3.0, -1.0])
      >>> direction, _ = optimiser.update(gradient, optimiser.init(gradient))
      >>> direction.round(4)
      Array([ 1.0564, -1.0564], dtype=float32)

    Source: Dozat 2016; PyTorch's documentation of NAdam.
    """
    for option, value in {"b1": b1, "b2": b2}.items():
        if not 0 <= value < 1:
            raise InputError(f"{NADAM_TORCH}: {option}={value}, expected 0 <= . < 1")

    def momentum(count: Array) -> Array:
        return b1 * (1 - 0.5 * 0.96 ** (count.astype(jnp.float32) * momentum_decay))

    def init(params: PyTree) -> NAdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return NAdamState(jnp.int32(0), jnp.float32(1), zeros, zeros)

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None
    ) -> tuple[PyTree, NAdamState]:
        del params
        count = state.count + 1
        now, after = momentum(count), momentum(count + 1)
        product = state.product * now
        first = _average(state.first, updates, b1)
        second = _average(state.second, jax.tree.map(jnp.square, updates), b2)
        correction = 1 - b2 ** count.astype(jnp.float32)

        def direction(g: Array, m: Array, v: Array) -> Array:
            looked_ahead = after / (1 - product * after) * m
            looked_ahead = looked_ahead + (1 - now) / (1 - product) * g
            return looked_ahead / (jnp.sqrt(v / correction) + eps)

        directions = jax.tree.map(direction, updates, first, second)
        return directions, NAdamState(count, product, first, second)

    return optax.GradientTransformation(init, update)


def _average(average: PyTree, new: PyTree, decay: float) -> PyTree:
    return jax.tree.map(lambda a, n: a + (1 - decay) * (n - a), average, new)


def make_optimiser(
    name: str, options: tuple[tuple[str, Any], ...] = ()
) -> optax.GradientTransformation:
    """The optimiser of that name with a unit step, as directions to be descended.

    ``"adam"`` is ``optax.scale_by_adam``; ``"sgd"`` returns the gradient itself.

    Args:
      name: one of `OPTIMISERS`: an optimiser of optax, or ``"nadam_torch"``.
      options: its keyword arguments as pairs, e.g. ``(("b1", 0.95), ("b2", 0.9))``.

    Returns:
      A transformation from gradients to directions.

    Raises:
      InputError: no such optimiser, no such option, or a value it refuses.

    Example:
      >>> optimiser = make_optimiser("sgd", (("momentum", 0.5),))
      >>> gradient = jnp.array([3.0, -1.0])
      >>> optimiser.update(gradient, optimiser.init(gradient))[0]
      Array([ 3., -1.], dtype=float32)
    """
    if name not in OPTIMISERS:
        raise unknown(name, OPTIMISERS, "optimiser")
    valid = _options(_MAKERS[name])
    for option, _ in options:
        if option not in valid:
            raise unknown(option, valid, f"option of the optimiser {name!r}:")
    try:
        if name == NADAM_TORCH:
            return nadam_torch(**dict(options))
        descent = _MAKERS[name](learning_rate=1.0, **dict(options))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"optimiser {name!r} refuses the options {dict(options)}: {error}"
        ) from error
    return optax.chain(descent, optax.scale(-1.0))


def _options(maker: Callable[..., Any]) -> tuple[str, ...]:
    names = inspect.signature(maker).parameters
    return tuple(name for name in names if name != "learning_rate")


def _makers() -> Mapping[str, Callable[..., Any]]:
    """The optimisers of optax: functions whose one required argument is the step."""
    found = {}
    for name, maker in vars(optax).items():
        function = inspect.isfunction(maker) or isinstance(maker, functools.partial)
        if function and not name.startswith("scale_by_") and name not in _EXCLUDED:
            parameters = inspect.signature(maker).parameters.values()
            required = [p.name for p in parameters if p.default is p.empty]
            if required == ["learning_rate"]:
                found[name] = maker
    return dict(sorted(found.items())) | {NADAM_TORCH: nadam_torch}


_MAKERS = _makers()
OPTIMISERS = tuple(_MAKERS)
