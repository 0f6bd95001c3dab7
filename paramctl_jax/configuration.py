"""The settings of a run: which call each section is for, and what run.json keeps."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from paramctl_jax import artifacts, scoring
from paramctl_jax.backbones.entries import model_entry
from paramctl_jax.encoding import EncodingSettings, fit_encoding, target_levels
from paramctl_jax.images import load_images
from paramctl_jax.recordings import choose_sites, responses_from_trials
from paramctl_jax.stimuli import save_controversial
from paramctl_jax.subject import check_subject, subject_call
from paramctl_jax.sweeps.accentuation import plan_sweep
from paramctl_jax.synthesis import CONTESTS, Settings, accentuate, controversial
from paramctl_jax.types import InputError, unknown

ADDED = ("inputs", "readouts")  # to the settings of a run, by `open_run`
VARIANTS = "variants"  # section, and folder, of runs that differ in a few settings
PRESENTATION = ("anchors", "controversial_repeats", "day1_repeats", "day2_repeats")

OWN = frozenset(
    {
        *("backbone", "features", "images", "key", "levels", "model", "progress"),
        *("directory", "models", "natural", "plans", "recordings", "responses"),
        *("seeds", "sites", "stimuli", "sweep", "test_ids", "trials"),
    }
)
"""Arguments of the sections' calls that the run itself gives."""

BUT = {
    "controversial": frozenset({"levels"}),
    "subject": frozenset({"backbone", "sites"}),
}
"""Those that a section gives all the same: a contest has levels of its own, a subject
a network of its own, or sites to stand in for.
"""

CALLS = {
    "encoding": fit_encoding,
    "controversial": controversial,
    "images": load_images,
    "sites": choose_sites,
    "levels": target_levels,
    "scoring": scoring.control_score,
    "selection": save_controversial,
    "sweep": plan_sweep,
    "synthesis": accentuate,
}
"""The call whose keyword arguments a section of the settings holds."""

RECORDS = {
    "controversial": Settings,
    "encoding": EncodingSettings,
    "synthesis": Settings,
}
"""Further settings of such a call, checked by their own record."""


def check_settings(config: Mapping[str, Any]) -> None:
    """Every section must fit its call; said before the first long stage.

    Raises:
      InputError: naming the section, what was found and what was expected.
    """
    _check_days(config)
    trials = config["recordings"].get("trials") or {}
    _check_names("recordings.trials", trials, responses_from_trials)
    _check_subject(config["subject"])
    for section, call in CALLS.items():
        _check_names(section, config.get(section) or {}, call)
    for section, record in RECORDS.items():
        names = {field.name for field in dataclasses.fields(record)}
        given = config.get(section) or {}
        record(**{k: v for k, v in given.items() if k in names})
    _check_each_once("models", config, lambda entry: model_entry(entry).name)
    _check_each_once("seeds", config, str)
    _check_contest(config)


def _check_subject(settings: Any) -> None:
    """Names, what must be given, and the numbers that need no features."""
    if not settings:
        return
    if not isinstance(settings, Mapping):
        raise InputError(f"config.subject: expected settings, found {settings!r}")
    call = subject_call(settings)
    _check_names("subject", settings, call)
    own = OWN - BUT["subject"]
    for name, parameter in inspect.signature(call).parameters.items():
        if parameter.default is parameter.empty and name not in {*own, *settings}:
            raise InputError(f"config.subject: expected {name}, found {list(settings)}")
    check_subject(settings)


def _check_presentation(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if name not in PRESENTATION:
            raise unknown(name, PRESENTATION, "setting in config.presentation")
        least = 0 if name == "anchors" else 1
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < least:
            raise InputError(
                f"config.presentation.{name}: expected a whole number of at least "
                f"{least}, found {value!r}"
            )


def _check_days(config: Mapping[str, Any]) -> None:
    """Beside an in-silico subject only day 1 may be real; trials need a scale."""
    _check_presentation(config["presentation"])
    days, anchors = config["recordings"], config["presentation"].get("anchors", 0)
    if not config["subject"]:
        return
    if anchors and "anchors" in (days.get("trials") or {}):
        raise InputError(
            "config.recordings.trials.anchors: expected none beside "
            f"config.presentation.anchors={anchors}, which says what is shown again"
        )
    for day in ("day2", "controversial"):
        if days.get(day):
            raise InputError(
                f"recordings.{day}={days[day]}: expected no file, for the in-silico "
                "subject is shown what comes after day 1; set config.subject to None "
                "for real recordings"
            )
    trials, real = days.get("trials"), bool(days.get("day1"))
    if (trials is None and anchors) or (trials is not None and not (anchors or real)):
        raise InputError(
            "config.recordings.trials, config.presentation.anchors: expected both or "
            "none for an in-silico subject (single trials are z-scored by natural "
            f"images that every session repeats), found {trials} and {anchors}"
        )


def _check_contest(config: Mapping[str, Any]) -> None:
    """Its models are of the run, and what they contest is known."""
    names = [model_entry(entry).name for entry in config["models"]]
    if config.get("rivals"):
        _check_each_once("rivals", config, str)
    for name in config.get("rivals") or ():
        if name not in names:
            raise unknown(name, names, "model in config.rivals")
    contest = (config.get("controversial") or {}).get("contest", CONTESTS[0])
    if contest not in CONTESTS:
        raise unknown(contest, CONTESTS, "config.controversial.contest")


def _check_names(
    section: str, settings: Mapping[str, Any], call: Callable[..., Any]
) -> None:
    """Every setting is an argument of the section's call that the run does not give."""
    parameters = inspect.signature(call).parameters.values()
    own = OWN - BUT.get(section, frozenset())
    known = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} - own
    if section in RECORDS:
        known |= {field.name for field in dataclasses.fields(RECORDS[section])}
    for name in settings:
        if name not in known:
            raise unknown(name, sorted(known), f"setting in config.{section}")


def _check_each_once(
    section: str, config: Mapping[str, Any], name_of: Callable[[Any], str]
) -> None:
    """A sequence of at least one entry, no name twice."""
    entries = config[section]
    if not isinstance(entries, list | tuple):
        raise InputError(f"config.{section}: expected a sequence, found {entries!r}")
    names = [name_of(entry) for entry in entries]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"config.{section}: expected at least one name, each once, found {names}"
        )


def stored_variants(workdir: str | Path) -> tuple[str, ...]:
    """Names of the runs of a study; none where the directory is that of one run."""
    return tuple((stored_config(workdir) or {}).get(VARIANTS) or ())


def stored_config(workdir: str | Path) -> dict[str, Any] | None:
    """The resolved settings in a run directory; None where there are none.

    A config is a Python file that may have changed since; what a run was made with is
    in its ``run.json``.
    """
    path = Path(workdir) / artifacts.RUN_FILE
    if not path.exists():
        return None
    content = artifacts.read_json(path)
    if not isinstance(content, Mapping) or not isinstance(
        content.get("config"), Mapping
    ):
        raise InputError(f"{path}: expected a run's settings; give --config")
    settings = {k: v for k, v in content["config"].items() if k not in ADDED}
    return _with_tuples(settings)


def _with_tuples(value: Any) -> Any:
    """JSON has lists where settings have tuples."""
    if isinstance(value, Mapping):
        return {name: _with_tuples(entry) for name, entry in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
