"""Images and recordings joined by stimulus id, and which of them are held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, PRNGKeyArray

from paramctl_jax.encoding.settings import EncodingSettings
from paramctl_jax.encoding.splits import load_split, split_ids
from paramctl_jax.recordings import check_match, find_exclusions
from paramctl_jax.types import ImageSet, InputError, Recordings, indices_of


@dataclasses.dataclass(frozen=True)
class Joined:
    """Recordings of the images that are fitted and evaluated, in the images' order.

    Attributes:
      recordings: of these images only.
      train_ids, test_ids: a partition of them.
      notes: what the join left out, in plain words.
    """

    recordings: Recordings
    train_ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def stimulus_ids(self) -> tuple[str, ...]:
        """Of training and held-out images, in the images' order."""
        return self.recordings.stimulus_ids

    @property
    def train(self) -> Int[np.ndarray, " image"]:
        """Rows of the training images."""
        return indices_of(self.train_ids, self.stimulus_ids, "training images")

    @property
    def test(self) -> Int[np.ndarray, " image"]:
        """Rows of the held-out images."""
        return indices_of(self.test_ids, self.stimulus_ids, "held-out images")


def join_and_split(
    images: ImageSet,
    recordings: Recordings,
    settings: EncodingSettings,
    key: PRNGKeyArray | None,
    test_ids: Sequence[str] | None,
    split: str | Path | None,
) -> Joined:
    """Joins by id as ``settings.join`` says, refuses unusable data, splits.

    Args:
      images: what was shown.
      recordings: what was recorded, in any order.
      settings: `join` and `test_fraction`.
      key: of the random split.
      test_ids: held-out stimuli by name, instead of a random split.
      split: file of a stored split, likewise.

    Returns:
      What is fitted and what is held out.

    Raises:
      InputError: stimuli that differ, a site or image that cannot be used, no key;
        nothing left to fit; both `test_ids` and `split`.
    """
    common, notes = common_stimuli(images, recordings, settings.join)
    recordings = recordings.select_stimuli(common)
    _refuse_unusable(recordings)
    if split is not None and test_ids is not None:
        raise InputError(
            "test_ids: expected either test_ids or split to name the held-out images, "
            "found both"
        )
    if split is not None:
        train, test = load_split(split, common)
    else:
        train, test = _split(common, settings.test_fraction, key, test_ids)
    return Joined(recordings, train, test, (*recordings.notes, *notes))


def common_stimuli(
    images: ImageSet, recordings: Recordings, join: str
) -> tuple[tuple[str, ...], list[str]]:
    """Ids that both hold, in the images' order, and what was left out.

    Args:
      images: what was shown.
      recordings: what was recorded, in any order.
      join: see `EncodingSettings.join`.

    Returns:
      The ids, and notes in plain words.

    Raises:
      InputError: nothing in common, or stimuli that differ where `join` forbids it.
    """
    recorded, shown = set(recordings.stimulus_ids), set(images.stimulus_ids)
    common = tuple(name for name in images.stimulus_ids if name in recorded)
    if not common:
        raise InputError(
            f"join: none of {len(images)} images has a response; the images start with "
            f"{list(images.stimulus_ids[:2])}, the recorded stimuli with "
            f"{list(recordings.stimulus_ids[:2])}"
        )
    if join == "exact" or (join == "images" and len(common) < len(images)):
        check_match(images, recordings)
    left_out = {
        "recorded stimuli without an image": recorded - shown,
        "images without a response": shown - recorded,
    }
    notes = [
        f"{len(ids)} {what} were not fitted, first {min(ids)!r}"
        for what, ids in left_out.items()
        if ids
    ]
    return common, notes


def _refuse_unusable(recordings: Recordings) -> None:
    excluded = find_exclusions(recordings)
    for what, reasons in (("sites", excluded.sites), ("images", excluded.stimuli)):
        if reasons:
            name, reason = next(iter(reasons.items()))
            count = len(getattr(recordings, _IDS[what]))
            raise InputError(
                f"recordings: {len(reasons)} of {count} {what} cannot be fitted, first "
                f"{name!r}: {reason}; leave them out with recordings = without("
                "recordings, find_exclusions(recordings))"
            )


_IDS = {"sites": "site_ids", "images": "stimulus_ids"}


def _split(
    stimulus_ids: tuple[str, ...],
    test_fraction: float,
    key: PRNGKeyArray | None,
    test_ids: Sequence[str] | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if test_ids is not None:
        indices_of(test_ids, stimulus_ids, "test_ids")
        held_out = set(test_ids)
        train = tuple(name for name in stimulus_ids if name not in held_out)
        if not train:
            raise InputError(
                f"test_ids: all {len(stimulus_ids)} images are held out; expected "
                "images to fit"
            )
        return train, tuple(name for name in stimulus_ids if name in held_out)
    if key is None:
        raise InputError(
            "key: expected a jax key (or test_ids) to choose held-out images"
        )
    return split_ids(stimulus_ids, test_fraction, key)
