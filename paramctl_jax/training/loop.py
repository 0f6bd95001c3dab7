"""Train a small ResNet, standard or adversarially robust.

SGD with Nesterov momentum, label smoothing, a linear warm-up and a linear decay; the
first part of the training sees smaller random crops, which costs less. The robust
twin differs in nothing but the perturbation of its training images.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import safetensors.numpy
from flax import struct, traverse_util
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from paramctl_jax import artifacts, images
from paramctl_jax.backbones import checkpoint, convolution
from paramctl_jax.progress import bar
from paramctl_jax.training.attack import Attack, perturb
from paramctl_jax.training.dataset import TRAIN, VALIDATION, LabelledImages
from paramctl_jax.training.evaluate import accuracy
from paramctl_jax.types import InputError, Network

Images = Float[Array, "image height width 3"]
Labels = Int[Array, " image"]
_WATCHED = 500  # validation images attacked after every epoch


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
      epochs: passes over the training images.
      batch_size: images per step.
      learning_rate: its peak.
      warmup: fraction of the steps with a rising learning rate.
      momentum: Nesterov's.
      weight_decay: on kernels, not on biases or batch norms.
      label_smoothing: mass moved from the label to all classes.
      small_crop: side of the crops in the first part of the training.
      small_fraction: length of that part, as a fraction of the epochs.
      pad: reflected border before the full-size crop.
      ramp: fraction of the steps over which the attack's radius grows from 0.
      attack: what the training images are perturbed with.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 0.2
    warmup: float = 0.15
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    small_crop: int = 48
    small_fraction: float = 0.6
    pad: int = 6
    ramp: float = 0.25
    attack: Attack = dataclasses.field(default_factory=Attack)


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


def train(
    network: Network,
    data: Mapping[str, LabelledImages],
    recipe: Recipe,
    *,
    workdir: str | Path,
    seed: int,
    watch: Attack | None = None,
    progress: bool = True,
) -> TrainState:
    """Trains from random weights, or from the last finished epoch in `workdir`.

    Args:
      network: the architecture, its input size and normalisation.
      data: as `load_labelled` gives it.
      recipe: see `Recipe`.
      workdir: receives ``checkpoints/`` and ``log.jsonl`` (one line per epoch).
      seed: of initial weights, order, augmentation and attack.
      watch: an attack whose accuracy is logged as well; training against one step can
        fail under several from one epoch to the next, unseen by the clean accuracy.
      progress: show a bar per epoch.

    Returns:
      The trained state. Equal arguments give an equal state, interrupted or not.

    Raises:
      InputError: a recipe that does not fit the images or the network.
    """
    _check(recipe, network, data[TRAIN])
    steps = len(data[TRAIN]) // recipe.batch_size
    optimizer = _optimizer(recipe, steps * recipe.epochs)
    state = _initial(network, optimizer, jax.random.key(seed))
    with _manager(Path(workdir) / "checkpoints") as manager:
        first = 0
        if manager.latest_step() is not None:
            first = int(manager.latest_step())
            state = manager.restore(first, args=ocp.args.StandardRestore(state))
        for epoch in range(first, recipe.epochs):
            key = jax.random.fold_in(jax.random.key(seed + 1), epoch)
            state, metrics = _epoch(
                network, optimizer, recipe, state, data, epoch, key, progress
            )
            held_out = _held_out(network, state, data[VALIDATION], watch)
            line = {"epoch": epoch + 1, **metrics, **held_out}
            _log(Path(workdir) / "log.jsonl", line)
            manager.save(epoch + 1, args=ocp.args.StandardSave(state))
            manager.wait_until_finished()
    return state


def _check(recipe: Recipe, network: Network, part: LabelledImages) -> None:
    size = network.input_size
    checks = {
        f"epochs={recipe.epochs}, expected at least 1": recipe.epochs >= 1,
        f"batch_size={recipe.batch_size}, expected 1 to {len(part)} (all training "
        "images)": 1 <= recipe.batch_size <= len(part),
        f"small_crop={recipe.small_crop}, expected an even number up to {size}": (
            2 <= recipe.small_crop <= size and recipe.small_crop % 2 == 0
        ),
        f"pad={recipe.pad}, expected 0 to {size - 1}": 0 <= recipe.pad < size,
        f"images of {part.pixels.shape[1]} pixels, expected {size}": (
            part.pixels.shape[1] == size
        ),
        f"{len(part.classes)} classes, expected {network.module.classes}": (
            len(part.classes) == network.module.classes
        ),
    }
    for problem, fine in checks.items():
        if not fine:
            raise InputError(f"training recipe: {problem}")


def _manager(folder: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=2, create=True, cleanup_tmp_directories=True
    )
    return ocp.CheckpointManager(folder.resolve(), options=options)


@lru_cache(maxsize=8)  # equal recipes give equal objects, hence one compiled step
def _optimizer(recipe: Recipe, total: int) -> optax.GradientTransformation:
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
        optax.add_decayed_weights(recipe.weight_decay, mask=_kernels),
        optax.sgd(schedule, momentum=recipe.momentum, nesterov=True),
    )


def _kernels(params: PyTree) -> PyTree:
    flat = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict({p: p[-1] == "kernel" for p in flat})


def _initial(
    network: Network, optimizer: optax.GradientTransformation, key: PRNGKeyArray
) -> TrainState:
    variables = _init(network, key)
    params, stats = variables["params"], variables["batch_stats"]
    return TrainState(jnp.int32(0), params, stats, optimizer.init(params))


@partial(jax.jit, static_argnums=0)
def _init(network: Network, key: PRNGKeyArray) -> PyTree:
    shape = (1, network.input_size, network.input_size, 3)
    return network.module.init(key, jnp.zeros(shape))


def _epoch(
    network: Network,
    optimizer: optax.GradientTransformation,
    recipe: Recipe,
    state: TrainState,
    data: Mapping[str, LabelledImages],
    epoch: int,
    key: PRNGKeyArray,
    progress: bool,
) -> tuple[TrainState, dict[str, int | float]]:
    """One pass over the training images in a new order."""
    part, start = data[TRAIN], time.monotonic()
    steps = len(part) // recipe.batch_size
    order = np.asarray(jax.random.permutation(jax.random.fold_in(key, 0), len(part)))
    small = epoch < round(recipe.small_fraction * recipe.epochs)
    crop = recipe.small_crop if small else network.input_size
    step = partial(_step, network, optimizer, recipe, crop, recipe.epochs * steps)
    sums = np.zeros(2)
    label = f"epoch {epoch + 1}/{recipe.epochs}"
    for index in bar(range(steps), label=label, show=progress):
        rows = order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
        batch = part.pixels[rows], part.labels[rows]
        state, metrics = step(state, *batch, jax.random.fold_in(key, index + 1))
        sums += np.asarray(metrics)
    loss, correct = (float(total / steps) for total in sums)
    return state, {
        "crop": crop,
        "train_loss": round(loss, 4),
        "train_accuracy": round(correct, 4),
        "seconds": round(time.monotonic() - start, 1),
    }


def _held_out(
    network: Network, state: TrainState, part: LabelledImages, watch: Attack | None
) -> dict[str, float]:
    """Accuracy on the validation images, and on some of them under attack."""
    found = {"val_accuracy": accuracy(network, state.variables, part)}
    if watch is not None:
        attacked = accuracy(network, state.variables, part, watch, _WATCHED)
        found["attacked_accuracy"] = attacked
    return {name: round(value, 4) for name, value in found.items()}


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4), donate_argnums=(5,))
@convolution.outside_loops()
def _step(
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
    batch = _augment(pixels, crop, recipe.pad, augment_key)
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


def _augment(pixels: Array, crop: int, pad: int, key: PRNGKeyArray) -> Images:
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


def _log(path: Path, line: Mapping[str, Any]) -> None:
    """Appends one JSON line; an epoch that is trained again replaces its line."""
    kept = []
    if path.exists():
        kept = [json.loads(text) for text in path.read_text().splitlines()]
    kept = [old for old in kept if old["epoch"] < line["epoch"]]
    text = "".join(json.dumps(entry) + "\n" for entry in [*kept, line])
    artifacts.atomic_write(path, text.encode())


def export(state: TrainState, path: str | Path, dtype: Any = np.float16) -> Path:
    """Writes the weights under torch names, ready for `load_backbone`."""
    tensors = {
        name: np.ascontiguousarray(tensor)
        for name, tensor in checkpoint.to_tensors(state.variables, dtype).items()
    }
    return artifacts.atomic_write(path, safetensors.numpy.save(tensors))
