"""What publishers' layouts share: the image tower out of a model of images and text."""

from __future__ import annotations

import numpy as np

from paramctl_jax.backbones.spec import Tensors

# The text tower and the settings that OpenAI's archives and open_clip keep beside it.
_TEXT = (
    "text.",
    "transformer.",
    "token_embedding.",
    "ln_final.",
    "positional_embedding",
    "text_projection",
    "logit_scale",
    "logit_bias",
    "input_resolution",
    "context_length",
    "vocab_size",
)


def image_tower(tensors: Tensors, prefix: str) -> dict[str, np.ndarray]:
    """The tensors under `prefix`, without it; the text tower is left out.

    A name that belongs to neither stays as it is, for the loader to report.

    Example:
      >>> one = np.zeros(1)
      >>> found = image_tower({"visual.a": one, "ln_final.b": one, "c": one}, "visual.")
      >>> sorted(found)
      ['a', 'c']
    """
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix) or not name.startswith(_TEXT)
    }
