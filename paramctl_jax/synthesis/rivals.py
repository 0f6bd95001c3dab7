"""Several models at once: the reader and the plan of controversial stimuli.

The engine moves an image until one number reaches a level; here that number comes from
the predictions of several models (`contests`). All else, routes, crops, slots, devices
and determinism, is the engine's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from paramctl_jax import images
from paramctl_jax.synthesis import contests
from paramctl_jax.synthesis.gradient import (
    Axis,
    CropGradient,
    Reader,
    Shared,
    draw_crops,
    mean_over_blocks,
    project,
    take_crops,
)
from paramctl_jax.synthesis.plan import LanePlan, shared_weights
from paramctl_jax.synthesis.settings import Settings
from paramctl_jax.types import EncodingModel, indices_of

Image = Float[Array, "size size 3"]
Scalar = Float[Array, ""]


class RivalAxis(NamedTuple):
    """The read-outs of every model at one site, and what is made of them."""

    axes: tuple[Axis, ...]
    stakes: contests.Stakes


@dataclasses.dataclass(frozen=True)
class RivalReader:
    """Predictions of several models, as one number.

    Attributes:
      members: one reader per model, of equal settings.
      contest: one of `contests.CONTESTS`.
      sharpness: of its softmax.
    """

    members: tuple[Reader, ...]
    contest: str
    sharpness: float

    @property
    def settings(self) -> Settings:
        """Of the search."""
        return self.members[0].settings

    @property
    def input_size(self) -> int:
        """Of the finest of the networks."""
        return max(member.input_size for member in self.members)

    def axis(self, lane: Mapping[str, Any]) -> RivalAxis:
        """The read-outs that a lane brings along."""
        pairs = zip(lane["weights"], lane["bias"], strict=True)
        stakes = contests.Stakes(
            lane["center"], lane["scale"], lane["sign"], lane["aim"]
        )
        return RivalAxis(tuple(Axis(*pair) for pair in pairs), stakes)

    def committed(
        self, shared: Shared, axis: RivalAxis, image: Image
    ) -> contests.Commitments:
        """Commitments of all models to a whole image, in full float32."""
        predictions = [
            member.clean(_own(shared, index), axis.axes[index], image)
            for index, member in enumerate(self.members)
        ]
        return contests.commitments(jnp.stack(predictions), axis.stakes)

    def clean(self, shared: Shared, axis: RivalAxis, image: Image) -> Scalar:
        """What is brought to the lane's level."""
        committed = self.committed(shared, axis, image)
        return contests.standing(self.contest, committed, axis.stakes)

    def gradient(
        self,
        shared: Shared,
        axis: RivalAxis,
        image: Image,
        seed: Image,
        key: PRNGKeyArray,
    ) -> CropGradient:
        """Of the weighted predictions of random crops, the same for every model."""
        del seed  # penalties that compare features are of one network
        committed = self.committed(shared, axis, images.quantise(image))
        weights = jax.lax.stop_gradient(
            contests.weights_of(self.contest, committed, axis.stakes, self.sharpness)
        )

        def block(keys: Key[Array, " crop"]) -> CropGradient:
            mean, pull = jax.vjp(
                lambda image: self._crop_means(shared, axis, image, keys), image
            )
            return CropGradient(mean @ weights, pull(weights)[0], image * 0)

        keys = jax.random.split(key, self.settings.crops)
        return mean_over_blocks(block, keys, self.settings.crops_at_once)

    def _crop_means(
        self,
        shared: Shared,
        axis: RivalAxis,
        image: Image,
        keys: Key[Array, " crop"],
    ) -> contests.Commitments:
        """Mean prediction of every model over crops at the same places."""
        means = []
        for index, member in enumerate(self.members):
            crops = take_crops(member, image, draw_crops(member, keys, image))
            features = member.search(_own(shared, index), crops)
            means.append(jnp.mean(project(features, axis.axes[index])))
        return jnp.stack(means)


def _own(shared: Shared, index: int) -> Shared:
    """The share of one model."""
    return Shared(shared.variables[index], shared.search[index], shared.root)


class RivalRow(NamedTuple):
    """One row of the grid: a site, the model driven up there, and a joint level."""

    site: str
    high: int
    aim: float


@dataclasses.dataclass(frozen=True)
class RivalPlan(LanePlan):
    """Controversial lanes, checked, before anything is computed.

    Attributes:
      models: rivals, two or more.
      rows: of the grid, in its order.
      center, scale: of natural predictions, per model and the model's site.
    """

    models: tuple[EncodingModel, ...]
    rows: tuple[RivalRow, ...]
    center: tuple[np.ndarray, ...]
    scale: tuple[np.ndarray, ...]

    def shared(self, key: PRNGKeyArray) -> Shared:
        """Weights of all models, once on every device."""
        settings = self.engine.settings
        each = [
            shared_weights(m.backbone.variables, settings, key) for m in self.models
        ]
        return Shared(
            variables=tuple(one.variables for one in each),
            search=tuple(one.search for one in each),
            root=key,
        )

    def expand(self, lane: Mapping[str, Any]) -> dict[str, Any]:
        """Rows of a table with the seed image, the read-outs and the stakes of each."""
        rows = [self.rows[row] for row in np.asarray(lane["site"])]
        sites = [row.site for row in rows]
        own = [indices_of(sites, model.site_ids, "sites") for model in self.models]
        pairs = list(zip(self.models, own, strict=True))
        high = np.asarray([row.high for row in rows])
        sign = np.where(high[:, None] == np.arange(len(pairs)), 1.0, -1.0)
        return {
            **lane,
            "seed_image": self.seed_images(lane),
            "weights": tuple(m.weights[i].astype(np.float32) for m, i in pairs),
            "bias": tuple(m.bias[i].astype(np.float32) for m, i in pairs),
            "center": _picked(self.center, own),
            "scale": _picked(self.scale, own),
            "sign": sign.astype(np.float32),
            "aim": np.asarray([row.aim for row in rows], np.float32),
        }


def _picked(
    values: tuple[np.ndarray, ...], own: list[np.ndarray]
) -> Float[np.ndarray, "slot model"]:
    columns = [one[index] for one, index in zip(values, own, strict=True)]
    return np.stack(columns, axis=1).astype(np.float32)
