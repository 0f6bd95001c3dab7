"""Train a small ResNet, standard or adversarially robust, epoch by epoch.

The first part of the training sees smaller random crops, which costs less. Every epoch
is a checkpoint, from which an interrupted training goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import safetensors.numpy
from jaxtyping import PRNGKeyArray

from paramctl_jax import artifacts
from paramctl_jax.backbones import checkpoint
from paramctl_jax.progress import bar
from paramctl_jax.training.attack import Attack
from paramctl_jax.training.dataset import TRAIN, VALIDATION, LabelledImages
from paramctl_jax.training.evaluate import accuracy
from paramctl_jax.training.recipe import Recipe, check_recipe
from paramctl_jax.training.steps import (
    TrainState,
    initial_state,
    optimizer_of,
    train_step,
)
from paramctl_jax.types import Network

_WATCHED = 500  # validation images attacked after every epoch


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
    check_recipe(recipe, network, data[TRAIN])
    steps = len(data[TRAIN]) // recipe.batch_size
    optimizer = optimizer_of(recipe, steps * recipe.epochs)
    state = initial_state(network, optimizer, jax.random.key(seed))
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


def _manager(folder: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=2, create=True, cleanup_tmp_directories=True
    )
    return ocp.CheckpointManager(folder.resolve(), options=options)


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
    step = partial(train_step, network, optimizer, recipe, crop, recipe.epochs * steps)
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
