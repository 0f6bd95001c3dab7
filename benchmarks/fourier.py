"""Why the parameterisations sum: places of a batch whose last bits differ, and cost.

    python -m benchmarks.fourier
    taskset -c 0 python -m benchmarks.fourier      # the digests on one core

One image in every place of a batch: a transform whose result depends on the place gives
a lane other bytes in another slot. The digest is of the first place.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from paramctl_jax.synthesis.parameterisations import spectrum


def fast(values: jax.Array) -> jax.Array:
    """What `spectrum.inverse` would be with XLA's own transform."""
    size = values.shape[1]
    both = jax.lax.complex(values[0], values[1])
    return jnp.fft.irfft2(both, s=(size, size), axes=(0, 1))


def differing(function: Callable, one: np.ndarray, slots: int) -> tuple[list[int], str]:
    """Places whose bits are not those of the first one, and a digest of that one."""
    batch = jnp.asarray(np.stack([one] * slots))
    found = np.asarray(jax.jit(jax.vmap(function))(batch))
    places = [place for place in range(slots) if (found[place] != found[0]).any()]
    return places, hashlib.sha256(found[0].tobytes()).hexdigest()[:8]


def seconds(functions: list[Callable], one: np.ndarray, slots: int) -> list[float]:
    """Per image; the functions in turn, medians of nine."""
    batch = jnp.asarray(np.stack([one] * slots))
    compiled = [jax.jit(jax.vmap(function)) for function in functions]
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(10):
        for function, its in zip(compiled, times, strict=True):
            began = time.perf_counter()
            function(batch).block_until_ready()
            its.append(time.perf_counter() - began)
    return [statistics.median(its[1:]) / slots for its in times]


def main() -> None:
    """Prints a line per size and number of slots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[112, 224])
    parser.add_argument("--slots", type=int, nargs="+", default=[2, 3, 8, 16])
    given = parser.parse_args()
    functions = {"fast": fast, "sums": spectrum.inverse}
    for size in given.sizes:
        rng = np.random.default_rng(0)
        shape = (2, size, size // 2 + 1, 3)
        one = rng.standard_normal(shape).astype(np.float32)
        for slots in given.slots:
            cost = seconds(list(functions.values()), one, slots)
            for (name, function), each in zip(functions.items(), cost, strict=True):
                places, digest = differing(function, one, slots)
                print(
                    f"{size} pixels, {slots} slots, {name}: {1e3 * each:.2f} ms an "
                    f"image, digest {digest}, places that differ: {places or 'none'}"
                )


if __name__ == "__main__":
    main()
