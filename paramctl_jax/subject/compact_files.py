"""The files of compact neuron models: tensors by name, each one checked, none executed.

    compact_model_SESSION_neuronN.pt                  a state dict, in torch's container
    compact_model_SESSION_neuronN_nums_filters.npy    filters of the five layers

The five numbers say which tensors the other file must hold, and of which shapes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from paramctl_jax.backbones.tensors import read_bytes
from paramctl_jax.backbones.torch_file import flat_tensors, is_torch, parse_torch
from paramctl_jax.types import InputError

LAYERS = 5
TAPS = 5
GRID = 28  # positions of the dense readout along each axis
NORM = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"  # of training batches; no response rests on it
_NAME = r"compact_model_(.+)_neuron(\d+)\.pt"
_AGAIN = "copy the file again"

Tensors = Mapping[str, np.ndarray]


def neuron_files(
    folder: Path, session: str, sites: Sequence[str] | None
) -> dict[str, Path]:
    """The file of every site, in numeric order of the neurons or in that of `sites`.

    Args:
      folder: of all files.
      session: as in their names.
      sites: ``site00`` is neuron 0, and so on; None takes neurons 0 to the last one.

    Raises:
      InputError: no folder, no file of this session, a site without a file.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected the folder of compact_model_{session}_neuron0.pt and "
            "so on, found no folder; give the one that holds them"
        )
    names = (re.fullmatch(_NAME, path.name) for path in folder.iterdir())
    found = [(name[1], int(name[2])) for name in names if name]
    numbers = [number for owner, number in found if owner == session]
    if not numbers:
        others = sorted({owner for owner, _ in found})
        raise InputError(
            f"{folder}: expected compact_model_{session}_neuron0.pt and so on, found "
            f"the sessions {others or 'of no such files'}; give another session or "
            "folder"
        )
    every = {
        site_name(n): model_path(folder, session, n) for n in range(max(numbers) + 1)
    }
    wanted = list(every) if sites is None else list(sites)
    _check_sites(folder, session, wanted, every)
    return {site: every[site] for site in wanted}


def _check_sites(
    folder: Path, session: str, wanted: Sequence[str], every: Mapping[str, Path]
) -> None:
    for site in wanted:
        if site not in every:
            raise InputError(
                f"{folder}: expected sites from {site_name(0)} to {list(every)[-1]} of "
                f"session {session}, found {site!r} among those asked for"
            )
        if not every[site].is_file():
            raise InputError(
                f"{every[site]}: expected the model of {site}, found no such file; "
                f"{_AGAIN}, or name the sites to use without it"
            )
    if not wanted or len(set(wanted)) < len(wanted):
        raise InputError(
            f"sites: expected at least one name, each once, found {list(wanted)}"
        )


def site_name(neuron: int) -> str:
    """Site id of a neuron: its number from 0, with at least two digits."""
    return f"site{neuron:02d}"


def model_path(folder: Path, session: str, neuron: int) -> Path:
    """Where the tensors of a neuron are."""
    return folder / f"compact_model_{session}_neuron{neuron}.pt"


def read_neuron(path: Path) -> dict[str, np.ndarray]:
    """The checked tensors of one neuron in float64, under their names in the file.

    Args:
      path: of the ``.pt`` file; the numbers of filters lie beside it.

    Raises:
      InputError: naming the file, what was expected and what was found: missing,
        truncated, with code or objects in it, tensors of other names or shapes, values
        that are not finite, a negative variance.
    """
    filters = read_filters(path.with_name(f"{path.stem}_nums_filters.npy"))
    data = read_bytes(path)
    if not is_torch(data):
        raise InputError(
            f"{path}: expected a file that torch wrote, found none; {_AGAIN}"
        )
    parsed = parse_torch(data, str(path))
    if parsed.foreign:
        raise InputError(
            f"{path}: expected nothing but tensors, found the objects "
            f"{', '.join(parsed.foreign[:3])}; save the model's state dict alone"
        )
    tensors = {
        name.removeprefix("layers."): tensor
        for name, tensor in flat_tensors(parsed.tree, str(path)).items()
    }
    problems = list(_problems(tensors, expected_shapes(filters)))
    if problems:
        more = f" ({len(problems)} problems in all)" if len(problems) > 1 else ""
        raise InputError(f"{path}: {problems[0]}{more}; {_AGAIN}")
    return {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}


def read_filters(path: Path) -> tuple[int, ...]:
    """The numbers of filters of the five layers; object arrays are refused.

    Raises:
      InputError: naming the file: missing, truncated, or not five numbers above 0.
    """
    wanted = f"{path}: expected the numbers of filters of {LAYERS} layers"
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numpy's parser, on a damaged header
            numbers = np.lib.format.read_array(stream, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{wanted}, found no such file; {_AGAIN}") from error
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError) as error:
        if "Object arrays" in str(error):
            raise InputError(
                f"{wanted}, found Python objects (never loaded); {_AGAIN}"
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{wanted}, found no readable .npy file ({reason}); {_AGAIN}"
        ) from error
    if (
        numbers.shape != (LAYERS,)
        or numbers.dtype.kind not in "iu"
        or numbers.min() < 1
    ):
        raise InputError(
            f"{wanted}, whole and above 0, found {numbers.dtype} of shape "
            f"{numbers.shape}: {' '.join(str(numbers).split())[:60]}; {_AGAIN}"
        )
    return tuple(int(number) for number in numbers)


def expected_shapes(filters: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Every tensor of a model with these numbers of filters, and its shape.

    Example:
      >>> shapes = expected_shapes((4, 3, 2, 2, 1))
      >>> shapes["layer1_conv_point.weight"], shapes["Beta.weight"]
      ((3, 4, 1, 1), (1, 784))
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, count in enumerate(filters):
        before = filters[layer - 1] if layer else 3
        if layer:
            shapes[f"layer{layer}_conv_depth.weight"] = (before, 1, TAPS, TAPS)
            shapes[f"layer{layer}_conv_point.weight"] = (count, before, 1, 1)
            shapes[f"layer{layer}_conv_point.bias"] = (count,)
        else:
            shapes["layer0_conv.weight"] = (count, before, TAPS, TAPS)
            shapes["layer0_conv.bias"] = (count,)
        shapes |= {f"layer{layer}_bn.{name}": (count,) for name in NORM}
        shapes[f"layer{layer}_bn.{COUNTER}"] = ()
    return {**shapes, "Beta.weight": (1, GRID**2 * filters[-1]), "Beta.bias": (1,)}


def _problems(tensors: Tensors, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """Every difference between the tensors that are there and those that must be."""
    for name in tensors:
        if name not in shapes:
            shape = tensors[name].shape
            yield f"expected no tensor {name!r}, found one of shape {shape}"
    for name, shape in shapes.items():
        tensor = tensors.get(name)
        if tensor is None:
            yield f"expected the tensor {name} of shape {shape}, found none"
        elif tensor.shape != shape or tensor.dtype.kind not in "fiu":
            yield (
                f"expected numbers {name} of shape {shape}, as the numbers of filters "
                f"say, found {tensor.dtype} of shape {tensor.shape}"
            )
        elif not np.all(np.isfinite(tensor)):
            yield f"expected finite numbers in {name}, found NaN or infinity"
        elif name.endswith("running_var") and (lowest := np.min(tensor)) < 0:
            yield f"expected variances of at least 0 in {name}, found {lowest:g}"
