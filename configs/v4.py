"""Macaque V4 and a real ImageNet ResNet-50, from recordings to a stimulus set.

    PARAMCTL_DATA=FOLDER python -m launch.v4 --config=configs/v4.py --workdir=runs/v4

FOLDER holds the files named below (``docs/numbers.md`` says
where it comes from and which numbers to expect).
"""

import os

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """The settings; each section is the keyword arguments of one library call."""
    config = ml_collections.ConfigDict()
    config.data = os.environ.get("PARAMCTL_DATA", "")
    config.repeated = {  # trial counts, 640 grey renders of objects
        "session": "210325",
        "responses": "v4/responses_raw_210325.npy",
        "images": "v4/images_210325.zip",
    }
    config.averaged = {  # repeat averages, 1200 colour photographs
        "session": "201025",
        "responses": "v4/responses_averaged_201025.npy",
        "images": "v4/images_201025.zip",
    }
    config.weights = "weights/resnet50_v1_through_layer3.npz"
    config.backbone = {"name": "resnet50_v1", "input_size": 112, "through": "layer3"}
    config.seed = 42
    config.readouts = ("layer2.3", "layer3.0", "layer3.5")
    config.n_splits = 100
    config.best = 10
    config.encoding = {"basis": "pca", "components": 500, "test_fraction": 0.2}
    config.accentuated = {"readout": "layer3.5", "sites": 2, "seeds": 2}
    config.levels = {"count": 5, "extend": (0.25, 0.5)}
    config.synthesis = {
        "crops": 4,
        "noise": 0.05,
        "learning_rate": 0.1,
        "max_steps": 400,
        "slots": 4,
    }
    return config
