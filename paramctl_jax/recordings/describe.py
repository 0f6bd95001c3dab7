"""What a recordings file holds, in words, before anything is fitted to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from paramctl_jax.recordings.checks import SiteSummary
from paramctl_jax.types import Recordings, Trials

SHORT_TABLE = 20
"""Up to so many sites are all printed."""

BEST = 10
"""Of more sites, so many of the most reliable are."""


def describe(loaded: Trials | Recordings, grouped: Recordings) -> str:
    """Counts, ids, units, window, missing responses and notes, a line each.

    Args:
      loaded: as the reader returned it.
      grouped: the same as repeats of images; itself, if `loaded` is no trials.

    Returns:
      Lines ``name  value``.

    Example:
      >>> recorded = Recordings(np.zeros((2, 1, 3)), ("a", "b"), ("s0",))
      >>> print(describe(recorded, recorded))
      content    repeats of images, [image, site, repeat] = (2, 1, 3)
      images     2: a, b
      repeats    3 per image
      sites      1: s0
      units      z
      window     not said
      missing    none of 6 responses
      site_meta  none
    """
    units, window = loaded.units, loaded.window_ms
    rows = [
        ("content", _content(loaded)),
        ("images", _ids(grouped.stimulus_ids)),
        ("repeats", _repeats(grouped)),
        ("sites", _ids(loaded.site_ids)),
        ("units", units),
        ("window", f"{window[0]:g} to {window[1]:g} ms" if window else "not said"),
        ("missing", _missing(loaded)),
        ("site_meta", ", ".join(loaded.site_meta) or "none"),
        *(("note", note) for note in grouped.notes),
    ]
    return "\n".join(f"{name:<9}  {value}" for name, value in rows)


def describe_sites(summary: SiteSummary, all_sites: bool = False) -> str:
    """The table of sites; of many, the most reliable and the excluded ones.

    Args:
      summary: quality of every site.
      all_sites: print all, however many.

    Returns:
      The table, and a line that sums it up.
    """
    ranked = _ranked(summary)
    parts = []
    if all_sites or len(summary.site_ids) <= SHORT_TABLE:
        parts.append(str(summary))
    else:
        if ranked:
            chosen = ranked[:BEST]
            title = f"the {len(chosen)} most reliable of {len(summary.site_ids)} sites:"
            parts += [title, str(_select(summary, chosen))]
        parts += [f"excluded: {site}: {why}" for site, why in summary.excluded.items()]
    return "\n".join([*parts, _summed_up(summary)])


def describe_match(recorded: Sequence[str], shown: Sequence[str]) -> str:
    """How the ids of recorded stimuli and of images match, with the first of each.

    Example:
      >>> print(describe_match(("a", "b", "c"), ("b", "x")))
      1 id in both, first b
      2 only in the recordings, first a, c
      1 only in the images, first x
    """
    images, stimuli = set(shown), set(recorded)
    both = [name for name in recorded if name in images]
    lines = [f"{len(both)} id{'s' * (len(both) != 1)} in both{_first(both)}"]
    for where, ids, others in (
        ("recordings", recorded, images),
        ("images", shown, stimuli),
    ):
        only = [name for name in ids if name not in others]
        lines.append(f"{len(only)} only in the {where}{_first(only)}")
    return "\n".join(lines)


def _content(loaded: Trials | Recordings) -> str:
    if isinstance(loaded, Recordings):
        shape = loaded.responses.shape
        return f"repeats of images, [image, site, repeat] = {shape}"
    sessions = dict.fromkeys(loaded.session_ids, 0)
    for session in loaded.session_ids:
        sessions[session] += 1
    said = f"single trials, [trial, site] = {loaded.responses.shape}"
    if len(sessions) == 1:
        name = loaded.session_ids[0]
        return f"{said}, one session{f', {name}' if name else ''}"
    first = list(sessions.items())[:5]
    counts = ", ".join(f"{name or 'unnamed'} ({n})" for name, n in first)
    return f"{said}, {len(sessions)} sessions: {counts}" + ", ..." * (len(sessions) > 5)


def _repeats(grouped: Recordings) -> str:
    counts = grouped.n_repeats().max(axis=1)  # at the site that has most of them
    low, middle, high = counts.min(), float(np.median(counts)), counts.max()
    if low == high:
        return f"{low} per image"
    return f"{low} to {high} per image, median {middle:g}"


def _missing(loaded: Trials | Recordings) -> str:
    values = loaded.responses
    absent, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    percent = 100 * absent / values.size
    said = f"{percent:.2g}" if percent < 99 else f"{percent:.0f}"  # .2g: 1e+02
    share = f"{absent} ({said} %)" if absent else "none"
    said = f"{share} of {values.size} responses"
    return said + (f", and {infinite} are infinite" if infinite else "")


def _ids(ids: Sequence[str]) -> str:
    return f"{len(ids)}: {', '.join(ids[:3])}" + (", ..." if len(ids) > 3 else "")


def _first(ids: Sequence[str]) -> str:
    return f", first {', '.join(ids[:3])}" if ids else ""


def _ranked(summary: SiteSummary) -> list[int]:
    """Sites with a defined reliability, best first; equal ones by their id."""
    defined = np.flatnonzero(np.isfinite(summary.reliability))
    return sorted(
        defined.tolist(), key=lambda i: (-summary.reliability[i], summary.site_ids[i])
    )


def _select(summary: SiteSummary, chosen: Sequence[int]) -> SiteSummary:
    columns = {
        field.name: getattr(summary, field.name)[np.asarray(chosen)]
        for field in dataclasses.fields(summary)
        if isinstance(getattr(summary, field.name), np.ndarray)
    }
    ids = tuple(summary.site_ids[i] for i in chosen)
    return dataclasses.replace(summary, site_ids=ids, **columns)


def _summed_up(summary: SiteSummary) -> str:
    total, n_excluded = len(summary.site_ids), len(summary.excluded)
    said = f"{total} sites, {n_excluded} of them excluded"
    defined = summary.reliability[np.isfinite(summary.reliability)]
    if not defined.size:
        return f"{said}; reliability undefined at every site (too few repeats?)"
    above = int(np.sum(summary.ncsnr > 0.8))
    return (
        f"{said}; median reliability {np.median(defined):.3f} ({defined.size} sites "
        f"defined), ncsnr above 0.8 at {above}"
    )
