"""Compilation for tests that run a large network once: half the time, equal numbers."""

from functools import partial

import jax

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
