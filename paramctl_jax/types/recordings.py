"""Recorded responses: single presentations, and repeats of each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from paramctl_jax.types.errors import indices_of


@dataclasses.dataclass(frozen=True)
class Trials:
    """Responses of many sites to single presentations, in the order of recording.

    Attributes:
      responses: axes ``[trial, site]``, NaN where a site was not recorded.
      stimulus_ids: what each trial showed; an id returns with every repeat.
      site_ids: one unique id per site.
      session_ids: of each trial, e.g. the day; one session if they are all equal.
      units: of the responses, e.g. ``"spikes/s"``.
      window_ms: the half-open window ``[start, stop)`` after onset, if known.
      site_meta: further columns per site, each with one entry per site.
      notes: what the reader left out, in plain words.
    """

    responses: Float[np.ndarray, "trial site"]
    stimulus_ids: tuple[str, ...]
    site_ids: tuple[str, ...]
    session_ids: tuple[str, ...]
    units: str = "spikes/s"
    window_ms: tuple[float, float] | None = None
    site_meta: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stimulus_ids)


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Responses of many sites to repeated presentations of many images.

    Attributes:
      responses: axes ``[image, site, repeat]``, NaN where a repeat is missing.
      stimulus_ids: one unique id per image; stimuli are joined by id, never by row.
      site_ids: one unique id per site.
      units: of the responses, e.g. ``"z"`` or ``"spikes/s"``.
      window_ms: the half-open window ``[start, stop)`` after onset, if known.
      site_meta: further columns per site, each with one entry per site.
      notes: what was left out or changed on the way here, in plain words.
    """

    responses: Float[np.ndarray, "image site repeat"]
    stimulus_ids: tuple[str, ...]
    site_ids: tuple[str, ...]
    units: str = "z"
    window_ms: tuple[float, float] | None = None
    site_meta: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def select_sites(self, sites: Sequence[str] | Sequence[int]) -> Recordings:
        """The named (or numbered) sites, in the order given."""
        names = [
            site if isinstance(site, str) else self.site_ids[int(site)]
            for site in sites
        ]
        chosen = indices_of(names, self.site_ids, "sites")
        return dataclasses.replace(
            self,
            responses=self.responses[:, chosen],
            site_ids=tuple(names),
            site_meta={k: np.asarray(v)[chosen] for k, v in self.site_meta.items()},
        )

    def select_stimuli(self, stimulus_ids: Sequence[str]) -> Recordings:
        """The named stimuli, in the order given."""
        chosen = indices_of(stimulus_ids, self.stimulus_ids, "recorded stimuli")
        return dataclasses.replace(
            self,
            responses=self.responses[chosen],
            stimulus_ids=tuple(stimulus_ids),
        )

    def n_repeats(self) -> Int[np.ndarray, "image site"]:
        """Number of valid repeats per image and site."""
        return np.sum(np.isfinite(self.responses), axis=-1)

    def mean(self) -> Float[np.ndarray, "image site"]:
        """Repeat average; NaN where an image has no valid repeat at a site."""
        counts = self.n_repeats()
        total = np.nansum(self.responses, axis=-1)
        return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
