"""A sweep in blocks, shared by any number of workers through the run directory."""
