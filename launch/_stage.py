"""One launcher per stage of the loop: the same flags, one library call each."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from launch import _main
from paramctl_jax import hosts, stopping, sweeping
from paramctl_jax.configuration import VARIANTS, stored_config, stored_variants
from paramctl_jax.experiment import ROLES, Run, Working, open_run
from paramctl_jax.study import open_variants
from paramctl_jax.types import FailedError, InputError

Study = Callable[[Mapping[str, Run], str, str], Any]

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Run directory.")
_PROGRESS = flags.DEFINE_bool("progress", True, "Show progress bars.")


def run(
    stage: Callable[[Run], Any],
    rehearsal: Callable[[Run], Any] | None = None,
    before: Callable[[Run], Any] | None = None,
    study: Study | None = None,
) -> None:
    """Opens the run that the flags name, carries out one stage, prints its result.

    Settings with variants are several runs to a `study` only: any other stage takes the
    settings without them.

    Args:
      stage: of the loop.
      rehearsal: what ``--dry_run`` does instead, in a run that claims nothing; a stage
        that has one accentuates, and takes the flags of workers.
      before: what processes that only accentuate do before, or wait for.
      study: what is done with the runs of all variants, the directory and the title.
    """
    if rehearsal is not None:
        _define_worker_flags()

    def main(argv: Sequence[str]) -> int:
        del argv
        if study is not None and has_variants():
            return _studying(study, rehearsal)
        if rehearsal is None:
            _show(stage(opened(Working())))
            return _main.DONE
        if flags.FLAGS.dry_run:
            _show(rehearsal(opened(Working(), claim=False)))
            return _main.DONE
        return _accentuating(stage, before)

    _main.run(main)


def given() -> tuple[dict[str, Any], str]:
    """Settings and directory; without ``--config``, those in the directory."""
    config, workdir = _main.settings(_CONFIG), _WORKDIR.value
    if config is None and workdir is not None:
        config = stored_config(workdir)
    config, workdir = _main.required(config=config, workdir=workdir)
    return config, workdir


def has_variants() -> bool:
    """Whether the settings are those of several runs."""
    return bool(given()[0].get(VARIANTS))


def _studying(study: Study, rehearsal: Callable[[Run], Any] | None) -> int:
    """All variants one after the other, in this process."""
    flag, (config, workdir) = flags.FLAGS, given()
    if flag.role != "all" or flag.distributed == "on" or flag.tensorboard:
        raise InputError(
            f"config.{VARIANTS}: {len(config[VARIANTS])} runs need one process, found "
            f"--role={flag.role} --distributed={flag.distributed} "
            f"--tensorboard={flag.tensorboard}; let workers share one run at a time, "
            f"--workdir={workdir}/{VARIANTS}/NAME"
        )
    dry = rehearsal is not None and flag.dry_run
    working = Working(checkpoint_seconds=60 * flag.checkpoint_minutes)
    runs = opened_runs(working, claim=not dry)
    if rehearsal is not None and dry:
        for name, run in runs.items():
            _show((f"{name}:", rehearsal(run)))
        return _main.DONE
    _show(study(runs, workdir, config["title"]))
    return max(_code(run) for run in runs.values())


def opened_runs(working: Working, claim: bool = True) -> dict[str, Run]:
    """The runs that the flags name: those of all variants, or the one, nameless."""
    if not has_variants():
        return {"": opened(working, claim)}
    config, workdir = given()
    return open_variants(config, workdir, _PROGRESS.value, claim, working, overrides())


def opened(working: Working, claim: bool = True) -> Run:
    """The run that the flags name, without variants of its settings."""
    config, workdir = given()
    if names := stored_variants(workdir):
        raise InputError(
            f"{workdir}: expected the directory of one run, found that of the runs "
            f"{', '.join(names)}; give --workdir={workdir}/{VARIANTS}/NAME"
        )
    if config.get(VARIANTS):
        warnings.warn(
            f"config.{VARIANTS}: launch.pipeline and launch.slurm run them; this is "
            "the run of the other settings",
            stacklevel=2,
        )
    return open_run(
        {name: value for name, value in config.items() if name != VARIANTS},
        workdir,
        _PROGRESS.value,
        claim=claim,
        working=working,
        overrides=overrides(),
    )


def overrides() -> list[str]:
    """Of the settings, as they were given on the command line."""
    flag = flags.FLAGS["config"]
    values = {} if flag.value is None else config_flags.get_override_values(flag)
    return [f"config.{name}={value}" for name, value in values.items()]


def _define_worker_flags() -> None:
    text = "Print what the accentuation will cost; write nothing."
    flags.DEFINE_bool("dry_run", False, text)
    flags.DEFINE_enum(
        "role",
        "all",
        ROLES[:-1],
        "all: until every block is done, then "
        "collect; work: until no block is free; collect: only collect.",
    )
    flags.DEFINE_enum(
        "distributed",
        "auto",
        hosts.MODES,
        "One program on several hosts (jax.distributed): found out, on, or off.",
    )
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if not found.")
    flags.DEFINE_integer("processes", None, "Number of processes, if not found.")
    flags.DEFINE_integer("process", None, "Index of this process, if not found.")
    flags.DEFINE_float("checkpoint_minutes", 5.0, "Between two checkpoints of a block.")
    flags.DEFINE_bool("tensorboard", False, "Write to WORKDIR/tensorboard as well.")


def _accentuating(
    stage: Callable[[Run], Any], before: Callable[[Run], Any] | None
) -> int:
    """A stage that others may share in, on this host and on others."""
    given = flags.FLAGS
    together = hosts.join(
        given.distributed, given.coordinator, given.processes, given.process
    )
    board = Path(_WORKDIR.value or ".") / "tensorboard" if given.tensorboard else None
    working = Working(
        role=given.role,
        **_rank(together),
        checkpoint_seconds=60 * given.checkpoint_minutes,
        tensorboard=board,
    )
    folder = Path(_WORKDIR.value or ".") / "sweep" / "company"
    company = hosts.Company(together, folder)
    with _stopping_together(company):
        open_here = opened(working)
        if not together.first or working.role == "work":
            if before is not None:
                before(open_here)
            sweeping.accentuate(open_here)
            company.meet("end")
            return _code(open_here)
        result = stage(open_here)
        company.meet("end")
        _show(result)
        return _code(open_here)


def _rank(together: hosts.Hosts) -> dict[str, int]:
    """Among the processes of one program, or among the tasks of an array."""
    task = hosts.array_rank()
    index = task["index"] * together.count + together.index
    return {"index": index, "count": task["count"] * together.count}


@contextlib.contextmanager
def _stopping_together(company: hosts.Company) -> Iterator[None]:
    """Where one process stops or cannot go on, all of one program stop."""
    with stopping.watching(company.heard):
        try:
            yield
        except FailedError:  # the others finish what they have
            company.leave("end")
            raise
        except BaseException:
            company.tell()
            raise


def _code(run: Run) -> int:
    if failed := sweeping.failed_lanes(run):
        print(f"{failed} lanes failed: their numbers were not finite")
        return _main.FAILED
    return _main.DONE


def _show(result: Any) -> None:
    for part in result if isinstance(result, tuple) else (result,):
        print(part)
