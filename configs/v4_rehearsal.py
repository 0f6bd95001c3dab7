r"""A rehearsal on real data: macaque V4 on day 1, models of its neurons on day 2.

    PARAMCTL_DATA=FOLDER python -m launch.pipeline \
        --config=configs/v4_rehearsal.py --workdir=runs/v4_rehearsal

Two ImageNet networks are fitted to the real responses of session 201025, and what they
make of a few photographs is shown to the compact models of the same neurons (Cowley et
al. 2023), with trial noise. FOLDER holds the files named below (``docs/numbers.md``
says where they come from). ``:smoke`` is a few minutes' version.
"""

import os

import ml_collections

# The best by cross-validated r at layer3.5, see docs/numbers.md; no ceiling is known.
SITES = ("site77", "site84", "site18", "site53")
# Of images 601 to 1200; the first half was probably used to fit the compact models.
SEEDS = ("image0640", "image0777", "image0913")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Two models x 4 sites x 3 seed images x 7 target levels.

    Args:
      variant: ``"smoke"`` takes 2 sites, 2 seed images and 5 levels.
    """
    if variant not in ("", "smoke"):
        raise ValueError(f"v4_rehearsal.py: expected :smoke, found :{variant}")
    smoke = variant == "smoke"
    data = os.environ.get("PARAMCTL_DATA", "PARAMCTL_DATA-is-not-set")
    sites = SITES[:2] if smoke else SITES
    config = ml_collections.ConfigDict()
    config.title = "Rehearsal: real V4 on day 1, compact models of its neurons on day 2"
    config.seed = 42
    config.models = (
        {
            "name": "resnet50_v1",
            "weights": f"{data}/weights/resnet50_v1_through_layer3.npz",
            "readout": "layer3.5",
            "input_size": 112,
        },
        {
            "name": "densenet121",
            "weights": f"{data}/weights/densenet121_imagenet_keras.npz",
            "readout": "features.denseblock3",
            "input_size": 112,
        },
    )
    config.images = {"source": f"{data}/v4/images_201025.zip", "size": 112}
    config.seeds = SEEDS[:2] if smoke else SEEDS

    # neuron_subject: the compact models see the images of day 2, and the natural ones
    # for their mean and SD; ncsnr is of single trials.
    config.subject = {
        "neurons": f"{data}/v4/compact_models",
        "session": "201025",
        "sites": sites,
        "ncsnr": (0.5, 0.8),
    }
    # Day 1 is real: averages of 12 repeats, taken as trials, so that they are z-scored
    # over the training images.
    config.recordings = {
        "day1": f"{data}/v4/responses_averaged_201025.npy",
        "day2": "",
        "reader": {
            "axes": "site trial",
            "units": "spikes/100 ms",
            "first_stimulus": "image0001",
            "first_site": "site00",
        },
        "trials": {"outlier": None},
    }
    config.presentation = {"day2_repeats": 12}

    # Averages have no reliability to rank sites by.
    config.sites = {"among": sites, "measure": "none"}
    config.encoding = {
        "readout": "",  # of each model its own
        "basis": "pca",
        "components": 500,
        "test_fraction": 0.2,
    }
    config.levels = {"count": 5 if smoke else 7, "extend": (0.25, 0.5)}
    config.synthesis = {
        "route": "path",
        "crops": 4,
        "crop_size": (0.9, 0.95),
        "noise": 0.05,
        "learning_rate": 0.2,
        "gamma": 1.0,
        "max_steps": 60 if smoke else 150,
        "tolerance": 0.005,
        "slots": 4,
    }
    config.sweep = {"pairs": 0}
    config.scoring = {"n_bootstrap": 10_000, "random_seed": 0}
    return config
