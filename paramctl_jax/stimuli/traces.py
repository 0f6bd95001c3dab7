"""``traces.npz``: what the optimisation loop saw on the way to a stimulus set."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from paramctl_jax.arrays import read_arrays
from paramctl_jax.artifacts import atomic_write
from paramctl_jax.types import InputError, Sweep, Traces


class TracedPart(NamedTuple):
    """The traces of some sites and seed images of one model."""

    model: str
    site_ids: Sequence[str]
    seed_ids: Sequence[str]
    traces: Traces


TRACES = "traces.npz"
_KEYS = ("site", "seed", "level", "direction")
_NAMES = ("site_ids", "seed_ids")


def save_traces(directory: str | Path, sweeps: Sequence[Sweep]) -> Path | None:
    """Writes the traces of all sweeps; equal traces give equal bytes.

    The sweeps of one model are put together, their positions counted in the order in
    which its sites and seed images come up.

    Args:
      directory: of the stimulus set.
      sweeps: those without traces are left out.

    Returns:
      The path; None where no sweep has traces.

    Example:
      ``save_traces("runs/m1/stimuli", [sweep])``
    """
    return save_traced_parts(directory, traced_parts(sweeps))


def traced_parts(sweeps: Sequence[Sweep]) -> list[TracedPart]:
    """What of sweeps goes to ``traces.npz``."""
    return [
        TracedPart(
            sweep.model.name, sweep.site_ids, sweep.seeds.stimulus_ids, sweep.traces
        )
        for sweep in sweeps
        if sweep.traces is not None
    ]


def save_traced_parts(
    directory: str | Path, parts: Sequence[TracedPart]
) -> Path | None:
    """As `save_traces`, of parts of sweeps."""
    models: dict[str, list[TracedPart]] = {}
    for part in parts:
        models.setdefault(part.model, []).append(part)
    arrays = {
        f"{model}/{name}": values
        for model, own in models.items()
        for name, values in _arrays(own).items()
    }
    if not arrays:
        return None
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # pyright: ignore[reportArgumentType]
    return atomic_write(Path(directory) / TRACES, stream.getvalue())


def to_arrays(traces: Traces) -> dict[str, np.ndarray]:
    """By name, without what was not kept."""
    arrays = {name: getattr(traces, name) for name in (*_KEYS, "prediction")}
    if traces.transparency is not None:
        arrays["transparency"] = traces.transparency
    return arrays


def _arrays(parts: Sequence[TracedPart]) -> dict[str, np.ndarray]:
    """The traces of one model's parts, one below the other."""
    sites = _union([part.site_ids for part in parts])
    seeds = _union([part.seed_ids for part in parts])
    tables = []
    for part in parts:
        table = to_arrays(part.traces)
        table["site"] = _moved(part.traces.site, part.site_ids, sites)
        table["seed"] = _moved(part.traces.seed, part.seed_ids, seeds)
        tables.append(table)
    longest = max(table["prediction"].shape[1] for table in tables)
    for table in tables:
        table["prediction"] = _padded(table["prediction"], longest)
    shared = set.intersection(*(set(table) for table in tables))
    arrays = {
        name: np.concatenate([table[name] for table in tables])
        for name in tables[0]
        if name in shared and len({table[name].shape[1:] for table in tables}) == 1
    }
    names = {"site_ids": np.asarray(sites, np.str_), "seed_ids": np.asarray(seeds)}
    return arrays | names


def _union(names: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for some in names for name in some))


def _moved(
    positions: Int[np.ndarray, " row"], old: Sequence[str], new: Sequence[str]
) -> Int[np.ndarray, " row"]:
    """Positions among the names of one sweep as positions among those of all."""
    return np.asarray([new.index(name) for name in old], np.int64)[positions]


def _padded(prediction: np.ndarray, longest: int) -> np.ndarray:
    missing = longest - prediction.shape[1]
    return np.pad(prediction, ((0, 0), (0, missing)), constant_values=np.nan)


def load_traces(directory: str | Path) -> dict[str, Traces]:
    """Reads what `save_traces` wrote.

    Args:
      directory: of the stimulus set.

    Returns:
      Traces by model name; positions count the sites and seed images of the model in
      the order of the stimulus set. Empty where no traces were kept.

    Raises:
      InputError: a damaged file, or arrays that do not belong together.

    Example:
      ``traces = load_traces("runs/m1/stimuli")["small_robust"]``
    """
    path = Path(directory) / TRACES
    if not path.exists():
        return {}
    models: dict[str, dict[str, np.ndarray]] = {}
    for key, values in read_arrays(path).items():
        model, _, name = key.rpartition("/")
        models.setdefault(model, {})[name] = values
    return {model: _traces(path, model, arrays) for model, arrays in models.items()}


def _traces(path: Path, model: str, arrays: Mapping[str, np.ndarray]) -> Traces:
    expected = {*_KEYS, *_NAMES, "prediction"}
    found = set(arrays) - {"transparency"}
    if found != expected:
        raise InputError(
            f"{path}: model {model!r}: missing {sorted(expected - found)}, unknown "
            f"{sorted(found - expected)}; expected MODEL/NAME with the names "
            f"{sorted(expected)} and, optionally, transparency"
        )
    for name, problem in _problems(arrays).items():
        raise InputError(f"{path}: {model}/{name}: {problem}")
    own = {name: arrays[name] for name in (*_KEYS, "prediction")}
    return Traces(**own, transparency=arrays.get("transparency"))


def _problems(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """What is wrong, by array."""
    problems = {}
    rows = arrays["prediction"].shape[:1]
    kinds = dict.fromkeys(_KEYS, "iu") | {"prediction": "f", "transparency": "u"}
    axes = dict.fromkeys(_KEYS, 1) | {"prediction": 2, "transparency": 3}
    for name in kinds.keys() & arrays.keys():
        values = arrays[name]
        fits = values.ndim == axes[name] and values.shape[:1] == rows
        if not fits or values.dtype.kind not in kinds[name]:
            problems[name] = (
                f"expected numbers with {axes[name]} axes, one row per trace, found "
                f"{values.dtype} of shape {values.shape}"
            )
    for name, names in (("site", "site_ids"), ("seed", "seed_ids")):
        strange = np.setdiff1d(arrays[name], np.arange(arrays[names].size))
        if name not in problems and strange.size:
            problems[name] = f"expected positions in {names}, found {strange[:3]}"
    return problems
