"""Sites and images that cannot be used, each with its reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool

from paramctl_jax.recordings.correlation import is_constant
from paramctl_jax.types import InputError, Recordings


@dataclasses.dataclass(frozen=True)
class Exclusions:
    """What cannot be used of some recordings, and why.

    Attributes:
      sites: ``{site id: reason}``.
      stimuli: ``{stimulus id: reason}``.
    """

    sites: Mapping[str, str]
    stimuli: Mapping[str, str]

    def __str__(self) -> str:
        lines = []
        for what, reasons in (("site", self.sites), ("image", self.stimuli)):
            if reasons:
                lines.append(f"{len(reasons)} {what}{'s'[: len(reasons) > 1]} left out")
                lines += [f"  {name}: {reason}" for name, reason in reasons.items()]
        return "\n".join(lines) or "nothing left out"


def find_exclusions(recordings: Recordings) -> Exclusions:
    """Sites and images that cannot be fitted; what remains is complete.

    In this order:

    1. a site with valid responses to fewer than two images, with an infinite response,
       or with the same repeat average for every image is excluded;
    2. an image without a valid response at any remaining site is excluded: it was not
       shown, or its trials were lost, which is no fault of the sites;
    3. a remaining site without a valid response to some remaining image is excluded.

    Images are never given up to keep a site that misses only some of them: which
    images are fitted then depends on no single site. To keep the site, leave its
    missing images out first (``recordings.select_stimuli``).

    Args:
      recordings: of any number of repeats.

    Returns:
      Reasons by id, in the order of the recordings; for `without`.

    Example:
      >>> import numpy as np
      >>> from paramctl_jax.types import Recordings
      >>> responses = np.array([[1.0, 5.0], [np.nan, np.nan], [2.0, 5.0]])[..., None]
      >>> print(find_exclusions(Recordings(responses, ("a", "b", "c"), ("s0", "s1"))))
      1 site left out
        s1: the same response to every image (zero variance)
      1 image left out
        b: no valid response at any site
    """
    valid = recordings.n_repeats() > 0
    sites = _unusable_sites(recordings, valid)
    rest = np.asarray([site not in sites for site in recordings.site_ids], dtype=bool)
    if not rest.any():
        return Exclusions(sites, {})
    shown = valid[:, rest].any(axis=1)
    for index in np.flatnonzero(rest & ~valid[shown].all(axis=0)):
        sites[recordings.site_ids[index]] = _missing(
            recordings, ~valid[:, index], shown
        )
    names = zip(recordings.stimulus_ids, shown, strict=True)
    return Exclusions(
        {site: sites[site] for site in recordings.site_ids if site in sites},
        {name: "no valid response at any site" for name, seen in names if not seen},
    )


def without(recordings: Recordings, exclusions: Exclusions) -> Recordings:
    """The recordings without the excluded sites and images, told in their notes.

    Args:
      recordings: those of the exclusions, or others of the same sites and images.
      exclusions: ids that these recordings do not have are ignored.

    Returns:
      The remaining sites and images, in their order.

    Raises:
      InputError: no site or no image remains, with the first reason.

    Example:
      >>> import numpy as np
      >>> from paramctl_jax.types import Recordings
      >>> recordings = Recordings(np.ones((2, 2, 1)), ("a", "b"), ("s0", "s1"))
      >>> rest = without(recordings, Exclusions({"s1": "broken wire"}, {}))
      >>> rest.site_ids, rest.notes
      (('s0',), ('1 of 2 sites left out: s1 (broken wire)',))
    """
    kept, notes = [], []
    for what, ids, reasons in (
        ("sites", recordings.site_ids, exclusions.sites),
        ("images", recordings.stimulus_ids, exclusions.stimuli),
    ):
        gone = {name: reasons[name] for name in ids if name in reasons}
        told = f"{len(gone)} of {len(ids)} {what} left out: {listed(gone)}"
        if len(gone) == len(ids):
            raise InputError(f"recordings: no {what} remain; {told}")
        notes += [told] if gone else []
        kept.append([name for name in ids if name not in gone])
    rest = recordings.select_sites(kept[0]).select_stimuli(kept[1])
    return dataclasses.replace(rest, notes=(*recordings.notes, *notes))


def listed(reasons: Mapping[str, str], most: int = 5) -> str:
    """The first few ids with their reasons, and how many more there are.

    Example:
      >>> listed({"s0": "noisy", "s1": "dead"}, most=1)
      's0 (noisy) and 1 more'
    """
    shown = [f"{name} ({reason})" for name, reason in list(reasons.items())[:most]]
    more = len(reasons) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _unusable_sites(
    recordings: Recordings, valid: Bool[np.ndarray, "image site"]
) -> dict[str, str]:
    """Sites that no choice of images would make usable."""
    infinite = np.isinf(recordings.responses).any(axis=-1)
    with np.errstate(invalid="ignore"):  # inf - inf; such sites are named as infinite
        average = recordings.mean()
    constant = is_constant(np.where(infinite, np.nan, average), valid & ~infinite)
    everywhere = np.ones(len(valid), dtype=bool)
    reasons = {}
    for index, site in enumerate(recordings.site_ids):
        if infinite[:, index].any():
            reasons[site] = _missing(
                recordings, infinite[:, index], everywhere, "an infinite"
            )
        elif valid[:, index].sum() < min(2, len(valid)):
            reasons[site] = _missing(recordings, ~valid[:, index], everywhere)
        elif constant[index]:
            reasons[site] = "the same response to every image (zero variance)"
    return reasons


def _missing(
    recordings: Recordings,
    flags: Bool[np.ndarray, " image"],
    among: Bool[np.ndarray, " image"],
    kind: str = "no valid",
) -> str:
    """``no valid response to 2 of 10 images, first 'a'``, among some of the images."""
    flagged = np.flatnonzero(flags & among)
    first = recordings.stimulus_ids[flagged[0]]
    return (
        f"{kind} response to {len(flagged)} of {int(among.sum())} images, first "
        f"{first!r}"
    )
