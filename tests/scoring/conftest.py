"""Small designs [site, seed, level] as exchange tables."""

import numpy as np
import pytest

from paramctl_jax.scoring import ControlTable
from paramctl_jax.scoring.table import NUMBERS


def build_table(
    predicted, recorded, *, model="m", subject="", site_names=None, **numbers
):
    """One row per entry of arrays [site, seed, level]; others are unknown."""
    cells = list(np.ndindex(predicted.shape))
    n = len(cells)
    names = site_names or [f"s{i}" for i in range(predicted.shape[0])]
    return ControlTable(
        source="memory",
        subject=(subject,) * n,
        model=(model,) * n,
        site=tuple(names[s] for s, _, _ in cells),
        seed=tuple(f"i{i}" for _, i, _ in cells),
        level=tuple(str(level) for _, _, level in cells),
        predicted=predicted.ravel().astype(np.float64),
        recorded=recorded.ravel().astype(np.float64),
        **{
            name: np.broadcast_to(
                np.asarray(numbers.get(name, np.nan), np.float64), predicted.shape
            ).ravel()
            for name in NUMBERS[2:]
        },
    )


def join_tables(*tables):
    """The rows of several tables, one after the other."""
    columns = {
        name: sum((getattr(t, name) for t in tables), ())
        for name in ("subject", "model", "site", "seed", "level")
    }
    numbers = {
        name: np.concatenate([getattr(t, name) for t in tables]) for name in NUMBERS
    }
    return ControlTable(source="memory", **columns, **numbers)


@pytest.fixture
def table_of():
    return build_table


@pytest.fixture
def joined():
    return join_tables


@pytest.fixture
def noisy_design():
    """Five sites x ten seeds x eleven levels: gain .4, trial noise 1."""
    rng = np.random.default_rng(5)
    predicted = np.broadcast_to(np.linspace(-3, 5, 11), (5, 10, 11))
    predicted = predicted + rng.normal(0, 0.05, predicted.shape)
    return predicted, 0.4 * predicted + rng.normal(0, 1, predicted.shape)
