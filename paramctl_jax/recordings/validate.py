"""From arrays of any reader to one valid `Recordings` record."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from paramctl_jax.types import InputError, Recordings


def make_recordings(
    source: str,
    *,
    responses: np.ndarray,
    stimulus_ids: np.ndarray,
    site_ids: np.ndarray,
    units: str = "z",
    window_ms: np.ndarray | None = None,
    site_meta: Mapping[str, np.ndarray] | None = None,
) -> Recordings:
    """Checks and assembles recordings; every reader ends here.

    Args:
      source: file or argument named in messages.
      responses: real numbers, axes ``[image, site, repeat]``, NaN for missing repeats.
      stimulus_ids: strings, one per image.
      site_ids: strings, one per site.
      units: of the responses.
      window_ms: start and stop in ms after onset, start before stop.
      site_meta: columns with one entry per site.

    Returns:
      The recordings, responses in float64.

    Raises:
      InputError: wrong axes or types, lengths that differ, an id twice.
    """
    responses = _responses(source, responses)
    n_images, n_sites, _ = responses.shape
    meta = {
        name: _column(source, f"site_meta/{name}", values, n_sites)
        for name, values in (site_meta or {}).items()
    }
    return Recordings(
        responses=responses,
        stimulus_ids=_ids(source, "stimulus_ids", stimulus_ids, n_images, "images"),
        site_ids=_ids(source, "site_ids", site_ids, n_sites, "sites"),
        units=units,
        window_ms=None if window_ms is None else _window(source, window_ms),
        site_meta=meta,
    )


def _responses(source: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "iuf":
        raise InputError(
            f"{source}: responses: expected real numbers, found {values.dtype}"
        )
    if values.ndim != 3 or 0 in values.shape:
        raise InputError(
            f"{source}: responses: expected non-empty axes [image, site, repeat] (a "
            f"last axis of length 1 for averages), found shape {values.shape}"
        )
    return values.astype(np.float64)


def _ids(
    source: str, name: str, values: np.ndarray, count: int, of: str
) -> tuple[str, ...]:
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind != "U":
        raise InputError(
            f"{source}: {name}: expected one axis of strings, found shape "
            f"{values.shape} of {values.dtype}"
        )
    if len(values) != count:
        raise InputError(
            f"{source}: {name}: {len(values)} ids, but responses hold {count} {of}; "
            "expected responses with the axes [image, site, repeat]"
        )
    ids = tuple(values.tolist())
    unique, counts = np.unique(values, return_counts=True)
    if len(unique) < count:
        twice = unique[counts > 1].tolist()
        raise InputError(
            f"{source}: {name}: expected unique ids, found {len(twice)} of them more "
            f"than once, first {twice[:3]}"
        )
    return ids


def _column(source: str, name: str, values: np.ndarray, n_sites: int) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim == 0 or len(values) != n_sites:
        raise InputError(
            f"{source}: {name}: expected one entry for each of {n_sites} sites, found "
            f"shape {values.shape}"
        )
    return values


def _window(source: str, values: np.ndarray) -> tuple[float, float]:
    values = np.asarray(values)
    numeric = values.dtype.kind in "iuf" and values.shape == (2,)
    if not numeric or not values[0] < values[1]:
        raise InputError(
            f"{source}: window_ms: expected start and stop in ms, start before stop, "
            f"found {values.tolist()}"
        )
    return float(values[0]), float(values[1])
