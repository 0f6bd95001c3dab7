"""What a stimulus set reached, in one paragraph, and which images look alike."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from paramctl_jax.images import read_image
from paramctl_jax.types import Stimulus, StimulusSet

UNREACHED = ("unreached", "max_steps")  # the latter in sets of earlier versions


def near_duplicates(
    stimuli: StimulusSet, threshold: float = 0.999
) -> list[tuple[str, str]]:
    """Neighbouring levels of one seed whose images are almost the same.

    Args:
      stimuli: the set.
      threshold: least Pearson r over all channel values that counts.

    Returns:
      Pairs of stimulus ids.
    """
    pairs = []
    for sweep in _by_seed(stimuli.stimuli):
        images = [_standardised(stimuli, stimulus) for stimulus in sweep]
        for i, j in itertools.pairwise(range(len(sweep))):
            if np.mean(images[i] * images[j]) >= threshold:
                pairs.append((sweep[i].stimulus_id, sweep[j].stimulus_id))
    return pairs


def _by_seed(stimuli: Sequence[Stimulus]) -> list[list[Stimulus]]:
    """The accentuated images of every (model, site, seed), ordered by level."""
    sweeps: dict[tuple[str, str, str], list[tuple[int, Stimulus]]] = {}
    for stimulus in stimuli:
        if stimulus.level is not None:
            origin = (stimulus.model, stimulus.site, stimulus.seed)
            sweeps.setdefault(origin, []).append((stimulus.level, stimulus))
    return [
        [stimulus for _, stimulus in sorted(sweep, key=lambda entry: entry[0])]
        for sweep in sweeps.values()
    ]


def _standardised(
    stimuli: StimulusSet, stimulus: Stimulus
) -> Float[np.ndarray, "height width 3"]:
    """Zero mean, unit SD; the mean product of two is their correlation."""
    pixels = read_image(stimuli.directory / stimulus.filename).astype(np.float64)
    return (pixels - pixels.mean()) / max(pixels.std(), 1e-9)


def summarise(stimuli: StimulusSet) -> str:
    """One paragraph on a set; every lane is in the denominator, missed or not.

    Args:
      stimuli: the set; its PNGs are read to find near-duplicates.

    Returns:
      Lanes, share of targets reached within 5 % and 2 % of the range of levels, the
      worst miss, how far the saved PNG is from the loop's last prediction, lanes that
      did not reach their level or stopped for a non-finite value, near-duplicates.
    """
    lanes = [stimulus for stimulus in stimuli.stimuli if stimulus.level is not None]
    if not lanes:
        return f"{len(stimuli)} seed images and no accentuated images."
    errors = np.asarray([stimulus.relative_error for stimulus in lanes])
    gaps = np.abs([stimulus.reached - stimulus.predicted for stimulus in lanes])
    within = [np.count_nonzero(errors <= limit) for limit in (0.05, 0.02)]
    worst = lanes[int(np.argmax(np.nan_to_num(errors, nan=np.inf)))]
    alike = len(near_duplicates(stimuli))
    return (
        f"{len(lanes)} accentuated images and {len(stimuli) - len(lanes)} seed images; "
        f"judged from the saved PNGs, {within[0]}/{len(lanes)} "
        f"({within[0] / len(lanes):.1%}) are within 5 % of the range of levels and "
        f"{within[1]}/{len(lanes)} ({within[1] / len(lanes):.1%}) within 2 %; the "
        f"worst, {worst.stimulus_id}, was to reach {worst.target:.3g} and reached "
        f"{worst.predicted:.3g} ({worst.relative_error:.1%} of the range); the PNG "
        f"changed the prediction by a median of {_median(gaps):.2g}; "
        f"{_ends(lanes)}; {alike} neighbouring levels look the same (r >= .999)."
    )


def _ends(lanes: Sequence[Stimulus]) -> str:
    """How many lanes ended without their level in the loop, and what became of them."""
    unreached = sum(stimulus.stop_reason in UNREACHED for stimulus in lanes)
    nonfinite = sum(stimulus.stop_reason == "nonfinite" for stimulus in lanes)
    kept = "; the best images are kept and counted" if unreached else ""
    return (
        f"{unreached} of {len(lanes)} lanes did not reach their level{kept}; "
        f"{nonfinite} stopped at a non-finite value"
    )


def _median(values: Float[np.ndarray, " lane"]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")
