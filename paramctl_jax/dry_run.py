"""What the accentuation of a run will cost, from its settings; nothing is written."""

from __future__ import annotations

import numpy as np

from paramctl_jax.encoding import load_encoding
from paramctl_jax.experiment import Run
from paramctl_jax.synthesis import Plan, estimate, make_plan
from paramctl_jax.types import Backbone, EncodingEvaluation, EncodingModel


def dry_run(run: Run) -> str:
    """Lanes, passes, operations, memory, disk and time of every model's sweep.

    A model that is not fitted yet is stood in for by random axes on its first readout:
    the cost is the same.

    Args:
      run: opened without claiming its directory.

    Returns:
      One table per model, and the sum of their times.

    Raises:
      InputError: more memory needed than a device has, with the slots that fit.
    """
    estimates = [estimate(_plan(run, name)) for name in run.backbones]
    typical = sum(e.seconds(min(e.typical_steps, e.max_steps)) for e in estimates)
    lanes = sum(e.lanes for e in estimates)
    total = (
        f"{len(estimates)} models, {lanes:,} lanes: about {typical / 60:.1f} min of "
        "accentuation here; nothing was written"
    )
    return "\n".join([*map(str, estimates), total])


def _plan(run: Run, name: str) -> Plan:
    model = _model(run, name)
    count = run.config["levels"].get("count", 11)
    levels = np.tile(np.linspace(-1, 1, count), (len(model.site_ids), 1))
    return make_plan(model, run.seeds, levels, **run.config["synthesis"])


def _model(run: Run, name: str) -> EncodingModel:
    fitted = run.workdir / "encoding" / f"{name}.npz"
    if fitted.exists():
        return load_encoding(fitted, run.backbones[name])
    count = run.config["sites"].get("count", 5)
    return stand_in(run.backbones[name], run.readouts[name][0], count)


def stand_in(backbone: Backbone, readout: str, n_sites: int) -> EncodingModel:
    """Random axes in the place of a fit: of the same shapes, and of no meaning."""
    sites = tuple(f"site_{index}" for index in range(n_sites))
    width = int(np.prod(backbone.readouts[readout]))
    weights = np.random.default_rng(0).standard_normal((n_sites, width), np.float32)
    one, pair = np.full(n_sites, np.nan), np.full((n_sites, 2), np.nan)
    numbers = ("r", "r2", "ceiling", "r_normalised", "r2_normalised", "cv_r", "cv_r2")
    intervals = ("r_ci", "r2_ci", "r_normalised_ci", "r2_normalised_ci")
    evaluation = EncodingEvaluation(
        site_ids=sites,
        train_ids=(),
        test_ids=(),
        recorded=np.zeros((0, n_sites)),
        predicted=np.zeros((0, n_sites)),
        **dict.fromkeys(numbers, one),
        **dict.fromkeys(intervals, pair),
    )
    return EncodingModel(backbone, readout, sites, weights, 0 * one, one, evaluation)
