"""One sweep under way: the seeds predicted, a route run, the outcome collected."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, PyTree

from paramctl_jax import lanes
from paramctl_jax.progress import bar
from paramctl_jax.synthesis import engine, path, tables
from paramctl_jax.synthesis.gradient import Shared
from paramctl_jax.synthesis.plan import LanePlan, Plan
from paramctl_jax.synthesis.results import Recorder, Results
from paramctl_jax.synthesis.snapshot import Keeper, parked_of, pausing, snapshot_of
from paramctl_jax.synthesis.state import LaneState, Start, outcome
from paramctl_jax.types import Sweep, Traces


def _nobody(count: int, hits: int) -> None:
    del count, hits


@dataclasses.dataclass(frozen=True)
class Work:
    """One sweep under way.

    Attributes:
      plan: what there is to do.
      shared: of the plan, on its devices.
      keeper: where snapshots go and come from; None for a sweep in one go.
      finished: told how many lanes have just been finished, and how many of them by a
        hit.
    """

    plan: LanePlan
    shared: Shared
    keeper: Keeper | None = None
    finished: Callable[[int, int], None] = _nobody

    def run(self) -> tuple[Results, Traces, dict[str, int]]:
        """Predicts the seeds and runs the route.

        Returns:
          What every lane reached, what the loop saw, and what it cost, see `Sweep`.
        """
        plan, grid = self.plan, self.plan.grid
        start = self._start()
        results = Results(plan.seeds, start, grid.shape[2])
        along = plan.engine.settings.route == "path"
        table = (tables.path_table if along else tables.lane_table)(grid, start)
        kept = plan.engine.settings.transparency
        recorder = Recorder(table, plan.engine.canvas if kept else 0)
        run = _Paths if along else _Lanes
        checks = run(self, table, results, recorder, start).run()
        passes = {
            "search": recorder.steps * plan.engine.settings.crops,
            "clean": checks + start.size,
        }
        return results, recorder.traces(), passes

    def _start(self) -> Float[np.ndarray, "site seed"]:
        """Clean predictions of the seeds, in the slots of the step: the same bits."""
        plan = self.plan
        table = tables.start_table(plan.grid)
        found = np.zeros(plan.grid.shape[:2], np.float32)

        def collect(row: int, state: Start, slot: int) -> None:
            found[table["site"][row], table["seed"][row]] = state.prediction[slot]

        step = engine.compiled_start(plan.engine, plan.devices)
        zero = jnp.zeros(plan.total_slots, jnp.float32)
        self.over(step, Start(zero, zero > 0), table, collect)
        return found

    def over(
        self,
        step: Any,
        blank: PyTree,
        table: tables.Table,
        collect: Any,
        **options: Any,
    ) -> None:
        """One program over all rows of a table."""
        if not len(table["site"]):
            return
        lanes.run(
            lambda state, lane: step(self.shared, state, lane),
            # laid out as the step returns it, so that it is compiled once
            jax.device_put(blank, lanes.lane_sharding(self.plan.devices)),
            table,
            slots=self.plan.total_slots,
            done=lambda state: state.done,
            collect=collect,
            expand=self.plan.expand,
            check_every=1,
            **options,
        )


@contextlib.contextmanager
def counted(
    plan: LanePlan, label: str, progress: bool
) -> Iterator[Callable[[int, int], None]]:
    """A progress bar over the lanes of a plan, as `Work` tells of finished ones."""
    total = int(np.prod(plan.grid.shape))
    with bar(total=total, label=f"{label}: lanes", show=progress) as shown:

        def finished(count: int, hits: int) -> None:
            del hits
            shown.update(count)

        yield finished


def sweep_of(
    plan: Plan,
    shared: Shared,
    keeper: Keeper | None = None,
    finished: Callable[[int, int], None] = _nobody,
) -> Sweep:
    """All lanes of a plan, see `Work`."""
    results, traces, passes = Work(plan, shared, keeper, finished).run()
    grid = plan.grid
    return results.sweep(
        plan.model,
        grid.site_ids,
        plan.seeds,
        grid.levels,
        grid.tolerance,
        traces,
        passes,
    )


class _Lanes:
    """Every level on its own."""

    def __init__(
        self,
        work: Work,
        table: tables.Table,
        results: Results,
        recorder: Recorder,
        start: Float[np.ndarray, "site seed"],
    ):
        self.work, self.table = work, table
        self.results, self.recorder = results, recorder
        self.start = start
        rest = results.known.size - self.n_lanes
        work.finished(rest, min(rest, int(self._hits(...).sum())))

    def _hits(self, lanes: Any) -> Bool[np.ndarray, "..."]:
        """Whether the images of some lanes, by their indices, reach their levels."""
        grid = self.work.plan.grid
        levels = np.broadcast_to(grid.levels[:, None], grid.shape)
        tolerance = np.broadcast_to(grid.tolerance[:, None, None], grid.shape)
        error = np.abs(self.results.reached[lanes] - levels[lanes])
        return np.asarray(error <= tolerance[lanes])

    @property
    def n_lanes(self) -> int:
        """That a seed image does not hit by itself."""
        return len(self.table["site"])

    def run(self) -> int:
        """Returns the number of clean passes."""
        self._steps()
        return self.recorder.steps

    def put(self, row: int, column: int, *found: Any) -> None:
        """One lane is finished."""
        lane = (int(self.table["site"][row]), int(self.table["seed"][row]), column)
        self.results.put(lane, *found)
        self.work.finished(1, int(self._hits(lane)))

    def collect(self, row: int, state: LaneState, slot: int) -> None:
        """A row of the table has ended; its levels not yet known take its best."""
        site, seed = self.table["site"][row], self.table["seed"][row]
        for column in self.left(row):
            self.put(row, column, *_best(state, slot))
            self.results.finite[site, seed, column] = state.finite[slot]
        self.recorder.end(row, state, slot)

    def left(self, row: int) -> list[int]:
        """Levels that a row must still fill in when it ends."""
        return [int(self.table["level"][row])]

    def watch(self, state: LaneState, occupant: np.ndarray) -> None:
        """After every step."""
        self.recorder.watch(state, occupant)

    def snapshot(self, parked: lanes.Parked) -> dict[str, Any]:
        """All of it, to go on from."""
        return snapshot_of(parked, self.results, self.recorder, 0)

    def restore(self, snapshot: Any) -> None:
        """Goes on from a snapshot."""
        self.results.restore(snapshot["results"])
        self.recorder.restore(snapshot["recorder"])
        known = self.results.known
        self.work.finished(int(known.sum()), int(self._hits(known).sum()))

    def _steps(self) -> None:
        plan, keeper = self.work.plan, self.work.keeper
        blank = plan.engine.blank(plan.total_slots)
        snapshot = None if keeper is None else keeper.load()
        begun = None if snapshot is None else parked_of(snapshot, blank)
        if begun is not None:
            self.restore(snapshot)
        self.work.over(
            engine.compiled_step(plan.engine, plan.devices),
            blank,
            self.table,
            self.collect,
            take=outcome,
            watch=self.watch,
            begun=begun,
            pause=pausing(keeper, self.snapshot),
        )


class _Paths(_Lanes):
    """Every seed once up and once down, levels taken as they are passed."""

    def __init__(self, work: Work, table: tables.Table, *rest: Any):
        super().__init__(work, table, *rest)
        self.crossings = path.Crossings(
            work.plan.engine,
            work.shared,
            work.plan.devices,
            work.plan.total_slots,
            self._levels(),
            table,
            work.plan.expand,
            self.put,
        )

    def _levels(self) -> list[list[tuple[int, float]]]:
        return tables.levels_of_paths(self.work.plan.grid, self.start, self.table)

    @property
    def n_lanes(self) -> int:
        """That lie on some path."""
        return sum(map(len, self._levels()))

    def run(self) -> int:
        """Returns the number of clean passes."""
        self._steps()
        self.crossings.finish()
        return self.recorder.steps + self.crossings.guesses

    def left(self, row: int) -> list[int]:
        """Levels that the path has never passed."""
        return [column for column, _ in self.crossings.waiting[row]]

    def watch(self, state: LaneState, occupant: np.ndarray) -> None:
        """After every step."""
        super().watch(state, occupant)
        self.crossings.watch(state, occupant)

    def snapshot(self, parked: lanes.Parked) -> dict[str, Any]:
        """All of it, levels that were passed finished first."""
        self.crossings.finish()
        guesses = self.crossings.guesses
        return snapshot_of(parked, self.results, self.recorder, guesses)

    def restore(self, snapshot: Any) -> None:
        """Goes on from a snapshot."""
        super().restore(snapshot)
        self.crossings.restore(self.results.known, int(snapshot["guesses"]))


def _best(state: LaneState, slot: int) -> tuple[np.ndarray, float, int]:
    return (
        np.asarray(state.best[slot]),
        float(state.best_prediction[slot]),
        int(state.best_step[slot]),
    )
