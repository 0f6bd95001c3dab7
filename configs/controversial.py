"""The quickstart, and then its two networks driven apart: whom does the subject follow?

    python -m launch.pipeline --config=configs/controversial.py --workdir=runs/pair

Every seed image is changed until the robust network predicts a high response and the
standard one a low one, and the other way round; the responses to both say which of the
networks the subject is like. With the stages one by one, `launch.controversial` is
this one.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
    """As configs/quickstart.py, with a contest at the same sites and seed images."""
    config = quickstart.one_subject()
    config.title = "Two networks driven apart"
    # Of the models, the two to be driven apart.
    config.rivals = ("small_robust", "small_standard")

    # controversial: commitments in SD of natural predictions; what is not named here is
    # as in config.synthesis.
    config.controversial = {
        "contest": "softmin",
        "levels": (1.5,),
        "sharpness": 10.0,
        "tolerance": 0.02,
    }
    # save_controversial: seed images to show per site, None takes all that are accepted
    config.selection = {"slack": 0.05, "count": None}
    return config
