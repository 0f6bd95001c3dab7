"""The in-silico subject: it is shown 8-bit images and gives trials, nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float, Key

from paramctl_jax.subject.drift import Drift
from paramctl_jax.subject.noise import GaussianNoise, Noise, trial_noise
from paramctl_jax.subject.truth import LinearTruth, Truth
from paramctl_jax.types import EncodingModel, ImageSet, InputError, Recordings


@dataclasses.dataclass(frozen=True)
class Subject:
    """Sites with a known truth, trial noise, and sessions that differ.

    The response of site s to image x in trial t of session d is a draw of the noise
    around ``g_ds u_s(x) + o_ds``: Gaussian, or a spike count.

    Attributes:
      source: u, the noise-free responses.
      noise: of trials.
      shared: correlation of the noise of any two sites within a trial, in [0, 1).
      drift: between sessions.
      natural_sd: of u over natural images, the unit of offsets.
    """

    source: Truth
    noise: Noise
    shared: float = 0.0
    drift: Drift = dataclasses.field(default_factory=Drift)
    natural_sd: Float[np.ndarray, " site"] | None = None

    def __post_init__(self) -> None:
        check_shared(self.shared)

    @property
    def site_ids(self) -> tuple[str, ...]:
        """One per site."""
        return self.source.site_ids

    @property
    def units(self) -> str:
        """Of the responses."""
        return self.source.units

    def record(
        self,
        images: ImageSet,
        repeats: int,
        key: Key[Array, ""],
        session: int | str,
        *,
        progress: bool = True,
    ) -> Recordings:
        """Shows 8-bit images and records every trial.

        Args:
          images: what is shown, e.g. `stimulus_images` of a stimulus set.
          repeats: presentations of every image, at least 1.
          key: randomness of the trials.
          session: number or name of the session. A trial's noise depends on the key,
            the session, the stimulus id and the repeat, not on what else is shown.
          progress: whether to show a progress bar.

        Returns:
          Responses ``[image, site, repeat]``, NaN at the sites that are lost.

        Raises:
          InputError: fewer than one repeat, no images.

        Example:
          ``day2 = subject.record(stimulus_images(stimuli), 4, key, session="day 2")``
        """
        if repeats < 1:
            raise InputError(f"repeats: expected at least 1, found {repeats}")
        truth, names = self.truth(images, progress=progress), images.stimulus_ids
        responses = self.trials(truth, names, repeats, key, session)
        return Recordings(responses, names, self.site_ids, units=self.units)

    def truth(
        self, images: ImageSet, *, progress: bool = False
    ) -> Float[np.ndarray, "image site"]:
        """Noise-free responses: the known answer, for tests and figures only.

        No stage of the loop may use them; models and scores see `record` alone.
        """
        if not len(images):
            raise InputError("images: expected at least one to show, found none")
        return self.source.responses(images, progress=progress)

    def trials(
        self,
        truth: Float[np.ndarray, "image site"],
        stimulus_ids: Sequence[str],
        repeats: int,
        key: Key[Array, ""],
        session: int | str,
    ) -> Float[np.ndarray, "image site repeat"]:
        """What `record` adds to the truth, for many sessions with the same images.

        Args:
          truth: noise-free responses of the images that are shown.
          stimulus_ids: of these images.
          repeats: presentations of every image; the first of more are those of fewer.
          key: randomness.
          session: number or name.

        Returns:
          Trials, NaN at the sites that are lost.
        """
        normal = trial_noise(
            key, session, stimulus_ids, len(self.site_ids), repeats, self.shared
        )
        ones = np.ones(len(self.site_ids))
        sd = ones if self.natural_sd is None else self.natural_sd
        gain, offset = self.drift.of_session(key, session, sd)
        present = np.isfinite(gain)
        drifted = np.where(present, gain, 1.0) * truth + offset
        trials = self.noise.trials(drifted, normal)
        return np.where(present[None, :, None], trials, np.nan)


def check_shared(shared: float) -> None:
    """Refuses what is no correlation that all sites can have with each other."""
    if not 0 <= shared < 1:
        raise InputError(f"shared: expected 0 <= shared < 1, found {shared}")


def subject_of_model(model: EncodingModel, sigma: float = 0.0) -> Subject:
    """A subject whose truth is a fitted encoding model.

    Args:
      model: its axes become the subject's.
      sigma: SD of the trial noise at every site, in the model's units.

    Returns:
      The subject, with the sites of the model.

    Raises:
      InputError: negative or non-finite `sigma`.

    Example:
      ``subject = subject_of_model(model)  # control score 1 for this model``
    """
    if not (np.isfinite(sigma) and sigma >= 0):
        raise InputError(f"sigma: expected a finite number >= 0, found {sigma}")
    truth = LinearTruth(
        backbone=model.backbone,
        readout=model.readout,
        site_ids=model.site_ids,
        weights=np.asarray(model.weights, dtype=np.float64),
        bias=np.asarray(model.bias, dtype=np.float64),
        units=model.units,
    )
    return Subject(truth, GaussianNoise(np.full(len(model.site_ids), float(sigma))))
