"""From sweeps to a folder of PNGs, every image judged from its saved file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from paramctl_jax.artifacts import atomic_write
from paramctl_jax.images import encode_png
from paramctl_jax.progress import bar
from paramctl_jax.stimuli.judge import judged_site
from paramctl_jax.stimuli.table import (
    TABLE,
    check_no_others,
    check_unique,
    stimulus_id,
    to_csv,
)
from paramctl_jax.stimuli.traces import TRACES, save_traces
from paramctl_jax.types import InputError, Stimulus, StimulusSet, Sweep


def save_stimuli(
    directory: str | Path,
    sweeps: Sequence[Sweep],
    *,
    tolerance: float = 0.05,
    progress: bool = True,
) -> StimulusSet:
    """Writes sweeps as PNGs with their table, predictions re-made from the PNGs.

    Per model, site and seed image there is one PNG for every target level and one of
    the un-accentuated seed (`level` None). Each is written, read back from disk and
    predicted through the preprocessing of the fit; with ``u`` that prediction, ``t``
    the target and ``R`` the site's range of levels,

        relative_error = |u - t| / R,    hit = relative_error <= tolerance

    Missed targets stay in the set. What the loop saw on the way goes to
    ``traces.npz``. The table is written last, so that a folder with a table holds a
    whole set.

    Args:
      directory: made where it is missing; must not hold a stimulus set yet.
      sweeps: one per encoding model.
      tolerance: of a hit, as a fraction of the range of levels.
      progress: whether to show a progress bar.

    Returns:
      The set, in the order model, site, seed, level (the seed image first).

    Raises:
      InputError: another set or other PNGs in the directory, no lanes, images and
        seeds of different sizes, a site whose levels are all one, names that clash.

    Example:
      ``stimuli = save_stimuli("runs/m1/stimuli", [sweep])``
    """
    directory = Path(directory)
    drafts = [_drafts(sweep) for sweep in sweeps]
    _check_directory(
        directory, [draft for sites in drafts for site in sites for draft in site]
    )
    if not any(sweep.traces for sweep in sweeps) and (directory / TRACES).exists():
        raise InputError(
            f"{directory}: expected no traces of another set, found {TRACES}; give "
            "another directory"
        )
    stimuli: list[Stimulus] = []
    total = sum(len(site) for sites in drafts for site in sites)
    with bar(total=total, label="stimuli", show=progress) as written:
        for sweep, sites in zip(sweeps, drafts, strict=True):
            for index, site in enumerate(sites):
                stimuli += _save_site(directory, sweep, index, site, tolerance)
                written.update(len(site))
    save_traces(directory, sweeps)
    atomic_write(directory / TABLE, to_csv(stimuli).encode())
    return StimulusSet(directory, tuple(stimuli))


def save_part(directory: Path, sweep: Sweep, tolerance: float = 0.05) -> list[Stimulus]:
    """Writes and judges the PNGs of a part of a set, whose table is written later.

    A PNG that is there already is replaced, by equal bytes if it is of the same part.

    Args:
      directory: made where it is missing.
      sweep: some sites and seed images of a model.
      tolerance: of a hit, as a fraction of the range of levels.

    Returns:
      The rows of the table, in its order.
    """
    return [
        stimulus
        for site, drafts in enumerate(_drafts(sweep))
        for stimulus in _save_site(directory, sweep, site, drafts, tolerance)
    ]


def _drafts(sweep: Sweep) -> list[list[Stimulus]]:
    """Per site, all that is known of its stimuli before they are written."""
    _check_sweep(sweep)
    n_seeds, n_levels = len(sweep.seeds), sweep.targets.shape[1]
    return [
        [
            _draft(sweep, site, seed, level)
            for seed in range(n_seeds)
            for level in (None, *range(n_levels))
        ]
        for site in range(len(sweep.site_ids))
    ]


def _draft(sweep: Sweep, site: int, seed: int, level: int | None) -> Stimulus:
    origin = (sweep.model.name, sweep.site_ids[site], sweep.seeds.stimulus_ids[seed])
    name = stimulus_id(*origin, level)
    start = float(sweep.start[site, seed])
    if level is None:
        target, reached, step, stop_reason = start, start, 0, "seed"
    else:
        lane = (site, seed, level)
        target = float(sweep.targets[site, level])
        reached, step = float(sweep.reached[lane]), int(sweep.step[lane])
        stop_reason = str(sweep.stop_reason[lane])
    nan = float("nan")
    return Stimulus(
        stimulus_id=name,
        filename=f"{name}.png",
        model=origin[0],
        site=origin[1],
        seed=origin[2],
        level=level,
        target=target,
        predicted=nan,
        hit=False,
        sha256="",
        start=start,
        reached=reached,
        step=step,
        stop_reason=stop_reason,
        relative_error=nan,
        rms=nan,
        linf=nan,
        clipped=nan,
    )


def _check_sweep(sweep: Sweep) -> None:
    where = f"sweep of model {sweep.model.name}"
    expected = (
        len(sweep.site_ids),
        len(sweep.seeds),
        sweep.targets.shape[1],
        *sweep.seeds.pixels.shape[1:],
    )
    if sweep.images.shape != expected:
        raise InputError(
            f"{where}: expected images [site, seed, level, height, width, channel] of "
            f"shape {expected}, found {sweep.images.shape}"
        )
    if not sweep.images[..., 0, 0, 0].size:
        raise InputError(f"{where}: expected at least one lane, found none")
    for site, targets in zip(sweep.site_ids, sweep.targets, strict=True):
        if not np.ptp(targets) > 0:
            raise InputError(
                f"{where}, site {site}: expected at least two different target levels, "
                f"found {targets.tolist()}"
            )


def _check_directory(directory: Path, drafts: Sequence[Stimulus]) -> None:
    """Refuses clashing names, an existing set, and PNGs that are not of this set."""
    if not drafts:
        raise InputError(
            f"{directory}: expected at least one sweep to save, found none"
        )
    check_unique(drafts, str(directory))
    if (directory / TABLE).exists():
        raise InputError(
            f"{directory}: expected no stimulus set, found {TABLE}; give another "
            "directory"
        )
    check_no_others(directory, {draft.filename for draft in drafts})


def _save_site(
    directory: Path,
    sweep: Sweep,
    site: int,
    drafts: Sequence[Stimulus],
    tolerance: float,
) -> list[Stimulus]:
    """Writes the stimuli of one site, and judges them from what was written."""
    rows = _with_seeds(sweep, site)
    for draft, pixels in zip(drafts, rows, strict=True):
        atomic_write(directory / draft.filename, encode_png(pixels))
    return judged_site(directory, sweep, site, drafts, tolerance)


def _with_seeds(sweep: Sweep, site: int) -> UInt8[np.ndarray, "png height width 3"]:
    """The site's images in the order of its drafts: each seed, then its levels."""
    both = np.concatenate([sweep.seeds.pixels[:, None], sweep.images[site]], axis=1)
    return both.reshape(-1, *both.shape[2:])
