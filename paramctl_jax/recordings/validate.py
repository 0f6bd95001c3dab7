"""From arrays of any reader to one valid `Recordings` or `Trials` record."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Shaped

from paramctl_jax.types import InputError, Recordings, Trials


def make_recordings(
    source: str,
    *,
    responses: Shaped[np.ndarray, "..."],
    stimulus_ids: Shaped[np.ndarray, "..."],
    site_ids: Shaped[np.ndarray, "..."],
    units: str = "z",
    window_ms: np.ndarray | Sequence[float | int] | None = None,
    site_meta: Mapping[str, np.ndarray] | None = None,
    notes: Sequence[str] = (),
    axes_option: bool = False,
) -> Recordings:
    """Checks and assembles recordings; every reader of repeats or averages ends here.

    Infinite responses are kept: they exclude their site, with the reason, when sites
    are chosen.

    Args:
      source: file or argument named in messages.
      responses: real numbers, axes ``[image, site, repeat]``, NaN for missing repeats.
      stimulus_ids: strings, one per image.
      site_ids: strings, one per site.
      units: of the responses.
      window_ms: start and stop in ms after onset, start before stop.
      site_meta: columns with one entry per site.
      notes: what the reader left out or changed, in plain words.
      axes_option: whether the reader has the option ``axes``, for messages.

    Returns:
      The recordings, responses in float64.

    Raises:
      InputError: wrong axes or types, lengths that differ, an id twice. Where the ids
        fit another order of the axes, the message says how to transpose.

    Example:
      >>> ids = {"stimulus_ids": np.array(["a", "b", "c"]), "site_ids": np.array(["s"])}
      >>> make_recordings("x", responses=np.ones((3, 1, 2), int), **ids).responses.dtype
      dtype('float64')
      >>> make_recordings("x", responses=np.ones((1, 3, 2)), **ids)
      Traceback (most recent call last):
      ...
      paramctl_jax.types.errors.InputError: x: stimulus_ids: 3 ids, but responses hold \
1 images: expected responses [image, site, repeat] = (3, 1, ...), found shape \
(1, 3, 2); transpose with numpy.transpose(responses, (1, 0, 2))
    """
    ids = {
        "image": _ids(source, "stimulus_ids", stimulus_ids),
        "site": _ids(source, "site_ids", site_ids),
    }
    axes = ("image", "site", "repeat")
    _check_axes(source, responses, axes, ids, axes_option)
    _check_unique(source, "stimulus_ids", ids["image"])
    _check_unique(source, "site_ids", ids["site"])
    return Recordings(
        responses=_numbers(source, responses),
        stimulus_ids=ids["image"],
        site_ids=ids["site"],
        units=units,
        window_ms=_window(source, window_ms),
        site_meta=_columns(source, site_meta, len(ids["site"])),
        notes=tuple(notes),
    )


def make_trials(
    source: str,
    *,
    responses: Shaped[np.ndarray, "..."],
    stimulus_ids: Shaped[np.ndarray, "..."],
    site_ids: Shaped[np.ndarray, "..."],
    session_ids: Shaped[np.ndarray, "..."] | None = None,
    units: str = "spikes/s",
    window_ms: np.ndarray | Sequence[float | int] | None = None,
    site_meta: Mapping[str, np.ndarray] | None = None,
    notes: Sequence[str] = (),
    axes_option: bool = False,
) -> Trials:
    """Checks and assembles single trials; every reader of trials ends here.

    Args:
      source: file or argument named in messages.
      responses: real numbers, axes ``[trial, site]``, NaN where nothing was recorded.
      stimulus_ids: strings, what each trial showed; ids return with every repeat.
      site_ids: strings, one per site.
      session_ids: strings, of each trial; one unnamed session if None.
      units: of the responses.
      window_ms: start and stop in ms after onset, start before stop.
      site_meta: columns with one entry per site.
      notes: what the reader left out or changed, in plain words.
      axes_option: whether the reader has the option ``axes``, for messages.

    Returns:
      The trials, responses in float64.

    Raises:
      InputError: wrong axes or types, lengths that differ, a site id twice. Where the
        ids fit another order of the axes, the message says how to transpose.

    Example:
      >>> shown, sites = np.array(["a", "b", "a"]), np.array(["s0"])
      >>> trials = make_trials(
      ...     "x", responses=np.zeros((3, 1)), stimulus_ids=shown, site_ids=sites
      ... )
      >>> len(trials), trials.session_ids
      (3, ('', '', ''))
    """
    ids = {
        "trial": _ids(source, "stimulus_ids", stimulus_ids),
        "site": _ids(source, "site_ids", site_ids),
    }
    _check_axes(source, responses, ("trial", "site"), ids, axes_option)
    _check_unique(source, "site_ids", ids["site"])
    return Trials(
        responses=_numbers(source, responses),
        stimulus_ids=ids["trial"],
        site_ids=ids["site"],
        session_ids=_sessions(source, session_ids, len(ids["trial"])),
        units=units,
        window_ms=_window(source, window_ms),
        site_meta=_columns(source, site_meta, len(ids["site"])),
        notes=tuple(notes),
    )


def _numbers(source: str, values: np.ndarray) -> Float[np.ndarray, "..."]:
    if values.dtype.kind not in "iuf":
        raise InputError(
            f"{source}: responses: expected real numbers, found {values.dtype}"
        )
    return values.astype(np.float64)


def _ids(source: str, name: str, values: np.ndarray) -> tuple[str, ...]:
    if values.ndim != 1 or values.dtype.kind not in "UT":
        raise InputError(
            f"{source}: {name}: expected one axis of strings, found shape "
            f"{values.shape} of {values.dtype}" + _as_text(name, values)
        )
    ids = tuple(str(value) for value in values)
    if "" in ids:
        raise InputError(
            f"{source}: {name}: expected an id in every entry, found {ids.count('')} "
            f"empty ones, first at position {ids.index('')} (counted from 0)"
        )
    return ids


def _as_text(name: str, values: np.ndarray) -> str:
    """What turns ids of another type into strings; nothing for other shapes."""
    turned = values.ndim == 1 and values.dtype.kind in "iuS"
    return f"; give {name}.astype(str)" * turned


def _check_unique(source: str, name: str, ids: tuple[str, ...]) -> None:
    unique, counts = np.unique(np.asarray(ids, dtype=np.str_), return_counts=True)
    if len(unique) < len(ids):
        twice = unique[counts > 1].tolist()
        raise InputError(
            f"{source}: {name}: expected unique ids, found {len(twice)} of them more "
            f"than once, first {twice[:3]}"
        )


def _check_axes(
    source: str,
    responses: np.ndarray,
    axes: tuple[str, ...],
    ids: Mapping[str, tuple[str, ...]],
    axes_option: bool,
) -> None:
    """Refuses responses whose axes do not fit the ids; says how to mend them."""
    _numbers(source, responses[:0] if responses.ndim else responses)
    wanted = tuple(len(ids[axis]) for axis in axes[:2])
    shape, named = responses.shape, f"[{', '.join(axes)}]"
    remedy = _remedy(shape, wanted, axes, axes_option)
    if len(shape) == len(axes) and 0 not in shape:
        names = ("stimulus_ids", "site_ids")
        for name, axis, count, found in zip(names, axes, wanted, shape, strict=False):
            if count != found:
                expected = f"({wanted[0]}, {wanted[1]}{', ...' * (len(axes) - 2)})"
                raise InputError(
                    f"{source}: {name}: {count} ids, but responses hold {found} "
                    f"{axis}s: expected responses {named} = {expected}, found shape "
                    f"{shape}{remedy}"
                )
        return
    if 0 in shape or not remedy:
        remedy = " (a last axis of length 1 for averages)" if len(axes) == 3 else ""
    raise InputError(
        f"{source}: responses: expected non-empty axes {named} for {wanted[0]} "
        f"{axes[0]}s and {wanted[1]} sites, found shape {shape}{remedy}"
    )


def _remedy(
    shape: tuple[int, ...],
    wanted: tuple[int, ...],
    axes: tuple[str, ...],
    axes_option: bool,
) -> str:
    """What turns an array of this shape into one whose first axes fit the ids."""
    orders = itertools.permutations(range(len(shape)))
    fitting = (o for o in orders if tuple(shape[axis] for axis in o[:2]) == wanted)
    order = next(fitting, None)
    if order is None or len(shape) not in (2, len(axes)):
        return ""
    average = len(shape) < len(axes)
    if average and order == (0, 1):
        return "; for averages give responses[..., None]"
    turn = f"numpy.transpose(responses, {order})" + "[..., None]" * average
    found = " ".join(axes[order.index(axis)] for axis in range(len(shape)))
    option = f", or read with axes={found!r}" if axes_option else ""
    return f"; transpose with {turn}{option}"


def _sessions(source: str, values: np.ndarray | None, n_trials: int) -> tuple[str, ...]:
    if values is None:
        return ("",) * n_trials
    if values.shape != (n_trials,) or values.dtype.kind not in "UT":
        raise InputError(
            f"{source}: session_ids: expected one string for each of {n_trials} "
            f"trials, found shape {values.shape} of {values.dtype}"
        )
    return tuple(str(value) for value in values)


def _columns(
    source: str, columns: Mapping[str, np.ndarray] | None, n_sites: int
) -> dict[str, np.ndarray]:
    arrays = {name: np.asarray(values) for name, values in (columns or {}).items()}
    for name, values in arrays.items():
        if values.ndim == 0 or len(values) != n_sites:
            raise InputError(
                f"{source}: site_meta/{name}: expected one entry for each of "
                f"{n_sites} sites, found shape {values.shape}"
            )
    return arrays


def _window(
    source: str, values: np.ndarray | Sequence[float | int] | None
) -> tuple[float, float] | None:
    if values is None:
        return None
    window = np.asarray(values)
    numeric = window.dtype.kind in "iuf" and window.shape == (2,)
    if not numeric or not -np.inf < window[0] < window[1] < np.inf:
        raise InputError(
            f"{source}: window_ms: expected start and stop in ms, start before stop, "
            f"found {window.tolist()}"
        )
    return float(window[0]), float(window[1])
