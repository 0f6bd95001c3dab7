"""The paper's authors' file names, which say all that a control score needs.

``{model}_{fit}_unit_{u}_img_{i}_level_{t}_score_{s}.png``: site u, seed image i, target
level t and the prediction s of the image, both as plain decimals.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paramctl_jax.artifacts import sha256_file
from paramctl_jax.stimuli.exchange.formats import Written
from paramctl_jax.stimuli.exchange.presentation import (
    LIST,
    Presentation,
    presentation_csv,
)
from paramctl_jax.stimuli.exchange.shown import ShownImage
from paramctl_jax.types import InputError, Stimulus, StimulusSet

FIT = "RidgeCV"
_NUMBER = r"-?\d+(?:\.\d+)?"
_PATTERN = re.compile(
    r"(?P<model>.+)_(?P<fit>[^_]+)_unit_(?P<site>.+)_img_(?P<seed>.+)"
    rf"_level_(?P<target>{_NUMBER})_score_(?P<predicted>{_NUMBER})\.png"
)
_UNFIT = re.compile(r'[\x00-\x1f/\\:*?"<>|]|^[.\s]|\s$')
_MARKS = ("_unit_", "_img_", "_level_", "_score_")
_LONGEST = 255  # bytes of a file name


@dataclasses.dataclass(frozen=True)
class AuthorsImage:
    """What a file name of the authors says.

    Attributes:
      model, fit: the network, and how its read-out was fitted.
      site, seed: what the image was made for and from.
      target: level asked for.
      predicted: response that the model predicts of the image.
    """

    model: str
    fit: str
    site: str
    seed: str
    target: float
    predicted: float


def authors_name(image: AuthorsImage) -> str:
    """The file name of an image; numbers keep all their digits.

    Raises:
      InputError: what the name would not give back: a fit with ``_``, a model with
        ``_unit_``, numbers that are not finite, characters that file names cannot have.

    Example:
      >>> authors_name(AuthorsImage("resnet50", "RidgeCV", "25", "0575", -1.656, 2.0))
      'resnet50_RidgeCV_unit_25_img_0575_level_-1.656_score_2.0.png'
    """
    target, predicted = map(_decimal, (image.target, image.predicted))
    name = (
        f"{image.model}_{image.fit}_unit_{image.site}_img_{image.seed}_level_{target}"
        f"_score_{predicted}.png"
    )
    texts = (image.model, image.fit, image.site, image.seed)
    clear = not any(mark in text for mark in _MARKS for text in texts)
    fits = clear and len(name.encode()) <= _LONGEST and not _UNFIT.search(name)
    if not fits or parse_authors_name(name) != image:
        raise InputError(
            f"file name {name!r}: expected one of at most {_LONGEST} bytes that gives "
            f"back {image}; choose another format, or a model, fit, site and seed "
            "without '_unit_', '_img_', '_level_' and '_score_', the fit without '_'"
        )
    return name


def _decimal(value: float) -> str:
    """As the authors write numbers: digits, point, digits; never an exponent."""
    return np.format_float_positional(value, trim="0")


def parse_authors_name(filename: str) -> AuthorsImage | None:
    """What a file name says; None where it is not one of the authors'.

    The fit is what stands between the last ``_`` before ``_unit_`` and it.

    Example:
      >>> name = "resnet50_robust_RidgeCV_unit_7_img_12_level_-0.5_score_-0.25.png"
      >>> parse_authors_name(name)
      AuthorsImage(model='resnet50_robust', fit='RidgeCV', site='7', seed='12', \
target=-0.5, predicted=-0.25)
    """
    match = _PATTERN.fullmatch(filename)
    if not match:
        return None
    found = match.groupdict()
    target, predicted = float(found.pop("target")), float(found.pop("predicted"))
    return AuthorsImage(**found, target=target, predicted=predicted)


def load_authors(directory: str | Path, tolerance: float = 0.05) -> StimulusSet:
    """A stimulus set from a folder of the authors, by its file names alone.

    The ids are the file names without ``.png``; `level` counts a site's targets
    upwards. Where a model has several fits, ``MODEL_FIT`` is its name. What the names
    do not say (prediction of the seed, steps, size of the change) is NaN or 0, with
    ``"unknown"`` as stop reason. Scores need none of it.

    Args:
      directory: with the PNGs; other files are not read.
      tolerance: of a hit, as a fraction of the site's range of levels.

    Returns:
      The set, in the order model, site, seed, level.

    Raises:
      InputError: naming the folder: missing, or without a file named so.
    """
    directory = Path(directory)
    names = [path.name for path in directory.glob("*.png")]
    parsed = {name: parse_authors_name(name) for name in names}
    images = {name: image for name, image in parsed.items() if image is not None}
    if not images:
        raise InputError(
            f"{directory}: expected PNGs named MODEL_FIT_unit_U_img_I_level_T_score_S"
            f".png, found {len(names)} PNGs and none of these names"
        )
    fits = defaultdict(set)
    levels = defaultdict(set)
    for image in images.values():
        fits[image.model].add(image.fit)
        levels[image.model, image.fit, image.site].add(image.target)
    stimuli = [
        _stimulus(
            directory / name,
            image,
            image.model
            if len(fits[image.model]) == 1
            else f"{image.model}_{image.fit}",
            sorted(levels[image.model, image.fit, image.site]),
            tolerance,
        )
        for name, image in images.items()
    ]
    order = sorted(
        stimuli, key=lambda s: (s.model, s.site, s.seed, s.target, s.filename)
    )
    return StimulusSet(directory, tuple(order))


def _stimulus(
    path: Path,
    image: AuthorsImage,
    model: str,
    levels: Sequence[float],
    tolerance: float,
) -> Stimulus:
    span = levels[-1] - levels[0]
    missed = abs(image.predicted - image.target)
    nan = math.nan
    return Stimulus(
        stimulus_id=path.stem,
        filename=path.name,
        model=model,
        site=image.site,
        seed=image.seed,
        level=levels.index(image.target),
        target=image.target,
        predicted=image.predicted,
        hit=missed <= tolerance * span,
        sha256=sha256_file(path),
        start=nan,
        reached=nan,
        step=0,
        stop_reason="unknown",
        relative_error=missed / span if span else nan,
        rms=nan,
        linf=nan,
        clipped=nan,
    )


def authors(
    rows: Sequence[ShownImage], trials: Sequence[Presentation], fit: str = FIT
) -> Written:
    """PNGs under the authors' names; seed and anchor images in ``natural/``.

    Raises:
      InputError: controversial stimuli, a name that would not give back what it says,
        or two images of one name.
    """
    places = {}
    for row in rows:
        natural = row.role != "driven"
        name = f"natural/{row.filename}" if natural else _name_of(row, fit)
        if name in places.values():
            raise InputError(f"file name {name!r}: two stimuli have it; rename a site")
        places[row.stimulus_id] = name
    n_natural = sum(row.role != "driven" for row in rows)
    note = f"{n_natural} seed and anchor images, which have no name of the authors'"
    return Written(
        {LIST: presentation_csv(trials, places)},
        places,
        "their notebooks, or paramctl_jax.stimuli.exchange.load_authors('{out}')",
        (f"{note}, are in natural/",) if n_natural else (),
    )


def _name_of(row: ShownImage, fit: str) -> str:
    if "target" not in row.metadata:
        raise InputError(
            f"stimulus {row.stimulus_id!r}: expected one of a sweep, found a "
            "controversial one, which the authors' file names cannot say; choose "
            "another format"
        )
    said = row.metadata
    numbers = (float(said["target"] or 0), float(said["predicted"] or 0))
    texts = (str(said["model"]), fit, str(said["site"]), str(said["seed"]))
    return authors_name(AuthorsImage(*texts, *numbers))
