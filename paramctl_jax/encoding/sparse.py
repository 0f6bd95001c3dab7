"""Sparse read-outs: few features per site, of either sign or only positive.

Per site, ``min_b |y - Z b|^2 / (2 N) + a sum |b|`` with centred features Z and
responses y (the intercept is not penalised), by scikit-learn's coordinate descent. The
features are taken as given: one in larger units is penalised less, as with ridge.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from paramctl_jax.encoding.blocks import FeatureBlocks
from paramctl_jax.encoding.linear import LinearFit, check_problem, fold_of_images
from paramctl_jax.types import InputError

MAX_FEATURES = 20_000
"""With more, coordinate descent takes hours for a hundred sites."""

STEPS_PER_DECADE = 10
"""Default candidates: ``10 ** (integer / 10)``, the same for all sites and data."""

DECADES = 3
"""How far default candidates reach below the first that removes all weights."""

MAX_ITERATIONS = 10_000

TOLERANCE = 1e-5
"""Of the duality gap, relative to the squared responses."""


@dataclasses.dataclass(frozen=True)
class Design:
    """Centred features of some images, laid out as coordinate descent reads them.

    Attributes:
      z: in column order.
      mean: subtracted.
      gram: ``z' z`` where there are fewer features than images; else False.
    """

    z: Float[np.ndarray, "image feature"]
    mean: Float[np.ndarray, " feature"]
    gram: Float[np.ndarray, "feature feature"] | bool


def lasso(
    features: FeatureBlocks,
    responses: Float[np.ndarray, "image site"],
    *,
    penalties: Float[np.ndarray, " penalty"] | None = None,
    n_folds: int = 5,
    key: PRNGKeyArray | None,
    positive: bool = False,
) -> LinearFit:
    """Lasso of every site with the penalty of least K-fold error.

    The error is averaged over all images of all folds, which are the same for all
    sites. Ties go to the larger penalty. Without `penalties` a site considers the
    tenths of decades up to the first that removes all its weights, and three decades
    down from there; this depends on no other site.

    Args:
      features: of the training images, in any units, at most `MAX_FEATURES`.
      responses: repeat averages, finite.
      penalties: candidates for all sites, positive, in feature x response units.
      n_folds: number of folds.
      key: of the folds, see `fold_of_images`.
      positive: whether weights below 0 are forbidden.

    Returns:
      The fit in float64; `notes` names fits that had not converged.

    Raises:
      InputError: what `ridge` refuses, too many features, or no key.

    Example:
      >>> import jax
      >>> rng = np.random.default_rng(0)
      >>> z = rng.standard_normal((50, 4))
      >>> fit = lasso(FeatureBlocks(z), 3 * z[:, 1:2], key=jax.random.key(0))
      >>> fit.weights[:, 0].round(1) + 0.0
      array([0., 3., 0., 0.])

    Source: Tibshirani 1996, JRSS B 58:267; Friedman, Hastie & Tibshirani 2010, JSS
    33(1). With `positive`: Prince et al. 2024, on features that are channels or units;
    signs mean nothing in a rotated basis.
    """
    grid = None if penalties is None else np.unique(np.asarray(penalties, np.float64))
    check_problem(features.shape, responses, grid, "lasso")
    _refuse_slow(features.shape, responses.shape[1])
    fold = fold_of_images(len(features), n_folds, key)
    x = features.whole()
    if not np.isfinite(x).all():
        raise InputError(
            f"features hold {int((~np.isfinite(x)).sum())} values that are not finite; "
            "leave these images out"
        )
    train = [_design(x[fold != index]) for index in range(n_folds)]
    full = _design(x)
    sites = [
        _site(x, y, full, train, fold, grid, positive)
        for y in responses.astype(np.float64).T
    ]
    return _gather(sites, grid)


sparse_positive = functools.partial(lasso, positive=True)
"""`lasso` without negative weights (Prince et al. 2024)."""


@dataclasses.dataclass(frozen=True)
class _Site:
    """One site's fit; fields as in `LinearFit`."""

    weights: np.ndarray
    bias: float
    penalty: float
    penalties: np.ndarray
    cv_mse: np.ndarray
    cv_prediction: np.ndarray
    unconverged: int


def _site(x, y, full, train, fold, grid, positive) -> _Site:
    candidates = _default_grid(full, y, positive) if grid is None else grid
    predicted = np.empty((len(candidates), len(y)))
    unconverged = 0
    for index, design in enumerate(train):
        out = fold == index
        weights, failed = _path(design, y[~out], candidates, positive)
        centred = (x[out] - design.mean) @ weights
        predicted[:, out] = (y[~out].mean() + centred).T
        unconverged += failed
    mse = np.mean((predicted - y) ** 2, axis=1)
    chosen = len(mse) - 1 - int(np.argmin(mse[::-1]))  # of equals the larger
    # Down the path to the chosen one: warm starts are faster, the optimum the same.
    weights, failed = _path(full, y, candidates[chosen:], positive)
    final = weights[:, 0]
    return _Site(
        final,
        y.mean() - full.mean @ final,
        candidates[chosen],
        candidates,
        mse,
        predicted[chosen],
        unconverged + failed,
    )


def _path(
    design: Design, y: np.ndarray, penalties: np.ndarray, positive: bool
) -> tuple[Float[np.ndarray, "feature penalty"], int]:
    """Weights at every penalty, ascending, and how many had not converged."""
    # a second of imports, which most runs do without
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lasso_path

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        _, weights, _ = lasso_path(
            design.z,
            y - y.mean(),
            alphas=penalties[::-1],  # pyright: ignore[reportArgumentType]
            precompute=design.gram,  # pyright: ignore[reportArgumentType]
            positive=positive,
            max_iter=MAX_ITERATIONS,
            tol=TOLERANCE,
        )
    return weights[:, ::-1], len(caught)


def _design(x: np.ndarray) -> Design:
    mean = x.mean(axis=0)
    z = np.asfortranarray(x - mean)
    return Design(z, mean, z.T @ z if z.shape[1] < z.shape[0] else False)


def _default_grid(full: Design, y: np.ndarray, positive: bool) -> np.ndarray:
    """Tenths of decades around what this site alone asks for."""
    slope = full.z.T @ (y - y.mean()) / len(y)
    needed = float(np.max(slope if positive else np.abs(slope)))
    tiny = np.finfo(np.float64).tiny ** 0.5
    top = int(np.ceil(STEPS_PER_DECADE * np.log10(max(needed, tiny))))
    powers = np.arange(top - DECADES * STEPS_PER_DECADE, top + 1)
    return 10.0 ** (powers / STEPS_PER_DECADE)


def _gather(sites: list[_Site], grid: np.ndarray | None) -> LinearFit:
    """All sites side by side; inf where a site did not consider another's penalty."""
    every = [site.penalties for site in sites]
    penalties = np.unique(np.concatenate(every)) if grid is None else grid
    mse = np.full((len(penalties), len(sites)), np.inf)
    for column, site in enumerate(sites):
        mse[np.searchsorted(penalties, site.penalties), column] = site.cv_mse
    return LinearFit(
        weights=np.stack([site.weights for site in sites], axis=1),
        bias=np.array([site.bias for site in sites]),
        penalty=np.array([site.penalty for site in sites]),
        penalties=penalties,
        cv_mse=mse,
        cv_prediction=np.stack([site.cv_prediction for site in sites], axis=1),
        notes=_convergence_notes(sites),
    )


def _convergence_notes(sites: list[_Site]) -> tuple[str, ...]:
    slow = [site.unconverged for site in sites if site.unconverged]
    if not slow:
        return ()
    return (
        f"lasso: {sum(slow)} fits of {len(slow)} of {len(sites)} sites had not "
        f"converged after {MAX_ITERATIONS} iterations, mostly at small penalties",
    )


def _refuse_slow(shape: tuple[int, int], n_sites: int) -> None:
    if shape[1] > MAX_FEATURES:
        raise InputError(
            f"lasso: {shape[1]} features of {shape[0]} images for {n_sites} sites "
            "would take hours by coordinate descent, expected at most "
            f"{MAX_FEATURES}; fit on basis 'spatial_mean', or use ridge"
        )
