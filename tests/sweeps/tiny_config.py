"""The quickstart's settings at the size of a test: 2 models x 2 sites x 3 seeds."""

from configs import quickstart
from tests.nets import NETS


def get_config():
    config = quickstart.get_config()
    config.models = NETS[:2]
    config.variants = {}
    config.images.size = 32
    config.seeds = ("elephant_0006", "lotus_0005", "rooster_0003")
    config.subject.update(
        {"backbone": NETS[2], "readout": "layer2.0", "n_sites": 3, "components": 10}
    )
    config.sites.count = 2
    config.encoding.update({"readout": "layer2.0", "components": 50})
    config.levels.count = 3
    config.synthesis.update({"slots": 2, "max_steps": 40, "crops": 2})
    config.sweep.pairs = 2
    config.scoring.n_bootstrap = 200
    return config
