"""What a rehearsal of an experiment found: records over animals and repeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from paramctl_jax.scoring.power import Power


@dataclasses.dataclass(frozen=True)
class Spread:
    """Median, 5th and 95th percentile over the animals that have the number."""

    median: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class ModelRehearsal:
    """Control of one model over animals.

    Attributes:
      name: of the model.
      control: mean over sites of the mean over seeds of r; NaN where no r is defined.
      slope: mean over sites of `within_slope`.
      control_spread, slope_spread: of both over animals, by number of repeats.
      true_control, true_slope: the same without trial noise, drift and lost sites.
    """

    name: str
    control: Float[np.ndarray, "repeats animal"]
    slope: Float[np.ndarray, "repeats animal"]
    control_spread: tuple[Spread, ...]
    slope_spread: tuple[Spread, ...]
    true_control: Float[np.ndarray, " animal"]
    true_slope: Float[np.ndarray, " animal"]


@dataclasses.dataclass(frozen=True)
class PairRehearsal:
    """Control of model `a` minus control of model `b`, over animals.

    Attributes:
      difference: mean over sites of the mean over seeds of ``r_a - r_b``.
      spread: of it over animals, by number of repeats.
      true_difference: without trial noise, drift and lost sites.
      p_seeds, p_sites: sign-flip tests of each animal.
      ci: crossed seed x site bootstrap of each animal.
      power: share of animals that show a difference, of either sign, by number of
        repeats; an animal without a defined difference shows none.
      enough: fewest of the repeats tried that reach the wanted power, by test; None
        where none does.
    """

    a: str
    b: str
    difference: Float[np.ndarray, "repeats animal"]
    spread: tuple[Spread, ...]
    true_difference: Float[np.ndarray, " animal"]
    p_seeds: Float[np.ndarray, "repeats animal"]
    p_sites: Float[np.ndarray, "repeats animal"]
    ci: Float[np.ndarray, "repeats animal 2"]
    power: tuple[Power, ...]
    enough: Mapping[str, int | None]


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """What a planned experiment would find in many animals.

    Attributes:
      repeats: numbers of repeats that were tried, ascending.
      planned: the one among them that the settings plan.
      n_animals, n_sites, n_seeds, n_levels: of the experiment; sites of one model.
      n_incomplete: animals with a sweep that has no r, of a lost site for example.
      alpha: level of the tests; the intervals cover ``1 - alpha``.
      wanted_power: what the repeats are to reach.
      models: in the order of the settings.
      pairs: of models, each once; none for a single model.
      mode: ``"fixed"``: one fit and one stimulus set for all animals; ``"full"``: each
        animal has its own.
    """

    repeats: tuple[int, ...]
    planned: int
    n_animals: int
    n_sites: int
    n_seeds: int
    n_levels: int
    n_incomplete: int
    alpha: float
    wanted_power: float
    models: tuple[ModelRehearsal, ...]
    pairs: tuple[PairRehearsal, ...]
    mode: str = "fixed"
