"""The whole loop in minutes: two small networks, simulated subjects, photographs.

    python -m launch.pipeline --config=configs/quickstart.py --workdir=runs/quickstart

Any setting can be changed on the command line, e.g. ``--config.sites.count=5``. Each
section holds the keyword arguments of one library call. The pipeline runs every variant
at the end of this file; a stage by itself, such as `launch.accentuate`, takes the
settings as they stand. ``configs/quickstart.py:5`` draws five subjects of each kind.
"""

import ml_collections

# What the subject's sites read, by name of the variant: networks that are neither of
# the models, but trained as one of them was, half of each, or nothing in the image.
TRUTHS = {
    "standard_like": {"backbone": "small_subject_standard"},
    "robust_like": {"backbone": "small_subject_robust"},
    "mixed": {
        "backbone": "small_subject_robust",
        "second": "small_subject_standard",
        "rho": 0.7071,  # equal variance from both
    },
    "null": {"predictable": False},
}


def get_config(draws: str = "1") -> ml_collections.ConfigDict:
    """Two models x 4 sites x 4 seed images x 7 target levels, for every subject.

    Args:
      draws: subjects of each kind, drawn independently.
    """
    if not draws.isdecimal() or int(draws) < 1:
        raise ValueError(f"quickstart.py:{draws}: expected a number of draws, like :5")
    config = ml_collections.ConfigDict()
    config.title = "Quickstart: a standard and a robust network"
    config.seed = 0
    config.models = ("small_standard", "small_robust")

    # load_images: "bundled", or a folder, archive, NSD file or tfds:NAME; size None
    # keeps theirs.
    config.images = {"source": "bundled", "size": 112}
    # Stimulus ids of the seed images; held out from the fit.
    config.seeds = ("elephant_0006", "kangaroo_0003", "lotus_0005", "rooster_0003")

    # simulated_subject: random read-outs of a network that is neither model, about
    # as noisy as macaque V4 (there ncsnr .4 to 1.3). For a real experiment, in a copy:
    # config.subject = None, and files in config.recordings.
    config.subject = {
        "backbone": "small_subject_robust",
        "readout": "layer3.0",
        "n_sites": 12,
        "components": 30,
        "ncsnr": (0.3, 1.2),
    }
    # load_recordings(FILE, **reader), any format of docs/formats.md; trials = {} also
    # cleans and z-scores single trials (responses_from_trials), None takes the file's.
    config.recordings = {"day1": "", "day2": "", "reader": {}, "trials": None}
    # anchors: natural images that are shown again on day 2, for subjects that drift
    config.presentation = {"day1_repeats": 8, "day2_repeats": 4, "anchors": 0}

    # choose_sites, fit_encoding (of several readouts the best is chosen), target_levels
    config.sites = {"count": 4, "measure": "reliability"}
    config.encoding = {
        "readout": "layer4.0",
        "basis": "pca",
        "components": 200,
        "test_fraction": 0.2,
    }
    config.levels = {"count": 7, "extend": (0.25, 0.5)}

    # accentuate; route "lanes" optimises every level by itself, at many times the cost
    config.synthesis = {
        "route": "path",
        "crops": 4,
        "crop_size": (0.9, 0.95),
        "noise": 0.05,
        "learning_rate": 0.2,
        "gamma": 1.0,
        "max_steps": 200,
        "tolerance": 0.005,
        "slots": 8,
    }

    # plan_sweep: pairs of site and seed image in a block, the unit that workers share
    # and that is saved as one file; 0 takes 4 for every slot.
    config.sweep = {"pairs": 0}

    # control_score
    config.scoring = {"n_bootstrap": 10_000, "random_seed": 0}

    # Runs of the pipeline, each with a few settings of its own, in variants/NAME.
    config.variants = {
        name + ("" if draw == 0 else f"_{draw + 1}"): {
            "subject": truth,
            "seed": number + len(TRUTHS) * draw,
            # A read-out that predicts nothing reaches no target in any number of steps.
            "synthesis": {} if truth.get("predictable", True) else {"max_steps": 60},
        }
        for draw in range(int(draws))
        for number, (name, truth) in enumerate(TRUTHS.items())
    }
    return config


def one_subject() -> ml_collections.ConfigDict:
    """The same networks with the robust-like subject alone: one run, no variants."""
    config = get_config()
    config.variants = {}
    return config
