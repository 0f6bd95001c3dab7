"""Trial noise of the in-silico subject, one random stream per stimulus and session."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, Key


def trial_noise(
    key: Key[Array, ""],
    session: int | str,
    stimulus_ids: Sequence[str],
    n_sites: int,
    repeats: int,
) -> Float[np.ndarray, "image site repeat"]:
    """Standard normal noise of every trial.

    The noise of one trial is a function of the key, the session, the stimulus id and
    the number of the repeat, and of nothing else: showing other stimuli, another order
    or more repeats does not change it. It is drawn on the host, so that it does not
    hang on the accelerator either.

    Args:
      key: randomness.
      session: number or name; ``1`` and ``"1"`` are the same session.
      stimulus_ids: of what is shown.
      n_sites: number of sites; their noise is independent.
      repeats: presentations of every stimulus.

    Returns:
      Independent draws from N(0, 1).

    Example:
      >>> key = jax.random.key(0)
      >>> both = trial_noise(key, 1, ["ant", "bee"], 3, 2)
      >>> bool((trial_noise(key, 1, ["bee"], 3, 5)[0, :, :2] == both[1]).all())
      True
    """
    noise = np.empty((len(stimulus_ids), n_sites, repeats))
    for image, stimulus_id in enumerate(stimulus_ids):
        # Drawn repeat by repeat: further repeats leave the first ones as they are.
        draws = _generator(key, session, stimulus_id).standard_normal(
            (repeats, n_sites)
        )
        noise[image] = draws.T
    return noise


def _generator(
    key: Key[Array, ""], session: int | str, stimulus_id: str
) -> np.random.Generator:
    """A stream of its own: 256 bits of digest do not collide."""
    seed = np.asarray(jax.random.key_data(key)).astype("<u4").tobytes()
    origin = seed + f"{session}\0{stimulus_id}".encode()
    return np.random.default_rng(
        int.from_bytes(hashlib.sha256(origin).digest(), "little")
    )
