"""Several runs that differ in a few settings, side by side: subjects, bases, animals.

    settings + variants -> one run directory each, in variants/NAME -> one table

A variant is what changes: ``{"null": {"subject": {"predictable": False}, "seed": 3}}``.
Every one is a whole run of its own, with its own report; what belongs to several stands
at the top of the directory.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paramctl_jax import artifacts, pipeline, report, sums
from paramctl_jax.configuration import VARIANTS
from paramctl_jax.experiment import Run, Working, open_run
from paramctl_jax.loaded import Loaded
from paramctl_jax.types import InputError, unknown

STUDY = "study.json"
NAME = r"[A-Za-z0-9_+-]{1,100}"  # of a variant: a folder's, and part of an address


def variants(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The resolved settings of every variant, by name.

    Args:
      config: with a section ``variants``; mappings are merged, all else is replaced.

    Raises:
      InputError: a variant that is no mapping or names an unknown section, or a name
        that is no name of a folder.
    """
    base = {k: v for k, v in config.items() if k != VARIANTS}
    given = config.get(VARIANTS) or {}
    if not isinstance(given, Mapping):
        raise InputError(
            f"config.{VARIANTS}: expected settings by name, found {given!r}"
        )
    found = {}
    for name, changes in given.items():
        where = f"config.{VARIANTS}.{name}"
        if not isinstance(changes, Mapping):
            raise InputError(f"{where}: expected settings, found {changes!r}")
        if not (isinstance(name, str) and re.fullmatch(NAME, name)):
            raise InputError(
                f"{where}: expected a name of letters, digits, _, + and -, 100 at most"
            )
        for section in changes:
            if section not in base:
                raise unknown(section, sorted(base), f"section in {where}")
        merged = _merged(base, changes)
        title = changes.get("title", f"{base['title']}: {name}")
        found[name] = {**merged, "title": title}
    return found


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _merged(old, value)
        merged[name] = value
    return merged


def open_variants(
    config: Mapping[str, Any],
    workdir: str | Path,
    progress: bool = True,
    claim: bool = True,
    working: Working | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Run]:
    """Opens the run of every variant; see `open_run`.

    All settings are checked before the first directory is claimed. Images and networks
    that runs have in common are in memory once.

    Raises:
      InputError: as `open_run`, naming the variant.
    """
    workdir, settings, loaded = Path(workdir), variants(config), Loaded()
    if claim:
        artifacts.check_directory(workdir)

    def opened(really: bool) -> dict[str, Run]:
        runs = {}
        for name, one in settings.items():
            folder = workdir / VARIANTS / name
            with _named(name):
                runs[name] = open_run(
                    one, folder, progress, really, working, overrides, loaded
                )
        return runs

    checked = opened(False)
    if not claim:
        return checked
    # what may differ: each variant's own directory holds it to its settings
    artifacts.claim_directory(workdir, dict(config), free=("title", VARIANTS))
    return opened(True)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors say which variant they are of."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"config.{VARIANTS}.{name}: {error}") from error


def run_study(
    runs: Mapping[str, Run], workdir: str | Path, title: str
) -> tuple[str, Path]:
    """Runs every stage of every variant, and puts the results side by side.

    Args:
      runs: as `open_variants` returns them.
      workdir: receives ``study.json``, ``report.html`` and ``figures/study.png``.
      title: of the report.

    Returns:
      The table as text, and the path of ``report.html``.
    """
    workdir, found = Path(workdir), {}
    for name, run in runs.items():
        with _named(name):
            pipeline.make(run)
            found[name] = pipeline.report_inputs(run)
            pipeline.write_report(run, found[name])
    artifacts.write_json(workdir / STUDY, artifacts.with_null(report.study_json(found)))
    path = report.write_study(workdir, title, found)
    sums.seal(workdir, [STUDY, "report.html", "figures/study.png"])
    return report.study_table(found), path
