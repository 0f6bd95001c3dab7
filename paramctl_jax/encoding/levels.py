"""Target levels: the responses that a sweep asks for."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from paramctl_jax.types import InputError, Recordings


def target_levels(
    recordings: Recordings,
    count: int = 11,
    extend: tuple[float, float] = (0.25, 0.5),
) -> Float[np.ndarray, "site level"]:
    """Evenly spaced levels around each site's recorded range (the `recorded` grid).

    With q01 and q99 the 1st and 99th percentile over images of the repeat average and
    ``bw = q99 - q01``: ``linspace(q01 - extend[0] bw, q99 + extend[1] bw, count)``.
    The grid does not depend on any model, so models can be compared on it.

    Args:
      recordings: of natural images.
      count: number of levels, at least 2.
      extend: how far to go below and above the range, in units of bw.

    Returns:
      Ascending levels in response units.

    Raises:
      InputError: fewer than two levels, a site without a finite average for every
        image, or one whose levels do not ascend.

    Example:
      >>> import numpy as np
      >>> from paramctl_jax.types import Recordings
      >>> responses = np.arange(101.0)[:, None, None]
      >>> ids = tuple(f"im{i}" for i in range(101))
      >>> target_levels(Recordings(responses, ids, ("s0",)), count=3)
      array([[-23.5 ,  62.25, 148.  ]])

    Source: the closed-loop pipeline of the paper's authors (``compute_unit_levels``).
    """
    if count < 2:
        raise InputError(f"count: expected at least 2 target levels, found {count}")
    average = recordings.mean()
    _refuse(recordings, ~np.isfinite(average).all(axis=0), "a response to every image")
    low, high = np.quantile(average, [0.01, 0.99], axis=0)
    width = high - low
    _refuse(recordings, ~(width > 0), "1st below 99th percentile of the responses")
    start, stop = low - extend[0] * width, high + extend[1] * width
    levels = np.linspace(start, stop, count, axis=-1)
    ascending = (np.diff(levels, axis=-1) > 0).all(axis=-1)
    _refuse(recordings, ~ascending, f"ascending levels (extend={extend})")
    return levels


@dataclasses.dataclass(frozen=True)
class RelativeLevels:
    """Target levels as the model sees them.

    A regression predicts a narrower range than was recorded, so the same level can be
    far outside what the model ever says of a natural image.

    Attributes:
      predicted_sd: ``(level - mean) / SD`` of the model's predictions.
      percentile: percent of natural images predicted at or below the level.
    """

    predicted_sd: Float[np.ndarray, "site level"]
    percentile: Float[np.ndarray, "site level"]


def relative_levels(
    levels: Float[np.ndarray, "site level"],
    predicted: Float[np.ndarray, "image site"],
) -> RelativeLevels:
    """Target levels in units of the model's own predictions for natural images.

    Args:
      levels: target levels in response units.
      predicted: predictions for natural images, in the same units.

    Returns:
      The levels in predicted SD (ddof 0) and as natural percentiles, 0 to 100.

    Example:
      >>> import numpy as np
      >>> predicted = np.array([[-1.0], [1.0]])
      >>> relative_levels(np.array([[0.0, 2.0]]), predicted)
      RelativeLevels(predicted_sd=array([[0., 2.]]), percentile=array([[ 50., 100.]]))
    """
    mean, sd = predicted.mean(axis=0), predicted.std(axis=0)
    if not (sd > 0).all():
        raise InputError(
            f"predictions: expected them to differ between images, found "
            f"{int((~(sd > 0)).sum())} of {len(sd)} sites with constant predictions"
        )
    below = predicted.T[:, None, :] <= levels[:, :, None]
    scaled = (levels - mean[:, None]) / sd[:, None]
    return RelativeLevels(scaled, 100.0 * below.mean(axis=-1))


def _refuse(recordings: Recordings, bad: np.ndarray, expected: str) -> None:
    if bad.any():
        sites = [recordings.site_ids[index] for index in np.flatnonzero(bad)[:3]]
        raise InputError(
            f"target levels: expected {expected}; {int(bad.sum())} of {len(bad)} sites "
            f"lack it, first {sites}; leave them out with select_sites"
        )
