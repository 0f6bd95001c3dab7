"""From a contest of models to a folder of PNGs, judged by every model, and selected."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from paramctl_jax.artifacts import atomic_write, sha256_file
from paramctl_jax.encoding import predict
from paramctl_jax.images import encode_png, read_image
from paramctl_jax.progress import bar
from paramctl_jax.stimuli.controversial_choice import (
    Group,
    accept,
    select,
    smallest_commitment,
)
from paramctl_jax.stimuli.controversial_table import (
    CONTROVERSIAL_TABLE,
    controversial_csv,
)
from paramctl_jax.stimuli.measures import pixel_changes
from paramctl_jax.stimuli.table import check_no_others, check_unique, stimulus_id
from paramctl_jax.types import (
    ControversialSet,
    ControversialStimulus,
    ControversialSweep,
    ImageSet,
    InputError,
    indices_of,
)


def save_controversial(
    directory: str | Path,
    sweep: ControversialSweep,
    *,
    slack: float = 0.05,
    count: int | None = None,
    alike: float = 0.9,
    progress: bool = True,
) -> ControversialSet:
    """Writes a contest as PNGs with their table, every model judging the saved PNGs.

    Per site and seed image there is one PNG of the seed, and one per model driven up
    and level. With the commitments ``u`` that the models have to the saved PNG and the
    level c, it passes where ``min(u) >= (1 - slack) c``, in a joint contest where
    ``max(abs(u - c)) <= slack c``. It is accepted where all directions of the same
    site, seed image and level pass: what is shown is matched. Among the accepted, those
    of the largest ``min(u)`` are selected, of equal ones the least changed; images
    whose pixels correlate with a selected one of the site by `alike` or more are not.

    Args:
      directory: made where it is missing; must not hold a controversial set yet.
      sweep: of `controversial`.
      slack: of acceptance, as a fraction of the level.
      count: seed images to select per site; None for all that are accepted.
      alike: Pearson r of the pixels of two images that are taken for one.
      progress: whether to show a progress bar.

    Returns:
      The set, in the order site, seed image, model driven up, level.

    Raises:
      InputError: another set or other PNGs in the directory, a slack or count out
        of range.
    """
    directory = Path(directory)
    drafts = [list(_drafts(sweep, s)) for s in range(len(sweep.site_ids))]
    _check(directory, [one for site in drafts for one in site], slack, count)
    judged: list[ControversialStimulus] = []
    pixels: dict[str, np.ndarray] = {}
    total = sum(map(len, drafts))
    with bar(total=total, label="controversial stimuli", show=progress) as written:
        for site, own in enumerate(drafts):
            rows = _pixels(sweep, site)
            for draft, row in zip(own, rows, strict=True):
                atomic_write(directory / draft.filename, encode_png(row))
            saved = np.stack([read_image(directory / one.filename) for one in own])
            judged += _judged(directory, sweep, site, own, saved)
            pixels |= dict(zip((one.stimulus_id for one in own), saved, strict=True))
            written.update(len(own))
    stimuli = select(accept(judged, sweep.contest, slack), pixels, count, alike)
    models = tuple(model.name for model in sweep.models)
    text = controversial_csv(models, stimuli)
    atomic_write(directory / CONTROVERSIAL_TABLE, text.encode())
    return ControversialSet(directory, models, tuple(stimuli))


def summarise_controversial(stimuli: ControversialSet) -> str:
    """What was accepted and selected, in one line."""
    driven = [one for one in stimuli.stimuli if one.high]
    accepted = sum(one.accepted for one in driven)
    selected = [one for one in driven if one.selected]
    pairs: dict[Group, list[float]] = {}
    for one in selected:
        pairs.setdefault((one.site, one.seed, one.level), []).append(one.rms)
    unequal = sum(max(rms) > 1.2 * min(rms) for rms in pairs.values())
    return (
        f"controversial stimuli: {accepted} of {len(driven)} accepted from their PNGs "
        f"in all directions, {len(selected)} selected; at {unequal} of {len(pairs)} "
        "selected seed images the change differs by more than 20 % between directions"
    )


def _drafts(sweep: ControversialSweep, site: int) -> Iterator[ControversialStimulus]:
    """All that is known of a site's stimuli before they are written."""
    name, nan = sweep.site_ids[site], float("nan")
    for index, seed in enumerate(sweep.seeds.stimulus_ids):
        origins = [("", -1, -1)] + [
            (model.name, high, level)
            for high, model in enumerate(sweep.models)
            for level in range(len(sweep.levels))
        ]
        for model, high, level in origins:
            made = stimulus_id(
                f"up_{model}" if model else "contest",
                name,
                seed,
                level if model else None,
            )
            yield ControversialStimulus(
                stimulus_id=made,
                filename=f"{made}.png",
                high=model,
                site=name,
                seed=seed,
                level=float(sweep.levels[level]) if model else 0.0,
                predicted={},
                z={},
                controversiality=nan,
                accepted=False,
                selected=False,
                sha256="",
                rms=nan,
                step=int(sweep.step[site, high, index, level]) if model else 0,
            )


def _pixels(
    sweep: ControversialSweep, site: int
) -> UInt8[np.ndarray, "png height width 3"]:
    """The site's images in the order of its drafts: each seed, then its own."""
    made = np.moveaxis(sweep.images[site], 1, 0)
    made = made.reshape(len(made), -1, *made.shape[3:])
    both = np.concatenate([sweep.seeds.pixels[:, None], made], axis=1)
    return both.reshape(-1, *both.shape[2:])


def _judged(
    directory: Path,
    sweep: ControversialSweep,
    site: int,
    drafts: Sequence[ControversialStimulus],
    saved: UInt8[np.ndarray, "png height width 3"],
) -> list[ControversialStimulus]:
    """The drafts of one site with what every model says of their files."""
    images = ImageSet(tuple(one.stimulus_id for one in drafts), saved)
    predicted, z = {}, {}
    for index, model in enumerate(sweep.models):
        column = indices_of([sweep.site_ids[site]], model.site_ids, "sites")[0]
        own = predict(model, images)[:, column]
        predicted[model.name] = own
        z[model.name] = (own - sweep.center[index, site]) / sweep.scale[index, site]
    seeds = dict(zip(sweep.seeds.stimulus_ids, sweep.seeds.pixels, strict=True))
    return [
        dataclasses.replace(
            one,
            predicted={name: float(values[i]) for name, values in predicted.items()},
            z={name: float(values[i]) for name, values in z.items()},
            controversiality=smallest_commitment(
                {n: float(v[i]) for n, v in z.items()}, one.high
            ),
            sha256=sha256_file(directory / one.filename),
            rms=pixel_changes(saved[i], seeds[one.seed])["rms"],
        )
        for i, one in enumerate(drafts)
    ]


def _check(
    directory: Path,
    drafts: Sequence[ControversialStimulus],
    slack: float,
    count: int | None,
) -> None:
    if not 0 <= slack < 1 or (count is not None and count < 1):
        raise InputError(
            f"controversial stimuli: slack={slack}, count={count}; expected a "
            "slack in [0, 1) and a count of at least 1, or None"
        )
    if (directory / CONTROVERSIAL_TABLE).exists():
        raise InputError(
            f"{directory}: expected no controversial set, found {CONTROVERSIAL_TABLE}; "
            "give another directory"
        )
    check_unique(drafts, str(directory))
    check_no_others(directory, {one.filename for one in drafts})
