"""Encoding models side by side, as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paramctl_jax.types import EncodingModel

COLUMNS = {"r": "r", "r2": "R²", "r_normalised": "r / ceiling", "cv_r": "cv r"}
"""Measures of the evaluation and how they are headed."""


def encoding_table(models: Sequence[EncodingModel]) -> str:
    """Means over sites of every model's evaluation; "–" where all sites lack it.

    Args:
      models: any number, at least one.

    Returns:
      Lines of text, without a final newline.
    """
    names = [model.name for model in models]
    width = max(len("model"), *(len(name) for name in names))
    layer = max(len("readout"), *(len(model.readout) for model in models))
    heads = " ".join(f"{head:>11}" for head in COLUMNS.values())
    lines = [f"{'model':<{width}}  {'readout':<{layer}} {'sites':>6} {heads}"]
    for model in models:
        cells = " ".join(
            f"{_mean(getattr(model.evaluation, name)):>11}" for name in COLUMNS
        )
        count = len(model.site_ids)
        lines.append(
            f"{model.name:<{width}}  {model.readout:<{layer}} {count:>6} {cells}"
        )
    evaluation = models[0].evaluation
    lines.append(
        f"means over sites; {len(evaluation.train_ids)} training, "
        f"{len(evaluation.test_ids)} held-out images"
    )
    return "\n".join(lines)


def _mean(values: np.ndarray) -> str:
    defined = values[np.isfinite(values)]
    return f"{defined.mean():.3f}" if defined.size else "–"
