"""The experiment of Prince et al. 2025: 2 models x 5 sites x 10 seeds x 11 levels.

    python -m launch.weights --fetch=resnet50,resnet50_robust
    python -m launch.pipeline --config=configs/paper.py --workdir=runs/rehearsal

As it stands this is a rehearsal, on the bundled photographs and an in-silico subject.
For the experiment itself, in a copy: your calibration images in ``config.images``, ten
of their ids in ``config.seeds``, ``config.subject = None`` and the files of
``config.recordings``; then ``launch.fit_encoding`` and ``launch.accentuate``, the
recording, and ``launch.report``.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
    """ResNet-50 and MadryLab's robust ResNet-50 (Linf, 8/255), both at ``layer4.1``."""
    config = quickstart.one_subject()
    config.title = "Parametric control by a standard and a robust ResNet-50"
    config.models = ("resnet50", "resnet50_robust")
    config.images = {"source": "bundled", "size": 224}
    config.seeds = (
        "butterfly_0003",
        "crab_0002",
        "dolphin_0002",
        "elephant_0006",
        "flamingo_0003",
        "kangaroo_0003",
        "lotus_0005",
        "panda_0001",
        "rooster_0003",
        "strawberry_0001",
    )
    config.sites = {"count": 5}
    # PCA of the training images only, as many components as they allow up to 1000.
    config.encoding = {
        "readout": "layer4.1",
        "basis": "pca",
        "components": 1000,
        "test_fraction": 0.2,
    }
    config.levels = {"count": 11, "extend": (0.25, 0.5)}
    config.update({"synthesis": {"max_steps": 400, "crops": 8}})
    # the two driven apart, at the same sites and seed images: 100 PNGs more
    config.rivals = ("resnet50_robust", "resnet50")
    config.controversial = {"contest": "softmin", "levels": (1.5,)}
    config.selection = {"slack": 0.05}
    return config
