"""A simulated subject from its settings: truth, reliability and sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from paramctl_jax.subject.axes import AXES, random_truth, site_names
from paramctl_jax.subject.drift import Drift
from paramctl_jax.subject.noise import check_kind, noise_of_reliability
from paramctl_jax.subject.shapes import SHAPES
from paramctl_jax.subject.subject import Subject, check_shared
from paramctl_jax.subject.truth import (
    ShapedTruth,
    Truth,
    UnpredictableTruth,
    mixed,
)
from paramctl_jax.types import Backbone, ImageSet, InputError, unknown


def linear_subject(
    backbone: Backbone,
    images: ImageSet,
    readout: str,
    *,
    n_sites: int,
    components: int,
    ncsnr: tuple[float, float],
    key: Key[Array, ""],
    progress: bool = True,
) -> Subject:
    """Random axes in the leading principal components of natural images' features.

    The simplest `simulated_subject`: linear, with Gaussian trial noise of the SD
    ``1 / ncsnr`` and sessions that do not differ.

    Args:
      backbone: the subject's own network.
      images: natural images that define the components and the natural SD.
      readout: layer of `backbone`.
      n_sites: at least 1.
      components: at least 1, fewer than images.
      ncsnr: SD of the signal over that of the noise, log-uniform over the sites from
        the first to the second, least reliable first; above 0.
      key: randomness of the axes.
      progress: whether to show a progress bar.

    Returns:
      The subject, with sites ``sim_00`` and so on, in units of natural SDs ("z").

    Raises:
      InputError: a number out of range, or features with fewer dimensions.

    Example:
      ``linear_subject(net, images, "layer3.1", n_sites=8, components=60,
      ncsnr=(.5, 1.5), key=key)``
    """
    return simulated_subject(
        backbone,
        images,
        readout,
        n_sites=n_sites,
        components=components,
        ncsnr=ncsnr,
        key=key,
        progress=progress,
    )


def simulated_subject(
    backbone: Backbone,
    images: ImageSet,
    readout: str,
    *,
    n_sites: int,
    ncsnr: tuple[float, float],
    key: Key[Array, ""],
    axes: str = "components",
    components: int = 30,
    channels: int = 8,
    second: Backbone | None = None,
    second_readout: str = "",
    rho: float = 0.5,
    predictable: bool = True,
    shape: str = "linear",
    noise: str = "gaussian",
    fano: float = 1.0,
    shared: float = 0.0,
    gain_drift: float = 0.0,
    offset_drift: float = 0.0,
    loss: float = 0.0,
    progress: bool = True,
) -> Subject:
    """Sites with a known truth that is drawn at random, for rehearsing an experiment.

    With u_s the truth of site s, mean 0 and SD 1 over natural images, and F its static
    nonlinearity, the response is ``F(u_s)`` plus Gaussian noise in natural SDs ("z"),
    or a spike count around ``max(0, 10 + 12 F(u_s))`` spikes/s. The noise gives each
    site its ncsnr over the natural images.

    Args:
      backbone: the subject's own network.
      images: natural images that define mean, SD and components.
      readout: layer of `backbone`.
      n_sites: at least 1, at most the layer's features.
      ncsnr: SD of the signal over that of the noise, log-uniform over the sites from
        the first to the second, least reliable first; above 0.
      key: randomness of the truth.
      axes: how the true axes are drawn, see `random_truth`.
      components: for ``axes="components"``.
      channels: for ``axes="channels"``.
      second: a further network, for sites between the two: ``rho u_1 +
        sqrt(1 - rho^2) u_2``, again with SD 1.
      second_readout: layer of `second`; that of the first if empty.
      rho: weight of the first network, in [0, 1]; its square is its share of the
        variance where the two are uncorrelated.
      predictable: False for sites whose responses hang on the image's bytes alone, the
        null subject.
      shape: F, one of `SHAPES`.
      noise: ``gaussian``, ``poisson`` or ``overdispersed``.
      fano: variance of counts over their mean, above 1, if overdispersed.
      shared: correlation of two sites' noise within a trial, in [0, 1).
      gain_drift: SD of the log gain between sessions.
      offset_drift: SD of the offset between sessions, in natural SDs.
      loss: probability that a site is lost in a later session, in [0, 1).
      progress: whether to show a progress bar.

    Returns:
      The subject, with sites ``sim_00`` and so on.

    Raises:
      InputError: a number out of range, or a truth that cannot be drawn.

    Example:
      ``simulated_subject(net, images, "layer3.0", n_sites=8, ncsnr=(.3, 1.2), key=key,
      second=other, rho=.5, noise="poisson", gain_drift=.1, offset_drift=.3)``
    """
    wanted = reliabilities(ncsnr, n_sites)
    _check(shape, rho)
    draw = {"n_sites": n_sites, "axes": axes, "progress": progress}
    draw |= {"components": components, "channels": channels}
    truth: Truth
    if not predictable:
        truth = UnpredictableTruth(site_names(n_sites), key)
    else:
        truth = random_truth(backbone, images, readout, key=key, **draw)
    if predictable and second is not None:
        own = jax.random.fold_in(key, 1)
        layer = second_readout or readout
        other = random_truth(second, images, layer, key=own, **draw)
        truth = mixed(truth, other, rho, images)
    return noisy_subject(
        _shaped(truth, shape, counts=noise != "gaussian"),
        images,
        wanted,
        noise=noise,
        fano=fano,
        shared=shared,
        drift=Drift(gain_drift, offset_drift, loss),
    )


def noisy_subject(
    truth: Truth,
    images: ImageSet,
    ncsnr: Float[np.ndarray, " site"],
    *,
    noise: str = "gaussian",
    fano: float = 1.0,
    shared: float = 0.0,
    drift: Drift | None = None,
) -> Subject:
    """Any truth with trial noise of the wanted reliability.

    Args:
      truth: noise-free responses.
      images: natural images over which reliability is meant.
      ncsnr: SD of the signal over that of the noise, one per site, above 0.
      noise: its kind, see `simulated_subject`.
      fano: variance of counts over their mean, if overdispersed.
      shared: correlation of two sites' noise within a trial.
      drift: between sessions.

    Returns:
      The subject.

    Raises:
      InputError: as `noise_of_reliability`.
    """
    natural = truth.responses(images)
    return Subject(
        source=truth,
        noise=noise_of_reliability(noise, natural, ncsnr, fano),
        shared=shared,
        drift=drift or Drift(),
        natural_sd=natural.std(axis=0),
    )


def _shaped(truth: Truth, shape: str, counts: bool) -> Truth:
    """Rates where spikes are counted; z where noise is Gaussian."""
    if counts:
        return ShapedTruth(truth, shape)
    if shape == "linear":
        return truth
    return ShapedTruth(truth, shape, 0.0, 1.0, truth.units, rectified=False)


def reliabilities(ncsnr: Any, n_sites: int) -> Float[np.ndarray, " site"]:
    """The ncsnr of every site, log-uniform from the lowest to the highest.

    Raises:
      InputError: not above 0, or in another order.
    """
    try:
        low, high = (float(number) for number in ncsnr)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not 0 < low <= high < np.inf:
        raise InputError(
            "ncsnr: expected (lowest, highest) with 0 < lowest <= highest, found "
            f"{ncsnr!r}"
        )
    if n_sites == 1:
        return np.sqrt([low * high])
    return np.geomspace(low, high, max(n_sites, 0))


def check_numbers(given: Mapping[str, Any]) -> None:
    """What of `simulated_subject`'s arguments needs no features to be refused.

    Raises:
      InputError: a number out of range, or an unknown name.
    """
    for name in ("n_sites", "components", "channels"):
        value = given[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(
                f"{name}: expected a whole number of at least 1, found {value!r}"
            )
    reliabilities(given["ncsnr"], given["n_sites"])
    if given["axes"] not in AXES:
        raise unknown(given["axes"], AXES, "kind of a subject's axes")
    _check(given["shape"], given["rho"])
    check_kind(given["noise"], given["fano"])
    Drift(given["gain_drift"], given["offset_drift"], given["loss"])
    check_shared(given["shared"])


def _check(shape: str, rho: float) -> None:
    if shape not in SHAPES:
        raise unknown(shape, SHAPES, "shape of a subject's response")
    if not 0 <= rho <= 1:
        raise InputError(f"rho: expected a weight in [0, 1], found {rho}")
