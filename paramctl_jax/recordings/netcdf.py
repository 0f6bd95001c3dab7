"""Brain-Score's NeuroidAssembly: netCDF-4 files of presentations by neuroids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from paramctl_jax.recordings.hdf5 import open_hdf5, text_ids
from paramctl_jax.recordings.validate import make_trials
from paramctl_jax.types import InputError, Trials

DIMENSIONS = ("presentation", "neuroid", "time_bin")
STIMULUS = ("stimulus_id", "image_id")  # the second in files of before 2022
SESSION = ("session", "session_id", "day")
NAMES = ("data", "__xarray_dataarray_variable__")


def read_netcdf(
    path: str | Path, *, time_bin: int | None = None, units: str | None = None
) -> Trials:
    """Reads a Brain-Score NeuroidAssembly; every presentation is one trial.

    ===============================  ============  ====================================
    variable                         dimensions    becomes
    ===============================  ============  ====================================
    ``data``, or the only one that   presentation  responses; needs ``time_bin`` chosen
    has these dimensions             neuroid       where there are several bins
                                     [time_bin]
    ``stimulus_id`` (``image_id``)   presentation  stimulus ids
    ``session``, ``session_id`` or   presentation  session ids, optional
    ``day``
    ``neuroid_id``                   neuroid       site ids
    any other                        neuroid       columns of `site_meta`
    ``time_bin_start``, ``_end``     time_bin      the window in ms, optional
    ===============================  ============  ====================================

    An averaged assembly, which shows every stimulus once, gives one trial each.

    Args:
      path: of the file.
      time_bin: which time bin to read, counted from 0; needed where there are several.
      units: of the responses; None: the file's attribute ``units``, or ``"unknown"``.

    Returns:
      The trials in the order of the file, responses in float64.

    Raises:
      InputError: naming the file: truncated, foreign, a coordinate or dimension that is
        missing, several time bins and none chosen, a neuroid id twice, no numbers, or
        the extra ``netcdf`` that is not installed.

    Example:
      >>> import numpy as np, tempfile, xarray
      >>> path = tempfile.mkdtemp() + "/assy_lab_Study.nc"
      >>> assembly = xarray.DataArray(
      ...     np.array([[3.0], [5.0]]),
      ...     dims=("presentation", "neuroid"),
      ...     coords={
      ...         "stimulus_id": ("presentation", ["im_1", "im_1"]),
      ...         "neuroid_id": ("neuroid", ["A1"]),
      ...     },
      ... )
      >>> assembly.to_netcdf(path, engine="h5netcdf")
      >>> read_netcdf(path, units="spikes/s").stimulus_ids
      ('im_1', 'im_1')

    Reference:
      brain-score/core, ``brainscore_core/supported_data_standards/brainio``.
    """
    source, dataset = str(path), _load(Path(path))
    name = _data_name(source, dataset)
    chosen, window = _time_bin(source, dataset, name, time_bin)
    coordinates = {k: v for k, v in dataset.variables.items() if k != name}
    sites = _along(coordinates, "neuroid")
    shown = _along(coordinates, "presentation")
    stimulus_ids, notes = _ids(source, shown, STIMULUS, "presentation")
    site_ids, more = _ids(source, sites, ("neuroid_id",), "neuroid")
    units, unknown = _units(dataset, name, units)
    return make_trials(
        source,
        responses=chosen,
        stimulus_ids=stimulus_ids,
        site_ids=site_ids,
        session_ids=_sessions(source, shown),
        units=units,
        window_ms=window,
        site_meta={k: _plain(v) for k, v in sites.items() if k != "neuroid_id"},
        notes=(*notes, *more, *unknown),
    )


def _load(path: Path) -> Any:
    """The whole dataset in memory, nothing decoded but masks and text."""
    try:
        import h5netcdf  # noqa: F401
        import xarray
    except ImportError as error:
        raise InputError(
            f"{path}: reading netCDF needs xarray and h5netcdf; "
            "pip install 'paramctl_jax[netcdf]'"
        ) from error
    _refuse_classic(path)
    with open_hdf5(path) as file:  # tells a missing, foreign or truncated file
        file.attrs.get("_nc3_strict")  # read first by h5netcdf, which leaks on damage
        try:
            opened = xarray.open_dataset(
                path,
                engine="h5netcdf",
                phony_dims="sort",  # of a plain HDF5 file; told by `_data_name`
                decode_times=False,  # "units: ms" would turn windows into durations
                decode_timedelta=False,
            )
            with opened as dataset:
                return dataset.load()
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{path}: not a netCDF-4 file that xarray can read ({reason})"
            ) from error


def _refuse_classic(path: Path) -> None:
    """NetCDF-3 and its kin are no HDF5; scipy and MATLAB still write them."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        is_classic = stream.read(3) == b"CDF"
    if is_classic:
        raise InputError(
            f"{path}: expected netCDF-4 (HDF5), found classic netCDF-3; convert it "
            "with nccopy -k nc4, or save it from xarray with engine='h5netcdf'"
        )


def _data_name(source: str, dataset: Any) -> str:
    """Name of the responses: the usual ones, or the only variable that fits."""
    needed = set(DIMENSIONS[:2])
    fitting = [k for k, v in dataset.variables.items() if needed <= set(v.dims)]
    named = [name for name in NAMES if name in fitting]
    if len(named or fitting) != 1:
        found = {str(k): v.dims for k, v in dataset.data_vars.items()}
        raise InputError(
            f"{source}: expected one variable with the dimensions presentation and "
            f"neuroid, found {found}"
        )
    name = (named or fitting)[0]
    if not set(dataset[name].dims) <= set(DIMENSIONS):
        raise InputError(
            f"{source}: {name}: expected the dimensions presentation, neuroid and, "
            f"optionally, time_bin, found {', '.join(dataset[name].dims)}"
        )
    return name


def _time_bin(
    source: str, dataset: Any, name: str, time_bin: int | None
) -> tuple[Float[np.ndarray, "trial site"], tuple[float, float] | None]:
    """Responses of one time bin, and its window where the file says it."""
    data = dataset[name].variable
    if "time_bin" not in data.dims:
        data = data.expand_dims("time_bin")
    values = data.transpose("time_bin", "presentation", "neuroid").values
    if values.dtype.kind not in "iuf":
        raise InputError(
            f"{source}: {name}: expected real numbers, found {values.dtype}"
        )
    windows = _windows(dataset, len(values))
    if time_bin is None and len(values) == 1:
        time_bin = 0
    if time_bin is None or not 0 <= time_bin < len(values):
        said = [f"{i}: {_said(window)}" for i, window in enumerate(windows)]
        listed = ", ".join(said[:12]) + (", ..." if len(said) > 12 else "")
        raise InputError(
            f"{source}: expected time_bin to choose one of {len(values)} time bins, "
            f"found {time_bin}; they are {listed}"
        )
    return values[time_bin].astype(np.float64), windows[time_bin]


def _windows(dataset: Any, count: int) -> list[tuple[float, float] | None]:
    bounds = [dataset.variables.get(f"time_bin_{end}") for end in ("start", "end")]
    if any(bound is None or bound.shape != (count,) for bound in bounds):
        return [None] * count
    pairs = zip(
        *(np.asarray(bound.values, np.float64) for bound in bounds), strict=True
    )
    return [(float(a), float(b)) if a < b else None for a, b in pairs]


def _said(window: tuple[float, float] | None) -> str:
    return "window not said" if window is None else f"{window[0]:g}-{window[1]:g} ms"


def _along(variables: Mapping[Any, Any], dimension: str) -> dict[str, np.ndarray]:
    return {str(k): v.values for k, v in variables.items() if v.dims == (dimension,)}


def _ids(
    source: str,
    columns: Mapping[str, np.ndarray],
    names: tuple[str, ...],
    dimension: str,
) -> tuple[Shaped[np.ndarray, " entry"], tuple[str, ...]]:
    name = next((name for name in names if name in columns), None)
    if name is None:
        raise InputError(
            f"{source}: expected the coordinate {' or '.join(names)} along {dimension},"
            f" found {', '.join(columns) or 'none'}"
        )
    return text_ids(source, name, columns[name])


def _sessions(
    source: str, shown: Mapping[str, np.ndarray]
) -> Shaped[np.ndarray, " trial"] | None:
    name = next((name for name in SESSION if name in shown), None)
    return None if name is None else text_ids(source, name, shown[name])[0]


def _plain(values: np.ndarray) -> np.ndarray:
    """A column as numbers, booleans or text, never as Python objects."""
    return text_ids("", "", values)[0] if values.dtype.kind in "OST" else values


def _units(dataset: Any, name: str, units: str | None) -> tuple[str, tuple[str, ...]]:
    said = units or dataset[name].attrs.get("units") or dataset.attrs.get("units")
    if said:
        return str(said), ()
    return "unknown", ("units: not said by the file; give units, e.g. spikes/s",)
