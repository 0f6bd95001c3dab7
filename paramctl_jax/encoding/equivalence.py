"""Do two models predict the same held-out images equally well?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from paramctl_jax.encoding.evaluation import r_squared
from paramctl_jax.encoding.resampling import (
    N_PAIR,
    bootstrap_images,
    correlation_of,
    enough_draws,
    pair_statistics,
    r_squared_of,
)
from paramctl_jax.encoding.tost import LEVEL, PairedTests, paired_tests
from paramctl_jax.recordings import pearson
from paramctl_jax.recordings.correlation import MIN_PAIRS
from paramctl_jax.types import EncodingEvaluation, InputError, indices_of


@dataclasses.dataclass(frozen=True)
class EncodingComparison:
    """Two encoding models on the same sites and held-out images.

    Attributes:
      measure: ``"r"`` or ``"r2"``.
      bound: largest difference that counts as none.
      site_ids: one per entry of `sites`.
      sites: tests per site, over images; not corrected for the number of sites.
      mean: one entry, the tests of the mean over sites, over images and sites.
      n_images: held-out images.
      verdict: of the mean, in a sentence.
      notes: what was left out, in plain words.
    """

    measure: str
    bound: float
    site_ids: tuple[str, ...]
    sites: PairedTests
    mean: PairedTests
    n_images: int
    verdict: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = f"{'site':>12} {'a - b':>7} {'90 % CI':>16} {'p equiv':>8} {'p diff':>7}"
        rows = [
            _row(name, self.sites, index) for index, name in enumerate(self.site_ids)
        ]
        rows.append(_row("mean", self.mean, 0))
        return "\n".join([head, *rows, self.verdict, *self.notes])


def compare_encoding(
    a: EncodingEvaluation,
    b: EncodingEvaluation,
    *,
    measure: str = "r",
    bound: float = 0.05,
    n_bootstrap: int = 10_000,
    random_seed: int = 0,
) -> EncodingComparison:
    """Paired difference of two models' held-out scores, and whether it is negligible.

    Per site the held-out images are drawn again with replacement, the same for both
    models and all sites; for the mean over sites the sites are drawn again, too
    (crossed: the sites share their images). `paired_tests` has the formulas. A site
    where a score or more than 5 % of the draws are undefined has no test, and is left
    out of the mean. With one site the mean's tests speak about images only. They are
    conservative: crossed draws count up to three times what is particular to a pair of
    site and image (Owen 2007), so that a verdict needs more data, not less.

    Args:
      a: of the one model.
      b: of the other, fitted to the same recordings; images and sites are matched by
        id, in any order.
      measure: ``"r"`` or ``"r2"``, not normalised: the ceiling is the same for both.
      bound: positive; name it before looking.
      n_bootstrap: number of draws.
      random_seed: of the random generator.

    Returns:
      Differences, intervals and tests, per site in the order of `a` and of the mean.

    Raises:
      InputError: other images, sites or recorded responses; fewer than three images;
        an unknown measure; a bound that is not positive; no draws asked for.

    Example:
      >>> comparison = compare_encoding(a.evaluation, b.evaluation) # doctest: +SKIP
      >>> print(comparison.verdict)                                 # doctest: +SKIP
      equivalent within 0.05: mean difference in r 0.004 (90 % CI -0.012 to 0.021)

    Source: two one-sided tests, Schuirmann 1987, J. Pharmacokinet. Biopharm. 15,
    657-680; crossed resampling, Owen 2007, Ann. Appl. Stat. 1, 386-411.
    """
    _check_options(measure, bound)
    recorded, first, second, order = _matched(a, b)
    estimate, draws = _differences(
        measure, recorded, first, second, n_bootstrap, random_seed
    )
    tested = np.isfinite(estimate) & enough_draws(draws)
    estimate = np.where(tested, estimate, np.nan)
    over_sites = _mean_draws(draws[tested], random_seed)
    mean = np.mean(estimate[tested], keepdims=True) if tested.any() else [np.nan]
    original = np.argsort(order)  # from sorted ids back to the order of a
    sites = paired_tests(estimate[original], draws[original], bound)
    overall = paired_tests(np.asarray(mean), over_sites[None], bound)
    return EncodingComparison(
        measure=measure,
        bound=bound,
        site_ids=a.site_ids,
        sites=sites,
        mean=overall,
        n_images=len(recorded),
        verdict=_verdict(overall, measure, bound),
        notes=_notes(a.site_ids, np.isfinite(sites.difference)),
    )


def _check_options(measure: str, bound: float) -> None:
    if measure not in ("r", "r2"):
        raise InputError(f"measure: expected 'r' or 'r2', found {measure!r}")
    if not 0 < bound < np.inf:
        raise InputError(f"bound: expected a positive number, found {bound}")


def _matched(
    a: EncodingEvaluation, b: EncodingEvaluation
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Recorded and both predictions, images and sites by sorted id; the sites' order.

    Draws are of positions: sorted, they do not depend on the order of the ids.
    """
    _check_same("held-out images", a.test_ids, b.test_ids)
    _check_same("sites", a.site_ids, b.site_ids)
    if len(a.test_ids) < MIN_PAIRS:
        raise InputError(
            f"comparison: expected at least {MIN_PAIRS} held-out images, found "
            f"{len(a.test_ids)}; hold some out of both fits (test_fraction)"
        )
    images, sites = sorted(a.test_ids), sorted(a.site_ids)
    take_a, take_b = (
        np.ix_(
            indices_of(images, side.test_ids, "held-out images"),
            indices_of(sites, side.site_ids, "sites"),
        )
        for side in (a, b)
    )
    recorded, other = a.recorded[take_a], b.recorded[take_b]
    equal = np.isclose(recorded, other, rtol=1e-6, atol=1e-9, equal_nan=True)
    if not equal.all():
        raise InputError(
            "comparison: the recorded responses differ at "
            f"{int(np.sum(~equal.all(axis=0)))} of {len(sites)} sites, first "
            f"{sites[int(np.argmin(equal.all(axis=0)))]!r}; compare models that were "
            "fitted to the same recordings in the same units"
        )
    order = indices_of(sites, a.site_ids, "sites")
    return recorded, a.predicted[take_a], b.predicted[take_b], order


def _check_same(what: str, a: tuple[str, ...], b: tuple[str, ...]) -> None:
    only = sorted(set(a) ^ set(b))
    if only:
        raise InputError(
            f"comparison: expected the same {what} for both models, found {len(a)} and "
            f"{len(b)}, of which {len(only)} on one side only, first {only[:3]}"
        )


def _differences(
    measure: str,
    recorded: Float[np.ndarray, "image site"],
    a: Float[np.ndarray, "image site"],
    b: Float[np.ndarray, "image site"],
    n_bootstrap: int,
    random_seed: int,
) -> tuple[Float[np.ndarray, " site"], Float[np.ndarray, "site draw"]]:
    """Difference of the models per site: of the images, and of images drawn again."""
    valid = np.isfinite(recorded)
    score: Callable[[np.ndarray], np.ndarray]
    if measure == "r":
        score, estimates = correlation_of, [pearson(p, recorded, valid) for p in (a, b)]
    else:
        score, estimates = r_squared_of, [r_squared(recorded, p, valid) for p in (a, b)]
    pairs = [pair_statistics(recorded, side) for side in (a, b)]
    draws = bootstrap_images(
        np.concatenate(pairs, axis=-1),
        lambda sums: score(sums[..., :N_PAIR]) - score(sums[..., N_PAIR:]),
        n_bootstrap,
        random_seed,
    )
    return estimates[0] - estimates[1], draws


def _mean_draws(
    draws: Float[np.ndarray, "site draw"], random_seed: int
) -> Float[np.ndarray, " draw"]:
    """Mean over sites drawn with replacement; of undefined values, by what is left."""
    n_sites, n_bootstrap = draws.shape
    if not n_sites:
        return np.full(n_bootstrap, np.nan)
    # Another stream than the images': the two are drawn independently.
    rng = np.random.default_rng([random_seed, 1])
    equal = np.full(n_sites, 1 / n_sites)
    copies = rng.multinomial(n_sites, equal, size=n_bootstrap).T
    weight = np.where(np.isnan(draws), 0, copies)
    total = weight.sum(axis=0)
    mean = np.sum(weight * np.nan_to_num(draws), axis=0) / np.maximum(total, 1)
    return np.where(total > 0, mean, np.nan)


def _verdict(mean: PairedTests, measure: str, bound: float) -> str:
    name = {"r": "r", "r2": "R2"}[measure]
    difference, (low, high) = mean.difference[0], mean.ci90[0]
    if np.isnan(difference) or np.isnan(low):
        return f"undefined: no site has a difference in {name} with an interval"
    found = (
        f"mean difference in {name} {difference:.3f} (90 % CI {low:.3f} to {high:.3f})"
    )
    significant = mean.p_difference[0] < LEVEL
    if mean.equivalent[0]:
        small = ", small but not zero" if significant else ""
        return f"equivalent within {bound:g}{small}: {found}"
    if significant:
        return f"different: {found}, p {mean.p_difference[0]:.2g}"
    return (
        f"undecided: {found} reaches beyond the bound of {bound:g}, and no significant "
        f"difference (p {mean.p_difference[0]:.2g}) is not equivalence"
    )


def _notes(
    site_ids: tuple[str, ...], tested: Bool[np.ndarray, " site"]
) -> tuple[str, ...]:
    left_out = [site_ids[int(index)] for index in np.flatnonzero(~tested)]
    if not left_out:
        return ()
    return (
        f"{len(left_out)} of {len(site_ids)} sites left out, first "
        f"{', '.join(left_out[:3])}: a score or too many of its draws are undefined",
    )


def _row(name: str, tests: PairedTests, index: int) -> str:
    low, high = tests.ci90[index]
    return (
        f"{name:>12} {tests.difference[index]:7.3f} {low:7.3f} to {high:5.3f} "
        f"{tests.p_equivalence[index]:8.4f} {tests.p_difference[index]:7.4f}"
    )
