"""One step of training: SGD with Nesterov momentum on perturbed, augmented images.

Label smoothing, a linear warm-up and a linear decay. The robust twin differs in nothing
but the perturbation of its images.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct, traverse_util
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from paramctl_jax import images
from paramctl_jax.backbones import convolution
from paramctl_jax.training.attack import perturb
from paramctl_jax.training.recipe import Recipe
from paramctl_jax.types import Network

Images = Float[Array, "image height width 3"]
Labels = Int[Array, " image"]


@struct.dataclass
class TrainState:
    """Everything that a resumed training needs, as one pytree.

    Attributes:
      step: updates made, an int32 scalar (untyped: Orbax maps this tree to others).
      params, batch_stats: the network's variables.
      opt_state: momentum and schedule.
    """

    step: Any
    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree

    @property
    def variables(self) -> PyTree:
        """As the network takes them."""
        return {"params": self.params, "batch_stats": self.batch_stats}


@lru_cache(maxsize=8)  # equal recipes give equal objects, hence one compiled step
def optimizer_of(recipe: Recipe, total: int) -> optax.GradientTransformation:
    """The optimiser of `total` steps: its rate rises to the peak, and falls to 0."""
    rising = int(recipe.warmup * total)
    peak = recipe.learning_rate
    schedule = optax.join_schedules(
        [
            optax.linear_schedule(0.0, peak, rising),
            optax.linear_schedule(peak, 0.0, total - rising),
        ],
        [rising],
    )
    return optax.chain(
        optax.add_decayed_weights(recipe.weight_decay, mask=kernels),
        optax.sgd(schedule, momentum=recipe.momentum, nesterov=True),
    )


def kernels(params: PyTree) -> PyTree:
    """True for kernels, which decay, False for biases and batch norms."""
    flat = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict({p: p[-1] == "kernel" for p in flat})


def initial_state(
    network: Network, optimizer: optax.GradientTransformation, key: PRNGKeyArray
) -> TrainState:
    """Random weights at step 0."""
    variables = _init(network, key)
    params, stats = variables["params"], variables["batch_stats"]
    return TrainState(jnp.int32(0), params, stats, optimizer.init(params))


@partial(jax.jit, static_argnums=0)
def _init(network: Network, key: PRNGKeyArray) -> PyTree:
    shape = (1, network.input_size, network.input_size, 3)
    return network.module.init(key, jnp.zeros(shape))


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4), donate_argnums=(5,))
@convolution.outside_loops()
def train_step(
    network: Network,
    optimizer: optax.GradientTransformation,
    recipe: Recipe,
    crop: int,
    total: int,
    state: TrainState,
    pixels: Array,
    labels: Labels,
    key: PRNGKeyArray,
) -> tuple[TrainState, Float[Array, " 2"]]:
    """One SGD step on a batch of 8-bit images; returns the mean loss and accuracy."""
    augment_key, attack_key = jax.random.split(key)
    batch = augment(pixels, crop, recipe.pad, augment_key)
    targets = optax.smooth_labels(
        jax.nn.one_hot(labels, network.module.classes), recipe.label_smoothing
    )
    module = network.module.clone(train=True)

    def loss(params: PyTree, batch: Images) -> tuple[Array, tuple[Array, PyTree]]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        normal = images.normalise(batch, network)
        out, updated = module.apply(variables, normal, mutable=["batch_stats"])
        value = optax.softmax_cross_entropy(out["fc"], targets).mean()
        return value, (out["fc"], updated["batch_stats"])

    step = (state.step + 1).astype(jnp.float32)
    ramp = jnp.minimum(1.0, step / max(1.0, recipe.ramp * total))
    batch = perturb(
        recipe.attack, lambda x: loss(state.params, x)[0], batch, attack_key, ramp
    )
    (value, (logits, stats)), grads = jax.value_and_grad(loss, has_aux=True)(
        state.params, batch
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    correct = jnp.mean((logits.argmax(-1) == labels).astype(jnp.float32))
    state = TrainState(state.step + 1, params, stats, opt_state)
    return state, jnp.stack([value, correct])


def augment(pixels: Array, crop: int, pad: int, key: PRNGKeyArray) -> Images:
    """Random crops (after a reflected border, unless small) and left-right flips."""
    batch = pixels.astype(jnp.float32) / 255
    if crop == batch.shape[1]:
        border = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        batch = jnp.pad(batch, border, mode="reflect")
    room = batch.shape[1] - crop + 1
    corner_key, flip_key = jax.random.split(key)
    corners = jax.random.randint(corner_key, (batch.shape[0], 2), 0, room)
    flips = jax.random.bernoulli(flip_key, 0.5, (batch.shape[0],))

    def one(image: Array, corner: Array, flip: Array) -> Array:
        start = (corner[0], corner[1], jnp.zeros_like(corner[0]))
        cut = jax.lax.dynamic_slice(image, start, (crop, crop, 3))
        return jnp.where(flip, cut[:, ::-1], cut)

    return jax.vmap(one)(batch, corners, flips)
