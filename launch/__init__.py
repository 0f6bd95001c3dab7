"""Short absl launchers, one per stage; run as ``python -m launch.NAME``."""
