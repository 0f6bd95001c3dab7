"""The in-silico subject: it is shown 8-bit images and gives trials, nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Array, Float, Key

from paramctl_jax.encoding import FeatureBlocks, extract_features, predict_features
from paramctl_jax.subject.noise import trial_noise
from paramctl_jax.types import Backbone, EncodingModel, ImageSet, InputError, Recordings


@dataclasses.dataclass(frozen=True)
class Subject:
    """Sites that are linear in a network's features, with Gaussian trial noise.

    The response of site s to image x in trial t is

        y = w_s . phi(x) + b_s + sigma_s e,    e ~ N(0, 1)

    Attributes:
      backbone: the subject's own network; not one of the models under test.
      readout: the layer its sites read.
      site_ids: one per site.
      weights: true axes in raw features, order channel, height, width.
      bias: one per site.
      sigma: SD of the trial noise, in response units; 0 for a noiseless subject.
      units: of the responses.
    """

    backbone: Backbone
    readout: str
    site_ids: tuple[str, ...]
    weights: Float[np.ndarray, "site feature"]
    bias: Float[np.ndarray, " site"]
    sigma: Float[np.ndarray, " site"]
    units: str = "z"

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
          Responses ``[image, site, repeat]`` without missing repeats.

        Raises:
          InputError: fewer than one repeat, no images.

        Example:
          ``day2 = subject.record(stimulus_images(stimuli), 4, key, session="day 2")``
        """
        if repeats < 1:
            raise InputError(f"repeats: expected at least 1, found {repeats}")
        truth = self.truth(images, progress=progress)
        names, n_sites = images.stimulus_ids, len(self.site_ids)
        noise = trial_noise(key, session, names, n_sites, repeats)
        responses = truth[:, :, None] + self.sigma[None, :, None] * noise
        return Recordings(responses, names, self.site_ids, units=self.units)

    def truth(
        self, images: ImageSet, *, progress: bool = False
    ) -> Float[np.ndarray, "image site"]:
        """Noise-free responses: the known answer, for tests and figures only.

        No stage of the loop may use them; models and scores see `record` alone.
        """
        if not len(images):
            raise InputError("images: expected at least one to show, found none")
        features = extract_features(
            self.backbone, images, self.readout, progress=progress
        )
        return predict_features(FeatureBlocks(features), self.weights, self.bias)


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
    return Subject(
        backbone=model.backbone,
        readout=model.readout,
        site_ids=model.site_ids,
        weights=np.asarray(model.weights, dtype=np.float64),
        bias=np.asarray(model.bias, dtype=np.float64),
        sigma=np.full(len(model.site_ids), float(sigma)),
        units=model.units,
    )
