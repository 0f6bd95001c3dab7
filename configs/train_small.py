"""Train one of the bundled small networks, standard or robust.

    python -m launch.train --config=configs/train_small.py:standard \
        --workdir=runs/train_standard --config.data=PHOTOGRAPHS
    python -m launch.train --config=configs/train_small.py:robust \
        --workdir=runs/train_robust --config.data=PHOTOGRAPHS

PHOTOGRAPHS is a folder or archive of ``train/CLASS/FILE`` and ``val/CLASS/FILE``, or
``tfds:NAME``. The two differ in nothing but the perturbation of the training images.
"""

import ml_collections

# L-infinity radii of the training attack, of 255; two of the series are the pair.
RADII = {
    "standard": 0.0,
    "linf_eps1": 1.0,
    "robust": 2.0,
    "linf_eps4": 4.0,
}


def get_config(variant: str = "standard") -> ml_collections.ConfigDict:
    """The settings; `variant` is one of `RADII`."""
    if variant not in RADII:
        raise ValueError(f"train_small.py:{variant}: expected one of {list(RADII)}")
    config = ml_collections.ConfigDict()
    config.data = "tiny_imagenet100_64.tar.gz"
    config.backbone = f"small_{variant}"  # the architecture, by its registered name
    config.seed = 0
    config.recipe = {
        "epochs": 8,
        "batch_size": 128,
        "learning_rate": 0.2,
        "warmup": 0.15,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
        "small_crop": 48,
        "small_fraction": 0.75,
        "pad": 6,
        "ramp": 0.25,
    }
    # One step of 1.25 radii from a random start (FGSM-RS), in [0, 1] pixel units.
    config.attack = {
        "norm": "linf" if RADII[variant] else "none",
        "epsilon": RADII[variant] / 255,
        "steps": 1,
        "step_size": 1.25,
    }
    # What the network is tested with, after every epoch and at the end: PGD-10.
    config.test_attack = {
        "norm": "linf",
        "epsilon": 2 / 255,
        "steps": 10,
        "step_size": 0.25,
    }
    return config
