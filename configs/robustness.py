"""Control against robustness: one architecture, one recipe, one radius after another.

    python -m launch.weights --fetch=resnet50_l2_eps0,resnet50_l2_eps1,...  # once
    python -m launch.pipeline --config=configs/robustness.py:l2 --workdir=runs/l2

``l2`` and ``linf`` name the norm of the attack (Salman et al. 2020; radius 0 is the
matched baseline, trained by the same recipe). The rest is as in
``configs/backbones.py``.
"""

import ml_collections

from configs import backbones
from paramctl_jax.backbones.families.resnet import L2_RADII, LINF_RADII


def get_config(norm: str = "l2") -> ml_collections.ConfigDict:
    """ResNet-50s of one norm's series; the Linf series begins with radius 0 as well."""
    if norm not in ("l2", "linf"):
        raise ValueError(f"norm {norm!r}: expected l2 or linf")
    config = backbones.get_config()
    config.title = f"Control against robustness ({norm})"
    l2, linf = (
        tuple(f"resnet50_{kind}_eps{radius}" for radius in radii)
        for kind, radii in (("l2", L2_RADII), ("linf", LINF_RADII))
    )
    config.models = {"l2": l2, "linf": (l2[0], *linf)}[norm]
    config.update({"encoding": {"readout": "layer4.1"}})
    return config
