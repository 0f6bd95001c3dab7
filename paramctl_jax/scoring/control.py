"""The control score: how well recorded responses follow the predictions, per sweep.

``r_si = Pearson over levels (predicted, recorded)`` for site s and seed i,
``c_s = mean_i r_si`` (a plain mean, no Fisher z), reported as mean +- SD over sites.
`predicted` is what the model says of the saved PNG, never the target asked for.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from paramctl_jax.scoring.animals import paired_differences
from paramctl_jax.scoring.correlation import mean_defined, ols_slope, pearson_r
from paramctl_jax.scoring.inference import (
    crossed_bootstrap,
    crossed_mean,
    permutation_test,
    sign_flip_test,
)
from paramctl_jax.scoring.notes import named, table_notes
from paramctl_jax.scoring.pooled import exclusion_masks
from paramctl_jax.scoring.responses import control_table, join_notes
from paramctl_jax.scoring.sites import Masks, site_noise, site_score, within_seeds
from paramctl_jax.scoring.sweeps import SweepGrid, sweep_grids
from paramctl_jax.scoring.table import ControlTable
from paramctl_jax.types import (
    Comparison,
    ControlScore,
    ModelScore,
    Recordings,
    StimulusSet,
)


def control_score(
    stimuli: StimulusSet,
    responses: Recordings,
    include_seed: bool = False,
    *,
    n_bootstrap: int = 10_000,
    random_seed: int = 0,
) -> ControlScore:
    """Score recorded responses to a stimulus set.

    ``control = mean over sites of mean over seeds of r(predicted, recorded)``

    Args:
      stimuli: what was shown, with the predictions re-made from the PNGs.
      responses: what was recorded, joined by stimulus id; only a stimulus's own target
        site is scored, on the average over valid repeats.
      include_seed: whether the un-accentuated seed image counts as one more level.
      n_bootstrap: draws of the crossed seed x site bootstrap.
      random_seed: of the bootstrap's random generator.

    Returns:
      Scores by model under subject ``""``, paired comparisons of all models, and notes
      on stimuli that were not recorded, or recorded and unknown, or undefined.

    Raises:
      InputError: no stimulus or no site in common.
    """
    table = control_table(stimuli, responses, include_seed)
    score = score_table(table, n_bootstrap=n_bootstrap, random_seed=random_seed)
    notes = join_notes(stimuli, responses) + score.notes
    return ControlScore(score.subjects, score.comparisons, notes)


def score_table(
    table: ControlTable, *, n_bootstrap: int = 10_000, random_seed: int = 0
) -> ControlScore:
    """Score an exchange table: every model of every subject, and all pairs of models.

    Args:
      table: one row per shown stimulus, see `read_table`.
      n_bootstrap: draws of the crossed seed x site bootstrap.
      random_seed: of the bootstrap's random generator; equal for all models, so that a
        score depends neither on the other models in the table nor on its rows' order.

    Returns:
      Scores, comparisons within each subject, and notes.
    """
    grids = sweep_grids(table)
    settings = {"n_bootstrap": n_bootstrap, "random_seed": random_seed}
    subjects = {}
    for subject, models in grids.items():
        masks = exclusion_masks(models)
        subjects[subject] = {
            model: model_score(grid, masks[model], **settings)
            for model, grid in models.items()
        }
    comparisons = tuple(
        compare_models(subject, a, b, models, **settings)
        for subject, models in subjects.items()
        for a, b in itertools.combinations(models, 2)
    )
    notes = table_notes(table, grids)
    for subject, models in subjects.items():
        notes += tuple(
            f"{named(subject, model)}: {note}"
            for model, score in models.items()
            for note in score.notes
        )
    return ControlScore(subjects, comparisons, notes)


def model_score(
    grid: SweepGrid,
    masks: Masks | None = None,
    *,
    n_bootstrap: int = 10_000,
    random_seed: int = 0,
) -> ModelScore:
    """Score one model's sweeps in one subject.

    Args:
      grid: its predictions and responses, axes ``[site, seed, level]``.
      masks: which points count in the pooled scores, see `exclusion_masks`; None takes
        those that need no other model.
      n_bootstrap: draws of the crossed seed x site bootstrap, and of the permutation
        test.
      random_seed: of the random generators.

    Returns:
      Scores per site; their mean and SD over the sites that have one.
    """
    masks = exclusion_masks({"": grid})[""] if masks is None else masks
    r = pearson_r(grid.predicted, grid.recorded)
    scored = [
        site_score(grid, r, site, masks, site_noise(grid, site))
        for site in range(len(grid.sites))
    ]
    sites = {name: score for name, (score, _) in zip(grid.sites, scored, strict=True)}
    control = np.asarray([site.control for site in sites.values()])
    control = control[np.isfinite(control)]
    within, why = within_seeds(grid)
    slopes = ols_slope(grid.predicted, grid.recorded)
    p, p_min = permutation_test(grid.predicted, grid.recorded, n_bootstrap, random_seed)
    return ModelScore(
        sites=sites,
        control_mean=float(mean_defined(control)),
        control_sd=float(np.std(control)) if len(control) else np.nan,
        control_sd_ddof1=float(np.std(control, ddof=1)) if len(control) > 1 else np.nan,
        control_ci=crossed_bootstrap(r, n_bootstrap, random_seed),
        n_rows=grid.n_rows,
        n_duplicates=grid.n_duplicates,
        p_permutation=p,
        p_min_permutation=p_min,
        slope_ci=crossed_bootstrap(slopes, n_bootstrap, random_seed),
        within=within,
        notes=_noise_notes(grid, [reason for _, reason in scored], why),
    )


def _noise_notes(
    grid: SweepGrid, reasons: Sequence[str], of_all: str
) -> tuple[str, ...]:
    """Why which sites, or all together, lack a noise-corrected r, if noise is given."""
    if not np.isfinite(grid.recorded_sd).any():
        return ()
    counts = Counter(why for why in reasons if why)
    notes = [
        f"{count} of {len(reasons)} sites have no noise-corrected r: {why}"
        for why, count in counts.items()
    ]
    if of_all:
        notes.append(f"the sites together have no noise-corrected r: {of_all}")
    return tuple(notes)


def compare_models(
    subject: str,
    a: str,
    b: str,
    models: Mapping[str, ModelScore],
    *,
    n_bootstrap: int = 10_000,
    random_seed: int = 0,
) -> Comparison:
    """Paired comparison of two models on the sweeps where both have an r.

    ``d_si = r_a,si - r_b,si``; the difference is the mean over sites of the mean over
    seeds, so that it equals the difference of the control scores in a complete design.

    Args:
      subject: whose scores they are.
      a: one model's name.
      b: the other's.
      models: scores by name.
      n_bootstrap: draws of the crossed seed x site bootstrap.
      random_seed: of the random generator.

    Returns:
      The difference with its interval and two sign-flip tests, of the means per seed
      (generalising over seed images) and of the means per site (over sites). All NaN
      where the models have no sweep in common.
    """
    d = paired_differences(models[a], models[b])
    gains = paired_differences(models[a], models[b], of="slopes")
    p_seeds, p_min_seeds = sign_flip_test(
        mean_defined(d, axis=0), n_bootstrap, random_seed
    )
    p_sites, p_min_sites = sign_flip_test(
        mean_defined(d, axis=1), n_bootstrap, random_seed
    )
    return Comparison(
        subject=subject,
        a=a,
        b=b,
        difference=crossed_mean(d),
        ci=crossed_bootstrap(d, n_bootstrap, random_seed),
        p_seeds=p_seeds,
        p_sites=p_sites,
        p_min_seeds=p_min_seeds,
        p_min_sites=p_min_sites,
        slope_difference=crossed_mean(gains),
        slope_ci=crossed_bootstrap(gains, n_bootstrap, random_seed),
    )
