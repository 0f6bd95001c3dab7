"""The families of networks, one file each; every ``SPECS`` here is registered."""
