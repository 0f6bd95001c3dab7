"""What the in-silico subject is shown, day by day; a real one has a rig of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from paramctl_jax import sums
from paramctl_jax.experiment import CONTROVERSIAL, Run, recordings_file
from paramctl_jax.recordings import save_recordings
from paramctl_jax.stimuli import stimulus_images
from paramctl_jax.types import ControversialSet, ImageSet


def record_day1(run: Run) -> Path:
    """Shows every natural image to the in-silico subject (no subject: does nothing)."""
    return _record(run, "day1", lambda: run.images)


def record_day2(run: Run) -> Path:
    """Shows the saved PNGs to the in-silico subject (no subject: does nothing)."""
    return _record(run, "day2", lambda: stimulus_images(run.stimuli()))


def record_controversial(run: Run, stimuli: ControversialSet) -> Path:
    """Shows controversial PNGs to the in-silico subject, as often as on day 2."""
    return _record(run, CONTROVERSIAL, lambda: stimulus_images(stimuli))


def _record(run: Run, day: str, shown: Callable[[], ImageSet]) -> Path:
    path = recordings_file(run, day)
    if run.config["subject"] and not sums.whole(path):
        assert run.subject is not None
        settings = run.config["presentation"]
        repeats = settings.get(f"{day}_repeats", settings["day2_repeats"])
        trials = run.subject.record(
            shown(), repeats, run.key(day), day, progress=run.progress
        )
        save_recordings(path, trials)
        sums.seal(path.parent)
    return path
