"""Make ``photographs.zip`` from a Caltech-101 archive.

    python -m paramctl_jax.data.make_photographs caltech101_112.tar.gz

The source holds ``caltech101/CATEGORY/image_NNNN.jpg`` with a shorter side of at least
112 px. A photograph is kept if its centre square passes `is_usable`, looks unlike every
photograph kept before it, and is in neither list of exclusions; the first of every
category are taken in turns until there are 400. The archive's bytes depend only on the
source and on the version of libjpeg: entries are sorted, stored and undated.
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from paramctl_jax.artifacts import atomic_write
from paramctl_jax.types import InputError

Photograph = UInt8[np.ndarray, "112 112 3"]
SIDE = 112
COUNT = 400
QUALITY = 95  # the highest with which the whole folder stays below 3 MB

# Identifiable people, third-party rights, and categories that are mostly artwork.
EXCLUDED_CATEGORIES = frozenset(
    {
        "BACKGROUND_Google",
        "Faces",
        "Faces_easy",
        "garfield",
        "snoopy",
        "dollar_bill",
        "brontosaurus",
        "stegosaurus",
    }
)

# Found by eye: people, drawings and paintings, printed covers, large captions, a twin.
EXCLUDED_PHOTOGRAPHS: dict[str, tuple[int, ...]] = {
    "airplanes": (18,),
    "anchor": (10, 23),
    "bonsai": (9,),
    "brain": (8,),
    "butterfly": (12,),
    "cannon": (14,),
    "ceiling_fan": (3, 14, 15),
    "crab": (19, 21),
    "crayfish": (17,),
    "crocodile_head": (3,),
    "cup": (9, 14, 20),
    "dalmatian": (2, 3),
    "ferry": (1,),
    "flamingo": (10,),
    "flamingo_head": (12,),
    "gerenuk": (7,),
    "gramophone": (10,),
    "grand_piano": (16,),
    "hawksbill": (2,),
    "lamp": (8, 10),
    "menorah": (1,),
    "nautilus": (19,),
    "octopus": (11, 18),
    "platypus": (12,),
    "pyramid": (2,),
    "revolver": (8,),
    "rooster": (1, 2, 11),
    "saxophone": (3, 7, 10),
    "soccer_ball": (16, 17),
    "stapler": (14, 21),
    "starfish": (13,),
    "stop_sign": (14, 18),
    "strawberry": (5,),
    "sunflower": (15,),
    "tick": (4, 6),
    "umbrella": (23,),
    "wheelchair": (1, 5, 9, 10, 12),
}


def centre_square(image: Image.Image) -> Photograph:
    """The central 112 x 112 pixels, not resampled."""
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    box = (left, top, left + SIDE, top + SIDE)
    return np.asarray(image.convert("RGB").crop(box))


def is_usable(pixels: Photograph) -> bool:
    """Whether a square is a full-frame colour photograph with room to be changed.

    Saturated pixels cannot move in one direction, so that seeds full of them accentuate
    slowly. Flat 8 x 8 blocks and saturated corners tell cut-outs, letter boxes and the
    rotated photographs of Caltech-101 with their black corners.
    """
    values = pixels.astype(np.float64)
    grey = values.mean(axis=-1)
    saturated = np.mean(np.any((values <= 2) | (values >= 253), axis=-1))
    blocks = grey.reshape(14, 8, 14, 8).transpose(0, 2, 1, 3).reshape(196, 64)
    flat = np.mean(blocks.std(axis=1) < 1.5)
    edges = (slice(0, 8), slice(-8, None))
    extreme = (grey <= 3) | (grey >= 252)
    corner = max(np.mean(extreme[y, x]) for y in edges for x in edges)
    chroma = np.mean(values.max(axis=-1) - values.min(axis=-1))
    return bool(
        saturated <= 0.1
        and flat <= 0.1
        and corner <= 0.3
        and chroma > 8
        and grey.std() > 20
    )


def thumbnail(pixels: Photograph) -> Float[np.ndarray, "256"]:
    """Standardised 16 x 16 grey thumbnail: mean product of two = their correlation."""
    grey = Image.fromarray(pixels).convert("L").resize((16, 16))
    values = np.asarray(grey, dtype=np.float64).ravel()
    return (values - values.mean()) / values.std()


def is_allowed(path: Path) -> bool:
    """Whether ``CATEGORY/image_NNNN.jpg`` is in neither list of exclusions."""
    category, number = path.parent.name, path.stem.removeprefix("image_")
    return (
        path.suffix == ".jpg"
        and category not in EXCLUDED_CATEGORIES
        and int(number) not in EXCLUDED_PHOTOGRAPHS.get(category, ())
    )


def candidates(source: Path) -> Iterator[tuple[str, str, Photograph]]:
    """Category, name and centre square of every allowed, usable photograph."""
    with tarfile.open(source) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        for member in sorted(members, key=lambda member: member.name):
            path = Path(member.name)
            stream = archive.extractfile(member) if is_allowed(path) else None
            if stream is None:
                continue
            with Image.open(stream) as image:
                pixels = centre_square(image) if min(image.size) >= SIDE else None
            if pixels is not None and is_usable(pixels):
                number = path.stem.removeprefix("image_")
                yield path.parent.name, f"{path.parent.name}_{number}", pixels


def select(source: Path) -> dict[str, Photograph]:
    """The chosen photographs by name: the categories take turns until `COUNT`."""
    ranked: dict[str, int] = defaultdict(int)
    kept: list[tuple[int, str, Photograph]] = []
    seen: list[Float[np.ndarray, "256"]] = []
    for category, name, pixels in candidates(source):
        small = thumbnail(pixels)
        if any(np.mean(small * other) > 0.9 for other in seen):
            continue
        kept.append((ranked[category], name, pixels))
        seen.append(small)
        ranked[category] += 1
    if len(kept) < COUNT:
        raise InputError(
            f"{source}: expected at least {COUNT} usable photographs, found {len(kept)}"
        )
    kept.sort(key=lambda entry: entry[:2])
    return {name: pixels for _, name, pixels in kept[:COUNT]}


def encode_jpeg(pixels: Photograph) -> bytes:
    """JPEG bytes; 4:2:0 chroma like the source."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer, "JPEG", quality=QUALITY, subsampling="4:2:0", optimize=True
    )
    return buffer.getvalue()


def pack(photographs: dict[str, Photograph]) -> bytes:
    """ZIP bytes with sorted, stored, undated entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(photographs):
            entry = zipfile.ZipInfo(f"{name}.jpg", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, encode_jpeg(photographs[name]))
    return buffer.getvalue()


def main(arguments: Sequence[str]) -> None:
    """Write ``photographs.zip`` beside this file."""
    if len(arguments) != 1:
        raise SystemExit(
            "usage: python -m paramctl_jax.data.make_photographs caltech101_112.tar.gz"
        )
    target = Path(__file__).with_name("photographs.zip")
    atomic_write(target, pack(select(Path(arguments[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
