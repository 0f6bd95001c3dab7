"""The paper's grid on the bundled pair: 5 sites x 10 seed images x 11 levels.

    python -m launch.pipeline --config=configs/grid.py --workdir=runs/path
    python -m launch.pipeline --config=configs/grid.py --workdir=runs/lanes --config.synthesis.route=lanes
    python -m benchmarks.routes --workdirs=runs/path,runs/lanes

1,100 lanes in all. The numbers are in docs/numbers.md.
"""  # noqa: E501

import ml_collections

from configs import paper, quickstart


def get_config() -> ml_collections.ConfigDict:
    """The quickstart's networks and subject on the paper's grid."""
    config = quickstart.one_subject()
    config.title = "The bundled pair on the paper's grid"
    config.seeds = paper.get_config().seeds
    config.update(
        {
            "sites": {"count": 5},
            "levels": {"count": 11},
            "synthesis": {"max_steps": 400},
        }
    )
    return config
