"""What the in-silico subject is shown, day by day; a real one has a rig of its own.

Where the settings name a file for a day, nothing is shown on it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from paramctl_jax import sums
from paramctl_jax.calibration import anchor_ids
from paramctl_jax.experiment import (
    CONTROVERSIAL,
    Run,
    recordings_file,
    simulated,
    z_scored,
)
from paramctl_jax.recordings import save_recordings
from paramctl_jax.stimuli import stimulus_images
from paramctl_jax.types import (
    ControversialSet,
    ImageSet,
    Recordings,
    StimulusSet,
    Trials,
)


def record_day1(run: Run) -> Path:
    """Shows every natural image to the in-silico subject (no subject: does nothing)."""
    return _record(run, "day1", lambda: run.images)


def record_day2(run: Run) -> Path:
    """Shows the saved PNGs to the in-silico subject (no subject: does nothing)."""
    return _record(run, "day2", lambda: _with_anchors(run, run.stimuli()))


def record_controversial(run: Run, stimuli: ControversialSet) -> Path:
    """Shows controversial PNGs to the in-silico subject, as often as on day 2."""
    return _record(run, CONTROVERSIAL, lambda: _with_anchors(run, stimuli))


def _with_anchors(run: Run, stimuli: StimulusSet | ControversialSet) -> ImageSet:
    """The PNGs, and the natural images that every session repeats."""
    shown, anchors = stimulus_images(stimuli), run.images.select(anchor_ids(run))
    return ImageSet(
        shown.stimulus_ids + anchors.stimulus_ids,
        np.concatenate([shown.pixels, anchors.pixels]),
    )


def _record(run: Run, day: str, shown: Callable[[], ImageSet]) -> Path:
    path = recordings_file(run, day)
    if simulated(run, day) and not sums.whole(path):
        assert run.subject is not None
        settings = run.config["presentation"]
        repeats = settings.get(f"{day}_repeats", settings["day2_repeats"])
        trials = run.subject.record(
            shown(), repeats, run.key(day), day, progress=run.progress
        )
        single = z_scored(run, day)
        save_recordings(path, as_trials(trials, day) if single else trials)
        sums.seal(path.parent)
    return path


def as_trials(recorded: Recordings, session: str) -> Trials:
    """Repeats as single presentations, one round of all images after the other."""
    n_repeats = recorded.responses.shape[2]
    rounds = np.moveaxis(recorded.responses, 2, 0)
    names = recorded.stimulus_ids * n_repeats
    return Trials(
        responses=rounds.reshape(-1, len(recorded.site_ids)),
        stimulus_ids=names,
        site_ids=recorded.site_ids,
        session_ids=(session,) * len(names),
        units=recorded.units,
    )
