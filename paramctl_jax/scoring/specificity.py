"""Specificity: do stimuli drive the site they were made for, or all sites together?"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from paramctl_jax.scoring.correlation import mean_defined, pearson_r
from paramctl_jax.scoring.inference import (
    crossed_bootstrap,
    crossed_mean,
    sign_flip_test,
)
from paramctl_jax.scoring.responses import by_stimulus_id, control_table
from paramctl_jax.scoring.sweeps import sweep_grids
from paramctl_jax.scoring.table import ControlTable
from paramctl_jax.types import Recordings, Specificity, StimulusSet


def specificity(
    stimuli: StimulusSet,
    responses: Recordings,
    *,
    n_bootstrap: int = 10_000,
    random_seed: int = 0,
) -> tuple[Specificity, ...]:
    """Control of the driven site against all other recorded sites, same stimuli.

    With ``r[d, i, c] = Pearson over levels (prediction for d, response of c)`` for the
    stimuli made for site d from seed i, and any recorded site c:
    ``difference = mean_d mean_i ( r[d, i, d] - mean_{c != d} r[d, i, c] )``.

    A site that hardly responds to anything has r near 0 and makes others look specific;
    choose the recorded sites by their reliability first (`Recordings.select_sites`).

    Args:
      stimuli: what was shown; one record per model that made some.
      responses: axes ``[image, site, repeat]``, joined by id or file name.
      n_bootstrap: draws of the crossed seed x site bootstrap.
      random_seed: of the random generator, equal for all models.

    Returns:
      One record per model, in order of first appearance. The difference is NaN, and a
      note says so, where no site other than the driven one was recorded.

    Raises:
      InputError: no stimulus or no site in common.
    """
    responses = by_stimulus_id(stimuli, responses)
    table = control_table(stimuli, responses)
    return tuple(
        _of_model(model, table, stimuli, responses, n_bootstrap, random_seed)
        for model in dict.fromkeys(table.model)
    )


def _of_model(
    model: str,
    table: ControlTable,
    stimuli: StimulusSet,
    responses: Recordings,
    n_bootstrap: int,
    random_seed: int,
) -> Specificity:
    made_for, r = _r_of_all_sites(model, table, stimuli, responses)
    column = {name: index for index, name in enumerate(responses.site_ids)}
    known = [row for row, site in enumerate(made_for) if site in column]
    driven = tuple(made_for[row] for row in known)
    # The driven sites first, so that a specific model shows as a diagonal.
    others = [site for site in responses.site_ids if site not in driven]
    recorded = (*driven, *others)
    r = r[known][:, :, [column[site] for site in recorded]]
    own = np.eye(len(driven), len(recorded), dtype=bool)[:, None, :]
    target = mean_defined(np.where(own, r, np.nan), axis=2)
    rest = mean_defined(np.where(own, np.nan, r), axis=2)
    d = target - rest
    both = np.isfinite(d)
    p_sites, p_min_sites = sign_flip_test(
        mean_defined(d, axis=1), n_bootstrap, random_seed
    )
    return Specificity(
        model=model,
        driven=driven,
        recorded=recorded,
        control=mean_defined(r, axis=1),
        # A driven site alone still has a control score, though nothing to compare with.
        target=crossed_mean(np.where(both, target, np.nan) if both.any() else target),
        others=crossed_mean(np.where(both, rest, np.nan) if both.any() else rest),
        difference=crossed_mean(d),
        ci=crossed_bootstrap(d, n_bootstrap, random_seed),
        p_sites=p_sites,
        p_min_sites=p_min_sites,
        notes=_notes(made_for, driven, recorded, d),
    )


def _r_of_all_sites(
    model: str, table: ControlTable, stimuli: StimulusSet, responses: Recordings
) -> tuple[tuple[str, ...], Float[np.ndarray, "driven seed recorded"]]:
    """The sites driven, and r of their predictions with every recorded site.

    The exchange table of a stimulus set holds the response of the target site; with
    that column replaced by another site's responses, it is scored in the same way.
    """
    row = {name: index for index, name in enumerate(responses.stimulus_ids)}
    ids = [one.stimulus_id for one in stimuli.stimuli if one.level is not None]
    padded = np.vstack([responses.mean(), np.full(len(responses.site_ids), np.nan)])
    shown = padded[[row.get(name, -1) for name in ids]]
    sites, found = (), []
    for column in range(shown.shape[1]):
        other = dataclasses.replace(
            table,
            recorded=shown[:, column],
            n_repeats=np.full(len(ids), np.nan),
        )
        grid = next(iter(sweep_grids(other).values()))[model]
        sites = grid.sites
        found.append(pearson_r(grid.predicted, grid.recorded))
    return sites, np.stack(found, axis=-1)


def _notes(
    made_for: tuple[str, ...],
    driven: tuple[str, ...],
    recorded: tuple[str, ...],
    d: Float[np.ndarray, "driven seed"],
) -> tuple[str, ...]:
    notes = []
    unknown = [site for site in made_for if site not in driven]
    if unknown:
        notes.append(
            f"{len(unknown)} of {len(made_for)} driven sites were not recorded and are "
            f"left out, first {unknown[:3]}"
        )
    if len(recorded) < 2:
        notes.append("no site other than the driven one was recorded: no difference")
    lost = int(np.sum(~np.isfinite(d)))
    if lost and len(recorded) > 1:
        notes.append(
            f"{lost} of {d.size} sweeps are left out: not shown, fewer than three "
            "valid levels, or constant values at the driven site or at all others"
        )
    return tuple(notes)
