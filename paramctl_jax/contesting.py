"""The controversial stage of a run: models driven apart, the subject as the judge.

contest -> controversial/ (PNGs and table) -> recorded -> who predicts the responses
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from paramctl_jax import sums
from paramctl_jax.calibration import calibrate
from paramctl_jax.experiment import CONTROVERSIAL, Run
from paramctl_jax.stimuli import (
    CONTROVERSIAL_TABLE,
    load_controversial,
    save_controversial,
    summarise_controversial,
)
from paramctl_jax.synthesis import Settings, controversial
from paramctl_jax.types import ControversialSet, EncodingModel, InputError

NOT_TAKEN = ("objective", "locality", "locality_weight", "transparency")
ENGINE = {field.name for field in dataclasses.fields(Settings)} - {*NOT_TAKEN}
"""Settings of the synthesis that a contest takes over, unless it has its own; what
speaks of one network alone it does not."""


def contest(run: Run) -> tuple[str, Path]:
    """Drives every seed image up for one rival and down for the other, and back.

    Returns:
      What was accepted and selected, and the folder of the set.

    Raises:
      InputError: no ``controversial`` section in the settings, or one that does not
        fit; models that are not fitted yet.
    """
    if not run.config.get("controversial"):
        raise InputError(
            "config.controversial: expected the settings of a contest, found none; see "
            "configs/controversial.py"
        )
    folder = run.workdir / CONTROVERSIAL
    with run.claims.exclusive(
        CONTROVERSIAL, lambda: whole(run), progress=run.progress
    ) as mine:
        if mine and not whole(run):
            (folder / CONTROVERSIAL_TABLE).unlink(missing_ok=True)
            _make(run, folder)
            sums.seal(folder)
    return summarise_controversial(load_controversial(folder)), folder


def whole(run: Run) -> bool:
    """Whether the set is there and every file of it is what was written."""
    return not sums.damaged(run.workdir / CONTROVERSIAL, [CONTROVERSIAL_TABLE])


def controversial_set(run: Run) -> ControversialSet | None:
    """The run's controversial stimuli, verified; None where there are none."""
    if not (run.workdir / CONTROVERSIAL / CONTROVERSIAL_TABLE).exists():
        return None
    return load_controversial(run.workdir / CONTROVERSIAL)


def rivals(run: Run) -> tuple[str, ...]:
    """Names of the models that are driven apart: the settings', or the first two."""
    return tuple(run.config.get("rivals") or tuple(run.backbones)[:2])


def _make(run: Run, folder: Path) -> None:
    models = _named(run.models(), rivals(run))
    given = run.config["synthesis"].items()
    engine = {k: v for k, v in given if k in {*ENGINE, "slots"}}
    settings = dict(run.config["controversial"])
    if settings.get("contest") == "joint":
        engine.pop("route", None)
    sweep = controversial(
        models,
        run.seeds,
        calibrate(run).images,
        key=run.key(CONTROVERSIAL),
        progress=run.progress,
        **{**engine, **settings},
    )
    save_controversial(
        folder, sweep, progress=run.progress, **run.config.get("selection", {})
    )


def _named(
    models: Sequence[EncodingModel], names: Sequence[str]
) -> list[EncodingModel]:
    by_name = {model.name: model for model in models}
    return [by_name[name] for name in names]
