"""The ten models of the authors' 2026 study in one comparison.

    python -m launch.weights --fetch=resnet50,resnet50_robust         # once, or all ten
    python -m launch.pipeline --config=configs/backbones.py --workdir=runs/backbones \
        --config.models="('resnet50','resnet50_robust')"

Each model is read at its own default readout (``python -m launch.weights --list``), at
its own input size and normalisation. The rest is the quickstart's: bundled photographs
and an in-silico subject; for recordings set ``config.subject = None``, ``recordings``
and ``images``. A model may also be a mapping, e.g. ``{"name": "resnet50_early",
"backbone": "resnet50", "readout": "layer2.3", "input_size": 112, "weights": FILE}``.
"""

import ml_collections

from configs import quickstart

MODELS = (
    "AlexNet_training_seed_01",  # the untrained control
    "resnet50",
    "resnet50_dino",
    "resnet50_clip",
    "regnety_640",
    "dinov2_vitb14_reg",
    "siglip2_vitb16",
    "radio_v2.5-b",
    "resnet50_robust",
    "clipag_vitb32",
)


def get_config() -> ml_collections.ConfigDict:
    """Ten models x 4 sites x 4 seed images x 7 target levels."""
    config = quickstart.one_subject()
    config.title = "Ten backbones"
    config.models = MODELS
    config.update({"encoding": {"readout": ""}})  # each backbone's own
    config.update({"synthesis": {"max_steps": 400}})
    return config
