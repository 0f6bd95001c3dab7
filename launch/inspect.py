"""What a recordings file holds, and how good its sites are.

    python -m launch.inspect --recordings=day1.nc
    python -m launch.inspect --recordings=day1.nwb --images=day1_images \
        --options=stimulus=image_name --options="window_ms=(50, 150)"

Prints images, repeats, sites, units, window and missing responses; reliability, ncsnr
and noise ceiling of every site, with the reason of each exclusion; and, with
``--images``, how the ids match. Nothing is written.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import flags

from launch import _main
from paramctl_jax.images import duplicate_images, load_images
from paramctl_jax.recordings import checks, describe, exclusions, files, trials
from paramctl_jax.types import ImageSet, InputError, Trials

_RECORDINGS = flags.DEFINE_string("recordings", None, "Recordings file.")
_IMAGES = flags.DEFINE_string("images", None, "Folder or archive of the images.")
_OPTIONS = flags.DEFINE_multi_string(
    "options", [], "Option of the file's reader, key=value; may be given repeatedly."
)
_ALL_SITES = flags.DEFINE_bool("all_sites", False, "Print every site, however many.")

THUMBNAIL = 32  # side in pixels: of the images only ids are used, but all are decoded


def main(argv: Sequence[str]) -> None:
    """Reads, describes, rates the sites, and matches the ids."""
    del argv
    (path,) = _main.required(recordings=_RECORDINGS.value)
    loaded = files.read_file(path, **_options(path, _OPTIONS.value))
    is_trials = isinstance(loaded, Trials)
    grouped = trials.group_trials(loaded) if is_trials else loaded
    print(path)
    print(describe.describe(loaded, grouped), flush=True)
    for stimulus, reason in exclusions.find_exclusions(grouped).stimuli.items():
        print(f"excluded   image {stimulus}: {reason}")
    summary = checks.summarise_sites(grouped, jax.random.key(0))
    print(f"\n{describe.describe_sites(summary, _ALL_SITES.value)}", flush=True)
    if _IMAGES.value:
        images = _images(_IMAGES.value, grouped.stimulus_ids)
        match = describe.describe_match(grouped.stimulus_ids, images.stimulus_ids)
        print(f"\n{_IMAGES.value}: {len(images)} images\n{match}")
        for name, reason in images.left_out.items():
            print(f"unreadable {name}: {reason}")
        for ids in duplicate_images(images):
            print(f"equal at {THUMBNAIL} pixels: {', '.join(ids)}")


def _images(source: str, recorded: Sequence[str]) -> ImageSet:
    """Images of the source; of NSD's 73,000 only those that were recorded."""
    nsd = source.lower().endswith((".h5", ".hdf5"))
    ids = tuple(recorded) if nsd else None
    return load_images(source, THUMBNAIL, ids=ids, unreadable="skip", progress=True)


def _options(path: str, given: Sequence[str]) -> dict[str, Any]:
    """Options by name; text where the reader takes text, else a Python literal."""
    reader = files.READERS.get(Path(path).suffix.lower())
    parameters = inspect.signature(reader).parameters if reader else {}
    options = {}
    for option in given:
        name, equals, value = option.partition("=")
        if not equals:
            raise InputError(f"--options: expected key=value, found {option!r}")
        annotation = str(getattr(parameters.get(name), "annotation", ""))
        takes_text = annotation.startswith("str") or name not in parameters
        options[name] = value if takes_text else _literal(name, value)
    return options


def _literal(name: str, value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError) as error:
        raise InputError(
            f"--options: {name}: expected a number, a tuple like (50, 150) or a mapping"
            f" like {{'a': 'b'}}, found {value!r}"
        ) from error


if __name__ == "__main__":
    _main.run(main)
