"""One sweep, checked, before anything is computed."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray, PyTree

from paramctl_jax import images
from paramctl_jax.backbones import check_readout
from paramctl_jax.backbones.precision import low_precision
from paramctl_jax.synthesis.engine import Engine
from paramctl_jax.synthesis.gradient import Reader, Shared
from paramctl_jax.synthesis.settings import Settings
from paramctl_jax.synthesis.tables import Grid, check_levels
from paramctl_jax.types import EncodingModel, ImageSet, InputError, indices_of


@dataclasses.dataclass(frozen=True)
class LanePlan(abc.ABC):
    """Lanes to be optimised, checked, before anything is computed.

    Attributes:
      seeds: at canvas size.
      grid: the lanes.
      engine: the programs.
      slots: per device.
      devices: that share the lanes.
    """

    seeds: ImageSet
    grid: Grid
    engine: Engine
    slots: int
    devices: tuple[Any, ...]

    @property
    def total_slots(self) -> int:
        """Of all devices together."""
        return self.slots * len(self.devices)

    @abc.abstractmethod
    def shared(self, key: PRNGKeyArray) -> Shared:
        """What all lanes share, once on every device."""

    @abc.abstractmethod
    def expand(self, lane: Mapping[str, Any]) -> dict[str, Any]:
        """Rows of a table with what each lane brings along.

        Args:
          lane: with ``site`` and ``seed``, one entry per slot.
        """

    def seed_images(self, lane: Mapping[str, Any]) -> Float[np.ndarray, "slot s s 3"]:
        """The seed image of each row, sRGB in [0, 1]."""
        return images.to_float(self.seeds.pixels[np.asarray(lane["seed"])])


@dataclasses.dataclass(frozen=True)
class Plan(LanePlan):
    """One sweep, checked, before anything is computed.

    Attributes:
      model: whose axes are followed.
    """

    model: EncodingModel

    def part(self, sites: slice, seeds: slice) -> Plan:
        """Some sites and seed images of the sweep: their lanes end with equal bytes."""
        grid = self.grid
        some = Grid(
            grid.site_ids[sites],
            grid.seed_ids[seeds],
            grid.levels[sites],
            grid.tolerance[sites],
            grid.slow[sites],
        )
        chosen = self.seeds.select(some.seed_ids)
        return dataclasses.replace(self, seeds=chosen, grid=some)

    def shared(self, key: PRNGKeyArray) -> Shared:
        """What all lanes share, once on every device."""
        return shared_weights(self.model.backbone.variables, self.engine.settings, key)

    def expand(self, lane: Mapping[str, Any]) -> dict[str, Any]:
        """Rows of a table with the seed image and the read-out of each."""
        rows = indices_of(self.grid.site_ids, self.model.site_ids, "sites")
        rows = rows[np.asarray(lane["site"])]
        return {
            **lane,
            "seed_image": self.seed_images(lane),
            "weights": self.model.weights[rows].astype(np.float32),
            "bias": self.model.bias[rows].astype(np.float32),
        }


def shared_weights(variables: PyTree, settings: Settings, key: PRNGKeyArray) -> Shared:
    """Weights on the device, those of the search in their precision, and the key."""
    variables = jax.tree.map(jnp.asarray, variables)
    low = settings.precision == "bfloat16"
    return Shared(
        variables=variables,
        search=low_precision(variables) if low else variables,
        root=key,
    )


def make_plan(
    model: EncodingModel,
    seeds: ImageSet,
    levels: Float[np.ndarray, "site level"],
    *,
    sites: Sequence[str] | None = None,
    tolerance: float = 0.005,
    slow: float = 0.03,
    slots: int = 16,
    devices: Sequence[Any] | None = None,
    **settings: Any,
) -> Plan:
    """Checks what `accentuate` was asked for; see there."""
    site_ids = tuple(model.site_ids if sites is None else sites)
    indices_of(site_ids, model.site_ids, f"sites of {model.name}")
    levels = np.asarray(levels, np.float64)
    check_levels(levels, site_ids)
    check_seeds(seeds, [model])
    check_readout(model.backbone, model.readout)
    check_pace(slots, tolerance, slow)
    extent = np.ptp(levels, axis=1)
    reader = Reader(model.backbone.network, model.readout, Settings(**settings))
    return Plan(
        model=model,
        seeds=seeds,
        grid=Grid(
            site_ids, seeds.stimulus_ids, levels, tolerance * extent, slow * extent
        ),
        engine=Engine(reader, seeds.pixels.shape[1]),
        slots=slots,
        devices=tuple(jax.local_devices() if devices is None else devices),
    )


def check_pace(slots: int, tolerance: float, slow: float) -> None:
    """Refuses settings of lanes that are out of range.

    Raises:
      InputError: likewise.
    """
    if slots < 1 or not tolerance > 0 or not slow > 0:
        raise InputError(
            f"synthesis settings: slots={slots}, tolerance={tolerance}, slow={slow}; "
            "expected at least 1 slot, and tolerance and slow above 0"
        )


def check_seeds(seeds: ImageSet, models: Sequence[EncodingModel]) -> None:
    """Refuses seed images that are there twice, or that a model was fitted on.

    Raises:
      InputError: likewise.
    """
    if len(set(seeds.stimulus_ids)) < max(1, len(seeds)):
        raise InputError("seeds: expected at least one seed image, each once")
    for model in models:
        seen = sorted(set(seeds.stimulus_ids) & set(model.evaluation.train_ids))
        if seen:
            raise InputError(
                f"seeds: {len(seen)} of {len(seeds)} were among the fit's training "
                f"images of {model.name}, first {seen[0]!r}; hold them out with "
                "images.drop(seeds)"
            )
