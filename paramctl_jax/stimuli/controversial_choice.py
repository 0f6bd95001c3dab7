"""Which controversial stimuli are accepted, and which of those are shown."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from paramctl_jax.types import ControversialStimulus

Group = tuple[str, str, float]  # site, seed image, level: one image per direction


def _commitments(z: Mapping[str, float], high: str) -> list[float]:
    return [value if name == high else -value for name, value in z.items()]


def smallest_commitment(z: Mapping[str, float], high: str) -> float:
    """``min(u)``: how far the least committed model goes; NaN for a seed image.

    Example:
      >>> smallest_commitment({"a": 2.0, "b": -1.5}, "a")
      1.5
    """
    return min(_commitments(z, high)) if high else math.nan


def accept(
    stimuli: Sequence[ControversialStimulus], contest: str, slack: float
) -> list[ControversialStimulus]:
    """Marks what passes together with all other directions, see `save_controversial`.

    Args:
      stimuli: judged from their PNGs.
      contest: they were made in.
      slack: as a fraction of the level.
    """

    def passes(one: ControversialStimulus) -> bool:
        margin = slack * one.level
        if contest == "joint":
            errors = [abs(u - one.level) for u in _commitments(one.z, one.high)]
            return max(errors) <= margin
        return one.controversiality >= one.level - margin

    whole: dict[Group, bool] = {}
    for one in stimuli:
        if one.high:
            group = (one.site, one.seed, one.level)
            whole[group] = whole.get(group, True) and passes(one)
    return [
        dataclasses.replace(
            one, accepted=whole.get((one.site, one.seed, one.level), False)
        )
        for one in stimuli
    ]


def select(
    stimuli: Sequence[ControversialStimulus],
    pixels: Mapping[str, np.ndarray],
    count: int | None,
    alike: float,
) -> list[ControversialStimulus]:
    """Marks the best of each site that are unlike each other, and their seed images.

    Args:
      stimuli: accepted or not.
      pixels: of their PNGs, by stimulus id.
      count: seed images per site; None for all.
      alike: Pearson r of pixels from which two images are taken for one.
    """
    groups: dict[Group, list[ControversialStimulus]] = {}
    for one in stimuli:
        if one.accepted:
            groups.setdefault((one.site, one.seed, one.level), []).append(one)
    chosen: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda group: _rank(groups[group])):
        own = chosen.setdefault(group[0], [])
        full = count is not None and len(own) >= count
        if not full and not any(
            _resemble(groups[group], groups[other], pixels, alike) for other in own
        ):
            own.append(group)
    kept = {group for own in chosen.values() for group in own}
    seeds = {group[:2] for group in kept}

    def shown(one: ControversialStimulus) -> bool:
        if not one.high:
            return (one.site, one.seed) in seeds
        return (one.site, one.seed, one.level) in kept

    return [dataclasses.replace(one, selected=shown(one)) for one in stimuli]


def _rank(group: Sequence[ControversialStimulus]) -> tuple[float, float, str]:
    """Levels reached first, then small changes; names decide what is left."""
    weakest = min(one.controversiality for one in group)
    change = max(one.rms for one in group)
    return -round(weakest, 2), change, group[0].stimulus_id


def _resemble(
    group: Sequence[ControversialStimulus],
    other: Sequence[ControversialStimulus],
    pixels: Mapping[str, np.ndarray],
    alike: float,
) -> bool:
    """Whether images driven the same way are nearly the same."""
    return any(
        _pixel_r(pixels[a.stimulus_id], pixels[b.stimulus_id]) >= alike
        for a, b in zip(group, other, strict=True)
    )


def _pixel_r(
    a: UInt8[np.ndarray, "height width 3"], b: UInt8[np.ndarray, "height width 3"]
) -> float:
    flat: list[Float[np.ndarray, " value"]] = [
        x.ravel().astype(np.float64) for x in (a, b)
    ]
    x, y = (values - values.mean() for values in flat)
    norm = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / norm if norm > 0 else float(np.array_equal(a, b))
