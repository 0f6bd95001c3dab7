"""The image as a function of what is optimised: an exact seed and a frequency prior.

    x(theta) = clip( sigmoid(logit(x0) + D(theta) M) + rho, 0, 1 )
    D(theta) = irfft2( a * (theta_re + i theta_im) ),   a(f) = 1 / max(f, f_min)^gamma

``x(0)`` is the seed image itself: ``rho = x0 - sigmoid(logit(clip(x0)))`` puts back
what the clipped logit loses at black and white. The prior `a` acts in the forward map;
on the gradient alone it would be divided out by Adam. Frequencies above the network's
own Nyquist limit are switched off, for the network sends them no gradient and Adam
would fill them with noise. Re and im are separate real arrays, so that Adam sees two
coordinates and not one complex modulus.

Sources: preconditioning and exact seeds are this project's; the colour matrix is
Lucid's (Olah et al. 2017).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Rows span the decorrelated colour axes of natural images (light, warm-cold,
# green-purple): Lucid's colour correlation, scaled by its largest column norm.
COLOUR = np.asarray(
    [
        [0.56282854, 0.58447580, 0.58447580],
        [0.19482528, 0.0, -0.19482528],
        [0.04329450, -0.10823626, 0.06494176],
    ]
)
_EPSILON = 1 / 512  # half a step of 8 bits: the flattest slope left to a black pixel

Theta = Float[Array, "2 size half 3"]
Image = Float[Array, "size size 3"]


def frequency_prior(
    size: int, gamma: float, limit: float
) -> Float[np.ndarray, "size half"]:
    """``a(u, v) = 1 / max(f, 1/size)^gamma`` below `limit`, with mean square 1.

    Args:
      size: side of the canvas in pixels.
      gamma: slope of the prior, 0 (white) to 2.
      limit: highest frequency in cycles per pixel; .5 keeps all.

    Returns:
      Amplitude per bin of the half spectrum; 0 above the limit.
    """
    rows, columns = np.fft.fftfreq(size), np.fft.rfftfreq(size)
    frequency = np.hypot(rows[:, None], columns[None, :])
    amplitude = np.maximum(frequency, 1 / size) ** -gamma
    highest = np.maximum(np.abs(rows)[:, None], columns[None, :])
    amplitude = np.where(highest <= limit, amplitude, 0.0)
    return amplitude / np.sqrt(np.mean(amplitude**2))


def zero_theta(size: int) -> Theta:
    """The parameters of the un-accentuated seed image."""
    return jnp.zeros((2, size, size // 2 + 1, 3), jnp.float32)


def decode(theta: Theta, seed: Image, prior: Float[Array, "size half"]) -> Image:
    """The image of `theta`, in [0, 1]; exactly the seed at ``theta = 0``.

    Args:
      theta: real and imaginary half spectrum per colour axis.
      seed: sRGB in [0, 1].
      prior: as `frequency_prior` gives it.
    """
    size = seed.shape[0]
    clipped = jnp.clip(seed, _EPSILON, 1 - _EPSILON)
    logit = jnp.log(clipped) - jnp.log1p(-clipped)
    residual = seed - jax.nn.sigmoid(logit)
    scaled = theta * prior[None, :, :, None]
    spectrum = jax.lax.complex(scaled[0], scaled[1])
    change = jnp.fft.irfft2(spectrum, s=(size, size), axes=(0, 1), norm="ortho")
    colour = jnp.asarray(COLOUR, jnp.float32)
    shifted = logit + jnp.matmul(change, colour, precision="highest")
    return jnp.clip(jax.nn.sigmoid(shifted) + residual, 0, 1)
