"""The bundled photographs: 400 of Caltech-101, CC BY 4.0 (see README.md, LICENSE)."""

from paramctl_jax.data.photographs import load_photographs, photographs_path

__all__ = ["load_photographs", "photographs_path"]
