"""What changes from session to session: gains, offsets, and lost electrodes."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Array, Float, Key

from paramctl_jax.subject.noise import generator
from paramctl_jax.types import InputError

FIRST = "day1"


@dataclasses.dataclass(frozen=True)
class Drift:
    """In every session but the first, site s answers ``exp(g_s) u + o_s``, or nothing.

    ``g_s ~ N(0, gain)``, ``o_s ~ N(0, offset SD_s)``, drawn anew for every session;
    with probability `loss` the site is lost and has no responses.

    Attributes:
      gain: SD of the log gain, e.g. .1.
      offset: SD of the offset, in SDs of the site's natural responses, e.g. .3.
      loss: probability that a site is lost in a session, in [0, 1).
      first: name of the session that everything is relative to.
    """

    gain: float = 0.0
    offset: float = 0.0
    loss: float = 0.0
    first: str = FIRST

    def __post_init__(self) -> None:
        fine = 0 <= self.gain < np.inf and 0 <= self.offset < np.inf
        if not (fine and 0 <= self.loss < 1):
            raise InputError(
                "drift: expected gain and offset of at least 0 and a loss in [0, 1), "
                f"found gain={self.gain}, offset={self.offset}, loss={self.loss}"
            )

    def of_session(
        self, key: Key[Array, ""], session: int | str, sd: Float[np.ndarray, " site"]
    ) -> tuple[Float[np.ndarray, " site"], Float[np.ndarray, " site"]]:
        """Gain and offset of every site in one session; NaN where it is lost.

        Args:
          key: randomness.
          session: number or name.
          sd: of natural responses, one per site.
        """
        if str(session) == self.first:
            return np.ones(len(sd)), np.zeros(len(sd))
        stream = generator(key, f"drift\0{session}")
        gain, offset = stream.standard_normal((2, len(sd)))
        lost = stream.random(len(sd)) < self.loss
        gain = np.where(lost, np.nan, np.exp(self.gain * gain))
        return gain, self.offset * sd * offset
