"""The best sites by reliability or signal to noise, and why not the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import PRNGKeyArray

from paramctl_jax.recordings.ceiling import MIN_REPEATED_IMAGES
from paramctl_jax.recordings.checks import SiteSummary, summarise_sites
from paramctl_jax.recordings.correlation import MIN_PAIRS
from paramctl_jax.recordings.exclusions import listed
from paramctl_jax.recordings.reliability import LOWEST_HALF_R
from paramctl_jax.types import InputError, Recordings, indices_of, unknown

MEASURES = ("reliability", "ncsnr", "none")
CHOSEN = "chosen"


@dataclasses.dataclass(frozen=True)
class SiteChoice:
    """The sites to fit, best first, and what became of every site.

    Attributes:
      site_ids: the chosen sites, best first.
      summary: quality of all sites.
      status: ``"chosen"`` or the reason why not, in words, by site id.
      measure: what they were ranked by.
    """

    site_ids: tuple[str, ...]
    summary: SiteSummary
    status: Mapping[str, str]
    measure: str

    def __str__(self) -> str:
        columns = ("reliability", "ncsnr", "ceiling")
        head = f"{'site':>12} " + " ".join(f"{name:>11}" for name in columns)
        rest = [site for site in self.summary.site_ids if site not in self.site_ids]
        position = {site: i for i, site in enumerate(self.summary.site_ids)}

        def row(site: str) -> str:
            values = (getattr(self.summary, name)[position[site]] for name in columns)
            numbers = (
                f"{v:11.3f}" if not np.isnan(v) else f"{'-':>11}" for v in values
            )
            return f"{site:>12} {' '.join(numbers)}  {self.status[site]}"

        return "\n".join([head, *map(row, (*self.site_ids, *rest)), self._summed_up()])

    def _summed_up(self) -> str:
        count = f"{len(self.site_ids)} of {len(self.summary.site_ids)} sites chosen"
        if self.measure == "none":
            return f"{count} in the order of the recordings, by no measure of quality"
        return f"{count} by {self.measure}"


def choose_sites(
    recordings: Recordings,
    key: PRNGKeyArray,
    *,
    count: int | None = None,
    measure: str = "reliability",
    minimum: float | None = None,
    n_splits: int = 100,
    among: Sequence[str] | None = None,
) -> SiteChoice:
    """The best sites of some recordings, and a reason for each that is not among them.

    Sites are ranked by the measure, equal ones by their id, so that the choice does
    not depend on the order of the sites. A site whose measure is undefined is never
    ranked.

    Args:
      recordings: of the images that are fitted.
      key: of the random halvings.
      count: how many sites; None for all that pass.
      measure: ``"reliability"`` (split-half, Spearman-Brown corrected), ``"ncsnr"``, or
        ``"none"``, which takes usable sites in the order of the recordings, the only
        way for recordings without repeats.
      minimum: of the measure, e.g. an ncsnr of 0.8.
      n_splits: number of random halvings.
      among: ids of the only sites to choose from, e.g. those that encoded best in an
        earlier session; None for all.

    Returns:
      The choice; ``print(choice)`` shows the table.

    Raises:
      InputError: an unknown measure, a minimum of no measure, fewer sites than asked
        for or none at all; the message says why the others do not pass.

    Example:
      >>> import jax, numpy as np
      >>> from paramctl_jax.types import Recordings
      >>> signal = np.arange(8.0)[:, None] * np.array([1.0, 0.2, 0.0])
      >>> responses = signal[..., None] + np.array([-1.0, 1.0])
      >>> recorded = Recordings(responses, tuple("abcdefgh"), ("s0", "s1", "s2"))
      >>> choice = choose_sites(recorded, jax.random.key(0), count=1, measure="ncsnr")
      >>> choice.site_ids, choice.status["s1"]
      (('s0',), 'ncsnr 0.000, less than the 1 chosen (at least 1.581)')
    """
    _check_arguments(count, measure, minimum)
    summary = summarise_sites(recordings, key, n_splits)
    status = dict(summary.excluded)
    named = summary.site_ids if among is None else tuple(among)
    indices_of(named, summary.site_ids, "sites to choose among")
    outside = [site for site in summary.site_ids if site not in named]
    status = dict.fromkeys(outside, "not among the sites to choose from") | status
    usable = [site for site in summary.site_ids if site not in status]
    if measure == "none":
        ranked = usable
    else:
        values = dict(zip(summary.site_ids, getattr(summary, measure), strict=True))
        status |= _below(recordings, values, usable, measure, minimum)
        passing = [site for site in usable if site not in status]
        ranked = sorted(passing, key=lambda site: (-values[site], site))
    _check_count(count, ranked, status)
    chosen = tuple(ranked[:count])
    for site in ranked[len(chosen) :]:
        status[site] = _outranked(summary, measure, site, chosen)
    status |= dict.fromkeys(chosen, CHOSEN)
    in_order = {site: status[site] for site in summary.site_ids}
    return SiteChoice(chosen, summary, in_order, measure)


def _check_arguments(count: int | None, measure: str, minimum: float | None) -> None:
    if measure not in MEASURES:
        raise unknown(measure, MEASURES, "measure of sites")
    if count is not None and count < 1:
        raise InputError(f"count: expected at least 1 site, or None, found {count}")
    if minimum is not None and (measure == "none" or np.isnan(minimum)):
        raise InputError(
            f"minimum: expected None or a number for a measure, found {minimum} for "
            f"measure={measure!r}"
        )


def _below(
    recordings: Recordings,
    values: Mapping[str, float],
    usable: list[str],
    measure: str,
    minimum: float | None,
) -> dict[str, str]:
    """Why usable sites do not pass: an undefined measure, or one below the minimum."""
    repeated = np.sum(recordings.n_repeats() >= 2, axis=0)
    counts = dict(zip(recordings.site_ids, repeated.tolist(), strict=True))
    reasons = {}
    for site in usable:
        if np.isnan(values[site]):
            reasons[site] = _why_undefined(measure, counts[site])
        elif minimum is not None and values[site] < minimum:
            reasons[site] = f"{measure} {values[site]:.3f}, below {minimum:g}"
    return reasons


def _why_undefined(measure: str, n_repeated: int) -> str:
    needed = {"reliability": MIN_PAIRS, "ncsnr": MIN_REPEATED_IMAGES}[measure]
    if not n_repeated:
        return f"{measure} undefined: no image has two valid repeats"
    if n_repeated < needed:
        return (
            f"{measure} undefined: {n_repeated} images have two valid repeats, at "
            f"least {needed} are needed"
        )
    return (
        f"{measure} undefined: random halves of the repeats without variance, or "
        f"correlated below {LOWEST_HALF_R:g}"
    )


def _check_count(
    count: int | None, ranked: list[str], status: Mapping[str, str]
) -> None:
    if len(ranked) >= (count or 1):
        return
    wanted = "at least one site" if count is None else f"{count} sites"
    advice = "ask for fewer, or lower the minimum"
    if not ranked and any("no image has two" in why for why in status.values()):
        advice = (
            "for recordings without repeats name the sites "
            "(recordings.select_sites), or give measure='none'"
        )
    others = f"; not {listed(status)}" if status else ""
    raise InputError(
        f"sites: expected {wanted} that pass, found {len(ranked)} of "
        f"{len(ranked) + len(status)}{others}; {advice}"
    )


def _outranked(
    summary: SiteSummary, measure: str, site: str, chosen: tuple[str, ...]
) -> str:
    if measure == "none":
        return f"after the first {len(chosen)} usable sites of the recordings"
    values = dict(zip(summary.site_ids, getattr(summary, measure), strict=True))
    least = values[chosen[-1]]
    than = "less than" if values[site] < least else "no more than"
    return (
        f"{measure} {values[site]:.3f}, {than} the {len(chosen)} chosen (at least "
        f"{least:.3f})"
    )
