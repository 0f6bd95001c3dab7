"""From named arrays of a file to the record that fits: repeats, averages or trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Shaped

from paramctl_jax.recordings.validate import make_recordings, make_trials
from paramctl_jax.types import InputError, Recordings, Trials

REQUIRED = ("responses", "stimulus_ids", "site_ids")
OPTIONAL = ("session_ids", "units", "window_ms")
META = "site_meta/"
_ORDERS = (("image", "site", "repeat"), ("image", "site"), ("trial", "site"))


def assemble(
    source: str,
    arrays: Mapping[str, Shaped[np.ndarray, "..."]],
    *,
    axes: str | None = None,
    averages: bool = False,
    axes_option: bool = False,
    notes: Sequence[str] = (),
) -> Recordings | Trials:
    """The record that a file's named arrays describe.

    Responses of three axes are ``[image, site, repeat]``. Two axes are
    ``[trial, site]`` where there are `session_ids` or a stimulus id returns; otherwise,
    with `averages`, they are ``[image, site]`` and become a single repeat.

    Args:
      source: file named in messages.
      arrays: ``responses``, ``stimulus_ids``, ``site_ids`` and, optionally,
        ``session_ids``, ``units``, ``window_ms``, ``site_meta/NAME``.
      axes: names of the axes of the responses, e.g. ``"site image repeat"``; None for
        the rule above.
      averages: whether two axes with unique stimulus ids are averages.
      axes_option: whether the reader has the option `axes`, for messages.
      notes: what the reader left out or changed.

    Returns:
      Trials or recordings, responses in float64.

    Raises:
      InputError: as `make_recordings` and `make_trials`, unknown names of axes.

    Example:
      >>> arrays = {
      ...     "responses": np.zeros((3, 1)),
      ...     "stimulus_ids": np.array(["a", "b", "a"]),
      ...     "site_ids": np.array(["s0"]),
      ... }
      >>> type(assemble("x", arrays)).__name__
      'Trials'
    """
    responses, names = _arrange(source, arrays["responses"], axes)
    if not names and responses.ndim == 2 and _returns(arrays):
        names = ("trial", "site")
    if responses.ndim == 2 and (names == ("image", "site") or (averages and not names)):
        responses = _add_repeat(responses, arrays)
    common = {
        "responses": responses,
        "stimulus_ids": arrays["stimulus_ids"],
        "site_ids": arrays["site_ids"],
        "window_ms": arrays.get("window_ms"),
        "site_meta": {
            name.removeprefix(META): values
            for name, values in arrays.items()
            if name.startswith(META)
        },
        "notes": notes,
        "axes_option": axes_option,
    }
    if "units" in arrays:
        common["units"] = _text(source, "units", arrays["units"])
    if names == ("trial", "site"):
        sessions = arrays.get("session_ids")
        return make_trials(source, session_ids=sessions, **common)
    if "session_ids" in arrays:
        raise InputError(
            f"{source}: session_ids: expected only with responses [trial, site], found "
            f"responses of shape {responses.shape}; leave them out or give the trials"
        )
    return make_recordings(source, **common)


def _returns(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether the rows can only be trials: sessions, or a stimulus id twice."""
    ids = np.asarray(arrays["stimulus_ids"])
    return "session_ids" in arrays or np.unique(ids).size < ids.size


def _add_repeat(responses: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """One repeat of ``[image, site]``; left alone where the ids do not fit."""
    counts = (np.size(arrays["stimulus_ids"]), np.size(arrays["site_ids"]))
    return responses[..., None] if responses.shape == counts else responses


def _arrange(
    source: str, responses: np.ndarray, axes: str | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Responses in the order of the records, and the names of their axes if said."""
    if axes is None:
        return responses, ()
    names = tuple(axes.replace(",", " ").split())
    order = next((o for o in _ORDERS if sorted(o) == sorted(names)), None)
    if order is None or len(names) != responses.ndim:
        known = ", ".join(repr(" ".join(o)) for o in _ORDERS)
        raise InputError(
            f"{source}: axes: expected the names of the {responses.ndim} axes of the "
            f"responses, shape {responses.shape}, in their order in the file: one of "
            f"{known} in any order, found {axes!r}"
        )
    return np.transpose(responses, [names.index(name) for name in order]), order


def _text(source: str, name: str, values: np.ndarray) -> str:
    if values.size != 1 or values.dtype.kind not in "UT":
        raise InputError(
            f"{source}: {name}: expected one string, found shape {values.shape} of "
            f"{values.dtype}"
        )
    return str(values.reshape(-1)[0])
