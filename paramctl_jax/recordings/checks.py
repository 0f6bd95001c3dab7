"""Checks of recordings: do they fit the images, and which sites can be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from paramctl_jax.recordings.ceiling import ncsnr, noise_ceiling
from paramctl_jax.recordings.exclusions import find_exclusions
from paramctl_jax.recordings.reliability import spearman_brown, split_half_correlations
from paramctl_jax.types import ImageSet, InputError, Recordings


def check_match(images: ImageSet, recordings: Recordings) -> None:
    """Make sure that images and recordings hold the same stimuli, in any order.

    Args:
      images: what was shown.
      recordings: what was recorded.

    Raises:
      InputError: with both counts and the first ids that only one of them has.
    """
    shown, recorded = images.stimulus_ids, recordings.stimulus_ids
    without_response = _only_in(shown, recorded)
    without_image = _only_in(recorded, shown)
    if len(shown) == len(recorded) and not without_response and not without_image:
        return
    raise InputError(
        f"recordings do not match the images: {len(recorded)} recorded stimuli, "
        f"{len(shown)} images; {len(without_response)} images without a response "
        f"(first {without_response[:3]}), {len(without_image)} responses without an "
        f"image (first {without_image[:3]}); select the common ones or correct the ids"
    )


def valid_sites(recordings: Recordings) -> tuple[tuple[str, ...], dict[str, str]]:
    """Sites that can be fitted, and why the others cannot, as `find_exclusions` says.

    A site needs a finite repeat average for every image that any usable site responded
    to, and must respond differently to at least two images.

    Args:
      recordings: of any number of repeats.

    Returns:
      The ids of the usable sites, in order, and ``{site id: reason}`` for the others.

    Example:
      >>> import numpy as np
      >>> from paramctl_jax.types import Recordings
      >>> responses = np.array([[[1.0], [5.0]], [[2.0], [5.0]]])
      >>> valid_sites(Recordings(responses, ("a", "b"), ("s0", "s1")))
      (('s0',), {'s1': 'the same response to every image (zero variance)'})
    """
    excluded = dict(find_exclusions(recordings).sites)
    kept = tuple(site for site in recordings.site_ids if site not in excluded)
    return kept, excluded


@dataclasses.dataclass(frozen=True)
class SiteSummary:
    """Quality of every recorded site.

    Attributes:
      site_ids: all sites, in the order of the recordings.
      half_r: mean Pearson r of random halves of the repeats; NaN if undefined.
      reliability: the same, Spearman-Brown corrected halving by halving; NaN if
        undefined, also where a halving correlates below -.5.
      ncsnr: signal-to-noise ratio; NaN if undefined.
      ceiling: noise ceiling of r of the repeat average; NaN if undefined.
      excluded: ``{site id: reason}`` of the sites that cannot be fitted.
    """

    site_ids: tuple[str, ...]
    half_r: Float[np.ndarray, " site"]
    reliability: Float[np.ndarray, " site"]
    ncsnr: Float[np.ndarray, " site"]
    ceiling: Float[np.ndarray, " site"]
    excluded: Mapping[str, str]

    def __str__(self) -> str:
        head = f"{'site':>12} {'half r':>6} {'SB':>6} {'ncsnr':>6} {'NC':>6}"
        columns = (self.half_r, self.reliability, self.ncsnr, self.ceiling)
        rows = [
            f"{site:>12} "
            + " ".join(f"{column[index]:6.3f}" for column in columns)
            + (f"  excluded: {self.excluded[site]}" if site in self.excluded else "")
            for index, site in enumerate(self.site_ids)
        ]
        return "\n".join([head, *rows])


def summarise_sites(
    recordings: Recordings, key: PRNGKeyArray, n_splits: int = 100
) -> SiteSummary:
    """Reliability, ncsnr and ceiling of every site; NaN for those that are excluded.

    Args:
      recordings: of any number of repeats (a single one leaves all of it undefined).
      key: of the random halvings.
      n_splits: number of random halvings.

    Returns:
      A table; ``print(summary)`` shows it.

    Example:
      >>> import jax, numpy as np
      >>> from paramctl_jax.types import Recordings
      >>> ids = tuple("abcdefgh")
      >>> responses = np.arange(8.0)[:, None, None] + np.array([-1.0, 1.0])
      >>> print(summarise_sites(Recordings(responses, ids, ("s0",)), jax.random.key(0)))
              site half r     SB  ncsnr     NC
                s0  0.746  0.853  1.581  0.913
    """
    excluded = find_exclusions(recordings).sites
    usable = np.asarray([site not in excluded for site in recordings.site_ids])
    responses = recordings.responses
    r = split_half_correlations(responses, key, n_splits)
    return SiteSummary(
        site_ids=recordings.site_ids,
        half_r=np.where(usable, r.mean(axis=0), np.nan),
        reliability=np.where(usable, spearman_brown(r).mean(axis=0), np.nan),
        ncsnr=np.where(usable, ncsnr(responses), np.nan),
        ceiling=np.where(usable, noise_ceiling(responses), np.nan),
        excluded=excluded,
    )


def _only_in(ids: Sequence[str], others: Sequence[str]) -> list[str]:
    known = set(others)
    return [name for name in ids if name not in known]
