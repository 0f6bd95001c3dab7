"""Convert a checkpoint file of one's own: torch, safetensors or npz, never executed.

    python -m launch.convert_weights --source=imagenet_linf_8.pt --name=resnet50_robust
    python -m launch.convert_weights --source=mine.pth --backbone=resnet50 --name=mine

Leaves ``weights/NAME``, from which ``load_backbone("NAME")`` reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from launch import _main
from paramctl_jax.backbones import convert_weights
from paramctl_jax.backbones.store import read_manifest

_SOURCE = flags.DEFINE_string("source", None, "Checkpoint file.")
_NAME = flags.DEFINE_string("name", None, "Name of the weights.")
_BACKBONE = flags.DEFINE_string(
    "backbone", "", "Registered network they fit; not needed where --name is one."
)
_LICENCE = flags.DEFINE_string("licence", "", "Licence of the weights.")
_SHA256 = flags.DEFINE_string("sha256", "", "Expected digest of the file.")
_FOLDER = flags.DEFINE_string("folder", None, "Where to put them; default weights/.")


def main(argv: Sequence[str]) -> None:
    """Converts, and says what came out."""
    del argv
    source, name = _main.required(source=_SOURCE.value, name=_NAME.value)
    path = convert_weights(
        source,
        name,
        backbone=_BACKBONE.value,
        folder=_FOLDER.value,
        licence=_LICENCE.value,
        sha256=_SHA256.value,
    )
    manifest = read_manifest(path)
    print(
        f"{path}: {manifest.backbone}, {manifest.n_tensors} tensors, "
        f"{manifest.n_parameters:,} parameters, licence {manifest.licence or 'unknown'}"
    )
    print(f"source {manifest.source_file} {manifest.source_sha256}")


if __name__ == "__main__":
    _main.run(main)
