"""Stimuli out: what rigs and other tools read, and in which order to show it."""

from paramctl_jax.stimuli.exchange.authors import (
    AuthorsImage,
    authors_name,
    load_authors,
    parse_authors_name,
)
from paramctl_jax.stimuli.exchange.export import FORMATS, Export, export_stimuli
from paramctl_jax.stimuli.exchange.formats import Display
from paramctl_jax.stimuli.exchange.presentation import (
    Presentation,
    presentation_csv,
    presentation_list,
)
from paramctl_jax.stimuli.exchange.shown import (
    ShownImage,
    anchor_images,
    shown_images,
)

__all__ = [
    "FORMATS",
    "AuthorsImage",
    "Display",
    "Export",
    "Presentation",
    "ShownImage",
    "anchor_images",
    "authors_name",
    "export_stimuli",
    "load_authors",
    "parse_authors_name",
    "presentation_csv",
    "presentation_list",
    "shown_images",
]
