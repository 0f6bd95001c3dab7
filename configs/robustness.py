"""Control against robustness: one architecture, one recipe, one radius after another.

    python -m launch.pipeline --config=configs/robustness.py:small --workdir=runs/radii

    python -m launch.weights --fetch=resnet50_l2_eps0,resnet50_l2_eps1,...  # once
    python -m launch.pipeline --config=configs/robustness.py:l2 --workdir=runs/l2

``small`` is the series of bundled networks, before a standard-like and a robust-like
subject. ``l2`` and ``linf`` are ResNet-50s, by the norm of the attack (Salman et al.
2020; radius 0 is the matched baseline, trained by the same recipe); the rest is as in
``configs/backbones.py``.
"""

import ml_collections

from configs import backbones, quickstart
from paramctl_jax.backbones.families.resnet import L2_RADII, LINF_RADII

# Radii 0, 1, 2 and 4 of 255 (Linf).
SMALL = (
    "small_standard",
    "small_linf_eps1",
    "small_robust",
    "small_linf_eps4",
)
L2 = tuple(f"resnet50_l2_eps{radius}" for radius in L2_RADII)
LINF = (L2[0], *(f"resnet50_linf_eps{radius}" for radius in LINF_RADII))


def get_config(series: str = "l2") -> ml_collections.ConfigDict:
    """The networks of one series; both norms' begin with the same radius 0."""
    if series not in ("small", "l2", "linf"):
        raise ValueError(f"robustness.py:{series}: expected small, l2 or linf")
    if series == "small":
        config = quickstart.get_config()
        config.variants = {
            name: {"subject": quickstart.TRUTHS[name], "seed": seed}
            for seed, name in enumerate(("standard_like", "robust_like"))
        }
    else:
        config = backbones.get_config()
        config.update({"encoding": {"readout": "layer4.1"}})
    config.title = f"Control against robustness ({series})"
    config.models = {"small": SMALL, "l2": L2, "linf": LINF}[series]
    return config
