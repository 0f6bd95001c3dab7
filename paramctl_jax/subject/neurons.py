"""Single neurons of macaque V4 as small networks that others fitted: a known answer.

One model per neuron (Cowley et al. 2023), from an image of 112 x 112 pixels to one
response, see `compact_network`. The networks have nothing to do with any backbone under
test, and no gradient of them is ever taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from paramctl_jax.backbones.tensors import digest
from paramctl_jax.progress import bar
from paramctl_jax.subject.compact_files import neuron_files, read_neuron
from paramctl_jax.subject.compact_network import (
    SIDE,
    Neuron,
    folded,
    of_one_shape,
    respond,
)
from paramctl_jax.subject.drift import Drift
from paramctl_jax.subject.noise import GaussianNoise, check_natural
from paramctl_jax.subject.simulated import reliabilities
from paramctl_jax.subject.subject import Subject
from paramctl_jax.subject.truth import Truth
from paramctl_jax.types import ImageSet, InputError

BATCH = 4  # images per call; 10 or 40 leave the caches and take up to twice as long


@dataclasses.dataclass(frozen=True)
class CompactNeurons:
    """Neurons that respond to 8-bit images, without noise.

    Attributes:
      site_ids: one per neuron, ``site00`` for neuron 0.
      neurons: their weights, all of one shape, so that one program serves them all.
      sha256: of all tensors of their files.
      units: of the responses; about SDs of the real neuron's over natural images.
    """

    site_ids: tuple[str, ...]
    neurons: tuple[Neuron, ...]
    sha256: str
    units: str = "z"

    def responses(
        self, images: ImageSet, *, progress: bool = False
    ) -> Float[np.ndarray, "image site"]:
        """Noise-free responses.

        Args:
          images: 8-bit sRGB, 112 x 112 pixels.
          progress: whether to show a progress bar.

        Returns:
          One response per image and site, from float32 arithmetic.

        Raises:
          InputError: images of another size.

        Example:
          ``compact_neurons(folder, "201025").responses(stimulus_images(stimuli))``
        """
        _check_size(images)
        neurons = jax.device_put(self.neurons)
        found = np.empty((len(images), len(neurons)))
        starts = range(0, len(images), BATCH)
        for first in bar(starts, label="compact neurons", show=progress):
            last = np.minimum(np.arange(first, first + BATCH), len(images) - 1)
            block = jax.device_put(images.pixels[last])  # filled up with the last one
            values = [respond(neuron, block) for neuron in neurons]
            rows = np.stack(jax.device_get(values), axis=1)
            found[first : first + BATCH] = rows[: len(images) - first]
        return found


@dataclasses.dataclass(frozen=True)
class StandardTruth:
    """``(u_s(x) - mean_s) / SD_s``: another truth in SDs of its natural responses.

    Attributes:
      truth: u.
      mean: over natural images.
      sd: over natural images, above 0.
      units: always ``"z"``.
    """

    truth: Truth
    mean: Float[np.ndarray, " site"]
    sd: Float[np.ndarray, " site"]
    units: str = "z"

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Those of the other truth."""
        return self.truth.site_ids

    def responses(
        self, images: ImageSet, *, progress: bool = False
    ) -> Float[np.ndarray, "image site"]:
        """To 8-bit images, in their order."""
        found = self.truth.responses(images, progress=progress)
        return (found - self.mean[None]) / self.sd[None]


def compact_neurons(
    folder: str | Path, session: str, sites: Sequence[str] | None = None
) -> CompactNeurons:
    """Reads the compact models of one recording session.

    Args:
      folder: with ``compact_model_SESSION_neuronN.pt`` and
        ``compact_model_SESSION_neuronN_nums_filters.npy``.
      session: e.g. ``"201025"``.
      sites: of the session to read, in this order, e.g. ``("site77", "site84")``, with
        the ids that recordings of the session count from 0; None reads all neurons, in
        numeric order.

    Returns:
      The neurons.

    Raises:
      InputError: naming the file, what was expected and what was found, see
        `read_neuron`.

    Example:
      ``compact_neurons("v4/compact_models", "201025", ("site77",)).site_ids``
    """
    files = neuron_files(Path(folder), session, sites)
    read = {site: read_neuron(path) for site, path in files.items()}
    flat = {f"{site}/{k}": v for site, found in read.items() for k, v in found.items()}
    neurons = tuple(folded(tensors) for tensors in read.values())
    return CompactNeurons(tuple(files), of_one_shape(neurons), digest(flat))


def neuron_subject(
    neurons: str | Path,
    session: str,
    images: ImageSet,
    *,
    sites: Sequence[str] | None = None,
    ncsnr: tuple[float, float],
    shared: float = 0.0,
    gain_drift: float = 0.0,
    offset_drift: float = 0.0,
    loss: float = 0.0,
    progress: bool = True,
) -> Subject:
    """Compact neurons with Gaussian trial noise, in SDs of their natural responses.

    With f_s the model of a neuron, and mean and SD over natural images, the response is

        y = (f_s(x) - mean_s) / SD_s + e / ncsnr_s,    e ~ N(0, 1)

    for only the course of f_s over images was fitted, not its mean and SD.

    Args:
      neurons: folder of their files, see `compact_neurons`.
      session: of their recording.
      images: natural images over which the SD of the signal is taken, 112 x 112 pixels.
      sites: of the session; None for all, which takes minutes on a CPU.
      ncsnr: SD of the signal over that of the noise, log-uniform over the sites from
        the first to the second, least reliable first; above 0.
      shared: correlation of two sites' noise within a trial, in [0, 1).
      gain_drift: SD of the log gain between sessions.
      offset_drift: SD of the offset between sessions, in natural SDs.
      loss: probability that a site is lost in a later session, in [0, 1).
      progress: whether to show a progress bar.

    Returns:
      The subject.

    Raises:
      InputError: as `compact_neurons` and `noisy_subject`.

    Example:
      ``neuron_subject("v4/compact_models", "201025", images, ncsnr=(.5, 1.0))``
    """
    truth = compact_neurons(neurons, session, sites)
    natural = truth.responses(images, progress=progress)
    mean, sd = natural.mean(axis=0), natural.std(axis=0)
    wanted = reliabilities(ncsnr, len(sd))
    check_natural(natural)
    return Subject(
        source=StandardTruth(truth, mean, sd),
        noise=GaussianNoise(1 / wanted),
        shared=shared,
        drift=Drift(gain_drift, offset_drift, loss),
    )


def _check_size(images: ImageSet) -> None:
    height, width = images.pixels.shape[1:3]
    if (height, width) != (SIDE, SIDE):
        raise InputError(
            f"images: expected {SIDE} x {SIDE} pixels, which the compact neurons read, "
            f"found {height} x {width}; load them with size={SIDE} (config.images.size)"
        )
