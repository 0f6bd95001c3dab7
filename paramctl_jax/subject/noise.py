"""Trial noise of the in-silico subject, one random stream per stimulus and session."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from paramctl_jax.types import InputError, unknown

Rates = Float[np.ndarray, "image site"]
Draws = Float[np.ndarray, "image site repeat"]

KINDS = ("gaussian", "poisson", "overdispersed")


def trial_noise(
    key: Key[Array, ""],
    session: int | str,
    stimulus_ids: Sequence[str],
    n_sites: int,
    repeats: int,
    shared: float = 0.0,
) -> Draws:
    """Standard normal noise of every trial.

    The noise of one trial is a function of the key, the session, the stimulus id and
    the number of the repeat, and of nothing else: showing other stimuli, another order
    or more repeats does not change it. It is drawn on the host, so that it does not
    hang on the accelerator either.

    Args:
      key: randomness.
      session: number or name; ``1`` and ``"1"`` are the same session.
      stimulus_ids: of what is shown.
      n_sites: number of sites.
      repeats: presentations of every stimulus.
      shared: correlation of any two sites' noise, in [0, 1): ``sqrt(1 - c) e_s +
        sqrt(c) e_0``, e_0 being common to all sites of a trial.

    Returns:
      Draws from N(0, 1), independent between trials.

    Example:
      >>> key = jax.random.key(0)
      >>> both = trial_noise(key, 1, ["ant", "bee"], 3, 2)
      >>> bool((trial_noise(key, 1, ["bee"], 3, 5)[0, :, :2] == both[1]).all())
      True
    """
    noise = np.empty((len(stimulus_ids), n_sites, repeats))
    columns = n_sites + (shared > 0)
    for image, stimulus_id in enumerate(stimulus_ids):
        # Drawn repeat by repeat: further repeats leave the first ones as they are.
        stream = generator(key, f"{session}\0{stimulus_id}")
        draws = stream.standard_normal((repeats, columns)).T
        noise[image] = draws[:n_sites]
        if shared > 0:
            noise[image] *= np.sqrt(1 - shared)
            noise[image] += np.sqrt(shared) * draws[n_sites]
    return noise


def generator(key: Key[Array, ""], purpose: str) -> np.random.Generator:
    """A stream of its own for every purpose: 256 bits of digest do not collide."""
    seed = np.asarray(jax.random.key_data(key)).astype("<u4").tobytes()
    origin = seed + purpose.encode()
    return np.random.default_rng(
        int.from_bytes(hashlib.sha256(origin).digest(), "little")
    )


@runtime_checkable
class Noise(Protocol):
    """Turns noise-free responses into trials."""

    def trials(self, rates: Rates, normal: Draws) -> Draws:
        """Trials of `rates`, from standard normal draws."""
        ...


@dataclasses.dataclass(frozen=True)
class GaussianNoise:
    """``y = u + sd_s e``, e ~ N(0, 1).

    Attributes:
      sd: of single trials, response units; 0 for none.
    """

    sd: Float[np.ndarray, " site"]

    def trials(self, rates: Rates, normal: Draws) -> Draws:
        """Trials of `rates`, from standard normal draws."""
        return rates[:, :, None] + self.sd[None, :, None] * normal


@dataclasses.dataclass(frozen=True)
class CountNoise:
    """Spike counts in a window: ``y = n / T_s``, E n = T_s u, Var n = F E n.

    Poisson for a Fano factor F of 1, else negative binomial (a Poisson whose rate is
    Gamma distributed). Counts are the quantiles of the draws' probabilities, so that
    correlated draws give correlated counts.

    Attributes:
      window: T, seconds.
      fano: F, at least 1.
    """

    window: Float[np.ndarray, " site"]
    fano: float = 1.0

    def trials(self, rates: Rates, normal: Draws) -> Draws:
        """Trials of `rates`, from standard normal draws."""
        from scipy import stats  # slow to import

        window = self.window[None, :, None]
        mean = np.maximum(rates[:, :, None] * window, 1e-9)
        share = np.clip(stats.norm.cdf(normal), 1e-15, 1 - 1e-15)
        if self.fano == 1:
            return stats.poisson.ppf(share, mean) / window
        count = stats.nbinom.ppf(share, mean / (self.fano - 1), 1 / self.fano)
        return count / window


def noise_of_reliability(
    kind: str,
    natural: Rates,
    ncsnr: Float[np.ndarray, " site"],
    fano: float = 1.0,
) -> GaussianNoise | CountNoise:
    """Trial noise that gives every site the wanted signal-to-noise ratio.

    ``ncsnr = SD of the signal / SD of the noise`` over natural images (Allen et al.
    2022). Gaussian: ``sd = SD(u) / ncsnr``. Counts in a window T have the mean noise
    variance ``F mean(u) / T``, hence ``T = F mean(u) ncsnr^2 / Var(u)``.

    Args:
      kind: ``gaussian``, ``poisson`` or ``overdispersed``.
      natural: noise-free responses to natural images; rates for counts.
      ncsnr: wanted, above 0.
      fano: variance of the counts over their mean, for ``overdispersed``; above 1.

    Returns:
      The noise.

    Raises:
      InputError: another kind, a ratio that is not above 0, a Fano factor that does not
        fit the kind, or a site that answers every natural image alike.

    Example:
      >>> noise = noise_of_reliability(
      ...     "gaussian", np.array([[-1.0], [1.0]]), np.array([0.5])
      ... )
      >>> noise.sd
      array([2.])
    """
    _check(kind, natural, ncsnr, fano)
    if kind == "gaussian":
        return GaussianNoise(natural.std(axis=0) / ncsnr)
    window = fano * natural.mean(axis=0) * ncsnr**2 / natural.var(axis=0)
    return CountNoise(window, fano)


def _check(kind: str, natural: Rates, ncsnr: np.ndarray, fano: float) -> None:
    check_kind(kind, fano)
    if not np.all((ncsnr > 0) & np.isfinite(ncsnr)):
        raise InputError(f"ncsnr: expected numbers above 0, found {ncsnr.tolist()}")
    check_natural(natural)


def check_kind(kind: str, fano: float) -> None:
    """The kind is known, and the Fano factor is one that it can have.

    Raises:
      InputError: saying what was expected.
    """
    if kind not in KINDS:
        raise unknown(kind, KINDS, "kind of trial noise")
    fits = 1 < fano < np.inf if kind == "overdispersed" else fano == 1
    if not fits:
        wanted = "above 1" if kind == "overdispersed" else "1"
        raise InputError(f"fano: expected {wanted} for {kind} noise, found {fano}")


def check_natural(natural: Rates) -> None:
    """Every site must tell some natural images apart.

    Raises:
      InputError: naming the first that does not.
    """
    still = np.flatnonzero(natural.std(axis=0) <= 1e-9)
    if still.size:
        raise InputError(
            f"subject: site {still[0]} answers all {len(natural)} natural images alike "
            f"({still.size} of {natural.shape[1]} sites do): no noise gives it a "
            "signal-to-noise ratio; choose another readout, shape or baseline"
        )
