"""One experiment in one directory: its settings, checked before anything is written."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from paramctl_jax import artifacts, history
from paramctl_jax.backbones import check_readout
from paramctl_jax.backbones.entries import ModelEntry, model_entry
from paramctl_jax.configuration import check_settings
from paramctl_jax.encoding import load_encoding
from paramctl_jax.lanes import named_key
from paramctl_jax.loaded import Loaded
from paramctl_jax.recordings import load_recordings
from paramctl_jax.stimuli import load_stimuli
from paramctl_jax.subject import (
    Subject,
    subject_digests,
    subject_in_words,
    subject_of_settings,
)
from paramctl_jax.sweeps.blocks import CLAIMS, FOLDER, PLAN
from paramctl_jax.sweeps.claims import Claims, Owner
from paramctl_jax.types import (
    Backbone,
    EncodingModel,
    ImageSet,
    InputError,
    StimulusSet,
    unknown,
)

CONTROVERSIAL = "controversial"  # stage, folder, and day of the recordings

ROLES = ("all", "work", "collect", "submit")


@dataclasses.dataclass(frozen=True)
class Working:
    """What a process does of the accentuation, and how; no result rests on it.

    Attributes:
      role: ``"all"``: work at free blocks until all are done, then collect;
        ``"work"``: only until none is free; ``"collect"``: only collect;
        ``"submit"``: nothing, others are to.
      index, count: rank among workers that were started together.
      checkpoint_seconds: between two checkpoints of a block under way.
      tensorboard: a folder for TensorBoard's files, or None.
    """

    role: str = "all"
    index: int = 0
    count: int = 1
    checkpoint_seconds: float = 300.0
    tensorboard: Path | None = None

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise unknown(self.role, ROLES, "role")


@dataclasses.dataclass(frozen=True)
class Run:
    """One experiment in one directory: settings, images and networks.

    Attributes:
      config: resolved settings; see ``configs/quickstart.py`` for every section.
      workdir: the run directory.
      progress: show progress bars.
      working: this process's part in the accentuation.
      loaded: images and networks, which other runs may share.
    """

    config: Mapping[str, Any]
    workdir: Path
    progress: bool = True
    working: Working = Working()
    loaded: Loaded = dataclasses.field(default_factory=Loaded, repr=False)

    @cached_property
    def claims(self) -> Claims:
        """Who is at work on which stage and block, this process among them."""
        return Claims(self.workdir / FOLDER / CLAIMS, Owner.here())

    def key(self, *purpose: str) -> PRNGKeyArray:
        """The key of one purpose; all randomness of a run comes from these."""
        return named_key(jax.random.key(self.config["seed"]), *purpose)

    @cached_property
    def images(self) -> ImageSet:
        """All natural images at canvas size, those of the seeds included."""
        return self.loaded.images(self.config["images"])

    @cached_property
    def seeds(self) -> ImageSet:
        """The seed images, held out from every fit."""
        return self.images.select(tuple(self.config["seeds"]))

    @cached_property
    def entries(self) -> tuple[ModelEntry, ...]:
        """The models, in the order of the settings."""
        return tuple(model_entry(given) for given in self.config["models"])

    @cached_property
    def backbones(self) -> dict[str, Backbone]:
        """The models' networks by name, in the order of the settings."""
        return {
            entry.name: dataclasses.replace(
                self.loaded.backbone(entry), name=entry.name
            )
            for entry in self.entries
        }

    @cached_property
    def readouts(self) -> dict[str, tuple[str, ...]]:
        """The readouts of every model, of several of which one will be chosen.

        They are its own, the settings', or its network's.
        """
        common = self.config["encoding"]["readout"]
        return {
            entry.name: tuple(
                check_readout(self.backbones[entry.name], name)
                for name in _names(entry.readout or common or entry.spec.readout)
            )
            for entry in self.entries
        }

    @cached_property
    def subject(self) -> Subject | None:
        """The in-silico subject; None where the recordings are real."""
        if not self.config["subject"]:
            return None
        return subject_of_settings(
            self.config["subject"], self.images, self.key("subject"), self.progress
        )

    @property
    def ground_truth(self) -> str:
        """What is known of the subject, in one sentence."""
        settings = self.config["subject"]
        if not settings:
            return ""
        return subject_in_words(settings, [entry.network for entry in self.entries])

    def models(self) -> list[EncodingModel]:
        """The fitted encoding models."""
        files = {
            name: self.workdir / "encoding" / f"{name}.npz" for name in self.backbones
        }
        for path in files.values():
            if not path.exists():
                raise InputError(f"{path}: no such file; run launch.fit_encoding first")
        return [load_encoding(files[name], b) for name, b in self.backbones.items()]

    def stimuli(self) -> StimulusSet:
        """The stimulus set, its files verified."""
        return load_stimuli(self.workdir / "stimuli")


def _names(readout: str | Sequence[str]) -> tuple[str, ...]:
    return (readout,) if isinstance(readout, str) else tuple(readout)


def open_run(
    config: Mapping[str, Any],
    workdir: str | Path,
    progress: bool = True,
    claim: bool = True,
    working: Working | None = None,
    overrides: Sequence[str] = (),
    loaded: Loaded | None = None,
) -> Run:
    """Checks the settings against images, networks and files; claims the directory.

    Args:
      config: resolved settings.
      workdir: the run directory.
      progress: show progress bars.
      claim: False writes nothing, for a dry run.
      working: this process's part in the accentuation.
      overrides: of the settings, as given on the command line, for ``history/``.
      loaded: images and networks of other runs in this process.

    Raises:
      InputError: before anything is written: unreadable images or recordings, unknown
        settings, backbone, readout or seed image, a directory that holds another run.
    """
    run = Run(config, Path(workdir), progress, working or Working(), loaded or Loaded())
    if claim:
        artifacts.check_directory(run.workdir)
    check_settings(config)
    digests = input_digests(run)
    if claim:
        artifacts.claim_directory(
            workdir,
            {**config, "inputs": digests, "readouts": run.readouts},
            free=_free_sections(run),
        )
        computes = run.working.role != "submit"
        launch = history.begin(workdir, overrides, computes)
        if note := history.other_machine(workdir, launch):
            warnings.warn(note, stacklevel=2)
    return run


def input_digests(run: Run) -> dict[str, str]:
    """Of everything that comes from outside: weights, images, seeds, recordings."""
    config = run.config
    digests = {name: b.provenance["sha256"] for name, b in run.backbones.items()}
    digests["images"] = _digest(run.images)
    digests["seeds"] = _digest(run.seeds)
    if config["subject"]:
        digests |= subject_digests(config["subject"])
    if not simulated(run, "day1"):
        day1 = recordings_file(run, "day1")
        load_recordings(day1, **(config["recordings"].get("reader") or {}))
        digests["day1"] = artifacts.sha256_file(day1)
    return digests


def _free_sections(run: Run) -> tuple[str, ...]:
    """Sections that no result in the directory rests on yet."""
    free: tuple[str, ...] = ("title", "scoring")
    if not (run.workdir / CONTROVERSIAL).exists():
        free += ("rivals", "controversial", "selection")
    planned = (run.workdir / FOLDER / PLAN).exists()
    if planned or (run.workdir / "stimuli" / "stimulus_set.csv").exists():
        return free
    return (*free, "levels", "synthesis", "sweep")


def _digest(images: ImageSet) -> str:
    names = "\0".join(images.stimulus_ids).encode()
    return artifacts.sha256_bytes(names + images.pixels.tobytes())


def simulated(run: Run, day: str) -> bool:
    """Whether the in-silico subject is shown this day's images.

    Real recordings of day 1 may come with a subject that stands in for day 2.
    """
    return bool(run.config["subject"]) and not run.config["recordings"].get(day)


def z_scored(run: Run, day: str) -> bool:
    """Whether a day's single trials are z-scored.

    Where the settings say so; those of an in-silico subject only by images that it is
    shown again, for else they are in natural SDs as they are.
    """
    if run.config["recordings"].get("trials") is None:
        return False
    return not simulated(run, day) or bool(run.config["presentation"].get("anchors"))


def recordings_file(run: Run, day: str) -> Path:
    """The settings' own file of a day, or where the in-silico subject's trials go.

    Controversial stimuli may have been recorded with all others on day 2.
    """
    given = run.config["recordings"].get(day)
    if day == CONTROVERSIAL and not given and not run.config["subject"]:
        return recordings_file(run, "day2")
    return Path(given) if given else run.workdir / "recordings" / f"{day}.npz"
