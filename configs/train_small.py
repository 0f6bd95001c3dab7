"""Train one of the bundled small networks, standard or robust.

    python -m launch.train --config=configs/train_small.py:standard \
        --workdir=runs/train_standard --config.data=PHOTOGRAPHS
    python -m launch.train --config=configs/train_small.py:robust \
        --workdir=runs/train_robust --config.data=PHOTOGRAPHS

PHOTOGRAPHS is a folder or archive of ``train/CLASS/FILE`` and ``val/CLASS/FILE``, or
``tfds:NAME``. The two differ in nothing but the perturbation of the training images.
"""

import ml_collections

# Attacks in [0, 1] pixel units; one step of 1.25 epsilon is FGSM-RS.
ATTACKS = {
    "standard": {"norm": "none", "epsilon": 0.0, "steps": 1, "step_size": 1.25},
    "robust": {"norm": "linf", "epsilon": 2 / 255, "steps": 1, "step_size": 1.25},
}


def get_config(attack: str = "standard") -> ml_collections.ConfigDict:
    """The settings; `attack` is ``standard`` or ``robust``."""
    if attack not in ATTACKS:
        raise ValueError(f"train_small.py:{attack}: expected one of {list(ATTACKS)}")
    config = ml_collections.ConfigDict()
    config.data = "tiny_imagenet100_64.tar.gz"
    config.backbone = "small_standard"  # the architecture, by its registered name
    config.seed = 0
    config.recipe = {
        "epochs": 4,
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
    config.attack = ATTACKS[attack]
    # What the finished network is tested with: PGD-10 at 2/255.
    config.test_attack = {
        "norm": "linf",
        "epsilon": 2 / 255,
        "steps": 10,
        "step_size": 0.25,
    }
    return config
