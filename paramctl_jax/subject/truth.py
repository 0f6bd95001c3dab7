"""What a simulated site answers without noise: linear, mixed, shaped, or by chance."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Key

from paramctl_jax.encoding import FeatureBlocks, extract_features, predict_features
from paramctl_jax.subject.noise import generator
from paramctl_jax.subject.shapes import static_nonlinearity
from paramctl_jax.types import Backbone, ImageSet

Responses = Float[np.ndarray, "image site"]


@runtime_checkable
class Truth(Protocol):
    """Noise-free responses of named sites to any images."""

    @property
    def site_ids(self) -> tuple[str, ...]:
        """One unique id per site."""
        ...

    @property
    def units(self) -> str:
        """Of the responses."""
        ...

    def responses(self, images: ImageSet, *, progress: bool = False) -> Responses:
        """To 8-bit images, in their order."""
        ...


@dataclasses.dataclass(frozen=True)
class LinearTruth:
    """``u_s(x) = w_s . phi(x) + b_s``, read from one layer of a network.

    Attributes:
      backbone: whose features are read.
      readout: the layer.
      site_ids: one per site.
      weights: true axes in raw features, order channel, height, width.
      bias: one per site.
      units: of the responses.
    """

    backbone: Backbone
    readout: str
    site_ids: tuple[str, ...]
    weights: Float[np.ndarray, "site feature"]
    bias: Float[np.ndarray, " site"]
    units: str = "z"

    def responses(self, images: ImageSet, *, progress: bool = False) -> Responses:
        """To 8-bit images, in their order."""
        features = extract_features(
            self.backbone, images, self.readout, progress=progress
        )
        return predict_features(FeatureBlocks(features), self.weights, self.bias)


@dataclasses.dataclass(frozen=True)
class MixedTruth:
    """``u_s(x) = a_s first_s(x) + b_s second_s(x)``: sites between two networks.

    Attributes:
      first, second: of the same sites.
      shares: a and b of every site.
    """

    first: Truth
    second: Truth
    shares: Float[np.ndarray, "2 site"]

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Those of both parts."""
        return self.first.site_ids

    @property
    def units(self) -> str:
        """Those of both parts."""
        return self.first.units

    def responses(self, images: ImageSet, *, progress: bool = False) -> Responses:
        """To 8-bit images, in their order."""
        parts = (self.first, self.second)
        a, b = (part.responses(images, progress=progress) for part in parts)
        return self.shares[0] * a + self.shares[1] * b


def mixed(first: Truth, second: Truth, rho: float, natural: ImageSet) -> MixedTruth:
    """Between two truths: ``(rho u_1 + sqrt(1 - rho^2) u_2) / SD``, SD 1 in nature.

    With ``r`` the correlation of the two over natural images, the SD of the sum is
    ``sqrt(1 + 2 rho sqrt(1 - rho^2) r)``.

    Args:
      first: truth with mean 0 and SD 1 over `natural`.
      second: another of the same sites, likewise.
      rho: share of the first, in [0, 1]; 1 is the first alone.
      natural: images that define the SD.
    """
    shares = np.asarray([rho, np.sqrt(1 - rho**2)])
    parts = np.stack([part.responses(natural) for part in (first, second)])
    sd = np.tensordot(shares, parts, axes=1).std(axis=0)
    return MixedTruth(first, second, shares[:, None] / sd)


@dataclasses.dataclass(frozen=True)
class ShapedTruth:
    """``baseline + gain F(u_s(x))``, as a firing rate not below 0.

    Attributes:
      drive: u, with mean 0 and SD 1 over natural images.
      shape: F, a name of `shapes.SHAPES`.
      baseline: rate without drive.
      gain: rate per unit of F.
      units: of the response.
      rectified: whether nothing is below 0.
    """

    drive: Truth
    shape: str = "linear"
    baseline: float = 10.0
    gain: float = 12.0
    units: str = "spikes/s"
    rectified: bool = True

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Those of the drive."""
        return self.drive.site_ids

    def responses(self, images: ImageSet, *, progress: bool = False) -> Responses:
        """To 8-bit images, in their order."""
        drive = self.drive.responses(images, progress=progress)
        rate = self.baseline + self.gain * static_nonlinearity(self.shape, drive)
        return np.maximum(0.0, rate) if self.rectified else rate


@dataclasses.dataclass(frozen=True)
class UnpredictableTruth:
    """A standard normal number per image and site that follows from no feature of it.

    Reliable, for equal bytes have equal responses, and beyond every model, for bytes
    that differ at all have unrelated ones: what a score makes of it is chance, or a
    leak.

    Attributes:
      site_ids: one per site.
      key: what the numbers hang on, beside the bytes.
      units: of the responses.
    """

    site_ids: tuple[str, ...]
    key: Key[Array, ""]
    units: str = "z"

    def responses(self, images: ImageSet, *, progress: bool = False) -> Responses:
        """To 8-bit images, in their order."""
        del progress  # takes no time
        rows = [
            generator(self.key, hashlib.sha256(image.tobytes()).hexdigest())
            for image in images.pixels
        ]
        n_sites = len(self.site_ids)
        drawn = [row.standard_normal(n_sites) for row in rows]
        return np.asarray(drawn).reshape(len(images), n_sites)
