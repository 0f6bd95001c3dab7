"""How the mapping from features to sites matters for control: basis x read-out.

    python -m launch.pipeline --config=configs/mapping.py --workdir=runs/mapping

The quickstart's networks and one subject of known truth, a run for every mapping: the
ridge on principal components, on sparse random projections, on spatial means and on the
features as they are, and sparse read-outs. Prince et al. 2025 discuss that read-outs
which predict equally well may steer unequally.
"""

import ml_collections

from configs import quickstart

# The keyword arguments of fit_encoding that make a mapping.
MAPPINGS = {
    "pca_ridge": {"basis": "pca", "components": 200},
    "pca50_ridge": {"basis": "pca", "components": 50},
    # without a number Johnson and Lindenstrauss ask for more than the 4096 features
    "srp_ridge": {"basis": "srp", "components": 1000},
    "spatial_mean_ridge": {"basis": "spatial_mean", "components": None},
    "features_ridge": {"basis": "none", "components": None},
    "pca_lasso": {"basis": "pca", "components": 200, "regression": "lasso"},
    "spatial_mean_lasso": {
        "basis": "spatial_mean",
        "components": None,
        "regression": "lasso",
    },
}


def get_config() -> ml_collections.ConfigDict:
    """As configs/quickstart.py with its robust-like subject, once per mapping."""
    config = quickstart.one_subject()
    config.title = "Basis and read-out against control"
    config.variants = {name: {"encoding": given} for name, given in MAPPINGS.items()}
    return config
