"""The sweeps of these tests: two sites, three photographs, three levels."""

import jax
import numpy as np

from paramctl_jax.synthesis import accentuate

SEEDS = ("elephant_0006", "lotus_0005", "rooster_0003")
READOUT = "layer2.0"
LEVELS = np.array([[-2.0, 0.0, 2.5], [-2.0, 0.1, 2.5]])


def sweep_of(model, seeds, levels=LEVELS, **settings):
    """A sweep with the tests' slots, on one device unless said."""
    settings = {"slots": 3, "devices": jax.devices()[:1], **settings}
    return accentuate(
        model, seeds, levels, key=jax.random.key(0), progress=False, **settings
    )
