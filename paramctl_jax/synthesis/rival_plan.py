"""A contest of several models, checked, before anything is computed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from paramctl_jax.encoding import predict
from paramctl_jax.synthesis.contests import CONTESTS
from paramctl_jax.synthesis.engine import Engine
from paramctl_jax.synthesis.gradient import Reader
from paramctl_jax.synthesis.locality import compares_features
from paramctl_jax.synthesis.plan import check_pace, check_seeds
from paramctl_jax.synthesis.rivals import RivalPlan, RivalReader, RivalRow
from paramctl_jax.synthesis.settings import Settings
from paramctl_jax.synthesis.tables import Grid
from paramctl_jax.types import (
    EncodingModel,
    ImageSet,
    InputError,
    indices_of,
    unknown,
)


def rival_plan(
    models: Sequence[EncodingModel],
    seeds: ImageSet,
    natural: ImageSet,
    *,
    sites: Sequence[str] | None = None,
    levels: Sequence[float] = (1.5,),
    contest: str = "softmin",
    sharpness: float = 10.0,
    tolerance: float = 0.02,
    slow: float = 0.3,
    slots: int = 16,
    devices: Sequence[Any] | None = None,
    **settings: Any,
) -> RivalPlan:
    """Checks what `controversial` was asked for; see there."""
    if contest not in CONTESTS:
        raise unknown(contest, CONTESTS, "contest")
    settings = {"route": "lanes"} | settings if contest == "joint" else settings
    static = Settings(**{"transparency": False, **settings})  # nobody draws its maps
    _check(models, static, contest, sharpness, levels)
    check_pace(slots, tolerance, slow)
    check_seeds(seeds, models)
    site_ids = _common_sites(models, sites)
    center, scale = _standards(models, site_ids, natural)
    rows, grid_levels = _rows(contest, site_ids, len(models), levels)
    names = [_label(models, row) for row in rows]
    full = np.full(len(rows), 1.0)
    readers = (Reader(m.backbone.network, m.readout, static) for m in models)
    return RivalPlan(
        models=tuple(models),
        rows=rows,
        center=center,
        scale=scale,
        seeds=seeds,
        grid=Grid(
            tuple(names),
            seeds.stimulus_ids,
            grid_levels,
            tolerance * full,
            slow * full,
        ),
        engine=Engine(
            RivalReader(tuple(readers), contest, float(sharpness)),
            seeds.pixels.shape[1],
        ),
        slots=slots,
        devices=tuple(jax.local_devices() if devices is None else devices),
    )


def _check(
    models: Sequence[EncodingModel],
    settings: Settings,
    contest: str,
    sharpness: float,
    levels: Sequence[float],
) -> None:
    names = [model.name for model in models]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"controversial: expected two or more models of different names, found "
            f"{names}"
        )
    finite = all(np.isfinite(level) and level > 0 for level in levels)
    if not levels or not finite or len(set(levels)) < len(levels):
        raise InputError(
            f"controversial levels: expected distinct commitments above 0 in SD, found "
            f"{list(levels)}"
        )
    problems = {
        f"sharpness={sharpness}, expected 1 to 100": 1 <= sharpness <= 100,
        "contest='joint' with route='path': a path passes its levels; give "
        "route='lanes'": contest != "joint" or settings.route == "lanes",
        f"objective={settings.objective!r}, expected 'thermostat'": (
            settings.objective == "thermostat"
        ),
        f"locality={settings.locality!r} compares features of one network; expected "
        "'first_hit' or 'pixel'": not compares_features(settings.locality),
    }
    for problem, fine in problems.items():
        if not fine:
            raise InputError(f"controversial: {problem}")


def _common_sites(
    models: Sequence[EncodingModel], sites: Sequence[str] | None
) -> tuple[str, ...]:
    everywhere = set.intersection(*(set(model.site_ids) for model in models))
    if sites is None:
        sites = [site for site in models[0].site_ids if site in everywhere]
    if not sites:
        raise InputError(
            "controversial: expected sites that all models have, found none; the first "
            f"has {list(models[0].site_ids[:3])}"
        )
    for model in models:
        indices_of(sites, model.site_ids, f"sites of {model.name}")
    return tuple(sites)


def _standards(
    models: Sequence[EncodingModel], site_ids: Sequence[str], natural: ImageSet
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Mean and SD of natural predictions, per model over the model's own sites."""
    centers, scales = [], []
    for model in models:
        predicted = predict(model, natural)
        center, scale = predicted.mean(axis=0), predicted.std(axis=0)
        own = indices_of(site_ids, model.site_ids, "sites")
        still = [model.site_ids[i] for i in own if not scale[i] > 0]
        if still or not np.isfinite(scale[own]).all():
            raise InputError(
                f"controversial: {model.name} predicts one value for all "
                f"{len(natural)} natural images at sites {still[:3]}; leave them out"
            )
        centers.append(center)
        scales.append(np.where(scale > 0, scale, 1.0))
    return tuple(centers), tuple(scales)


def _rows(
    contest: str, site_ids: Sequence[str], n_models: int, levels: Sequence[float]
) -> tuple[tuple[RivalRow, ...], Float[np.ndarray, "row level"]]:
    """Rows of the grid, site by site; those of a joint contest have one level each."""
    ways = list(itertools.product(site_ids, range(n_models)))
    if contest == "joint":
        rows = [RivalRow(*way, float(level)) for way in ways for level in levels]
        return tuple(rows), np.asarray([[row.aim] for row in rows])
    rows = [RivalRow(*way, float(levels[0])) for way in ways]
    return tuple(rows), np.tile(np.asarray(levels, np.float64), (len(rows), 1))


def _label(models: Sequence[EncodingModel], row: RivalRow) -> str:
    """Names a row; what a lane's draws depend on, with its seed image and level."""
    return "\n".join((row.site, models[row.high].name))
