"""Macaque V4 and a real ImageNet ResNet-50: layers and bases on real neurons.

    PARAMCTL_DATA=FOLDER python -m launch.v4 --config=configs/v4.py --workdir=runs/v4

FOLDER holds the files named below (``docs/numbers.md`` says where it comes from and
which numbers to expect). With ``--config=configs/v4.py:sweep`` two sites of the second
session are accentuated as well; that takes an hour on two cores.
"""

import os

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The settings; each section is the keyword arguments of one library call.

    Args:
      variant: ``"sweep"`` also accentuates.
    """
    if variant not in ("", "sweep"):
        raise ValueError(f"configs/v4.py: expected :sweep, found :{variant}")
    config = ml_collections.ConfigDict()
    config.data = os.environ.get("PARAMCTL_DATA", "")
    config.repeated = {  # trial counts, 640 grey renders of objects
        "session": "210325",
        "responses": "v4/responses_raw_210325.npy",
        "images": "v4/images_210325.zip",
        "bases": ("pca", "srp"),
    }
    config.averaged = {  # repeat averages, 1200 colour photographs
        "session": "201025",
        "responses": "v4/responses_averaged_201025.npy",
        "images": "v4/images_201025.zip",
        "bases": ("pca",),
    }
    config.weights = "weights/resnet50_v1_through_layer3.npz"
    config.backbone = {"name": "resnet50_v1", "input_size": 112, "through": "layer3"}
    config.seed = 42
    config.readouts = ("layer2.3", "layer3.0", "layer3.5")
    config.n_splits = 100
    config.best = 10
    # srp: 5347 projections for 512 images, by the Johnson-Lindenstrauss bound
    config.bases = {"pca": {"components": 500}, "srp": {}, "spatial_mean": {}}
    config.encoding = {"test_fraction": 0.2}
    config.accentuated = {"readout": "layer3.5", "sites": 2, "seeds": 3}
    config.sweep = variant == "sweep"
    config.levels = {"count": 11, "extend": (0.25, 0.5)}
    config.synthesis = {
        "route": "path",
        "crops": 4,
        "noise": 0.05,
        "learning_rate": 0.2,
        "max_steps": 400,
        "slots": 4,
    }
    return config
