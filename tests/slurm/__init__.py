"""Slurm: scripts, and a cluster of one node to run them on."""
