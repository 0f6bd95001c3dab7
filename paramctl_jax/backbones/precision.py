"""Weights in bfloat16: half the memory, and the matrix units of recent processors.

A pass with such weights finds its way; what it found is certified in float32.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def low_precision(variables: PyTree) -> PyTree:
    """The variables with every floating leaf in bfloat16; others stay as they are.

    With an input of bfloat16, every activation of a network is in bfloat16, too; only
    sums within a norm, a softmax or a pool are taken in float32.

    Args:
      variables: of a network, arrays as leaves.

    Returns:
      The same tree; may be traced.

    Example:
      >>> variables = {"kernel": jnp.ones((3, 3)), "step": jnp.zeros((), jnp.int32)}
      >>> {name: leaf.dtype.name for name, leaf in low_precision(variables).items()}
      {'kernel': 'bfloat16', 'step': 'int32'}
    """

    def cast(leaf: jax.Array) -> jax.Array:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(leaf, jnp.bfloat16) if floating else leaf

    return jax.tree.map(cast, variables)
