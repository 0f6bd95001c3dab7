"""Feature accentuation: every (site, seed image, target level) lane of one model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray, PyTree

from paramctl_jax import lanes
from paramctl_jax.progress import bar
from paramctl_jax.synthesis import engine, path, tables
from paramctl_jax.synthesis.budget import check_memory
from paramctl_jax.synthesis.dry_run import memory_of
from paramctl_jax.synthesis.gradient import Shared
from paramctl_jax.synthesis.plan import Plan, make_plan
from paramctl_jax.synthesis.results import Recorder, Results
from paramctl_jax.synthesis.state import LaneState, Start, outcome
from paramctl_jax.types import EncodingModel, ImageSet, Sweep


def accentuate(
    model: EncodingModel,
    seeds: ImageSet,
    levels: Float[np.ndarray, "site level"],
    *,
    key: PRNGKeyArray,
    sites: Sequence[str] | None = None,
    tolerance: float = 0.005,
    slow: float = 0.03,
    slots: int = 16,
    devices: Sequence[Any] | None = None,
    progress: bool = True,
    **settings: Any,
) -> Sweep:
    """Moves every seed image along every site's encoding axis to every target level.

    Args:
      model: whose axes are followed; held fixed.
      seeds: natural images, at the canvas size, not among those of the fit.
      levels: target levels in response units, one row per site in `sites`.
      key: the sweep's; with it, a lane's bytes depend on its site, seed image, target
        and the range of its site's levels only, not on the other lanes, their order or
        the number of devices (at a given number of slots).
      sites: site ids of the rows of `levels`; None takes the model's.
      tolerance: of a hit, as a fraction of the site's level range.
      slow: error, as a fraction of the level range, below which steps shrink.
      slots: lanes worked on at a time on each device.
      devices: None takes all local ones.
      progress: show a bar.
      **settings: see `Settings` (route, crops, noise, learning_rate, ...).

    Returns:
      The sweep: images, what they reached, and why each lane ended. Lanes that missed
      are in it, flagged.

    Raises:
      InputError: levels and sites that do not fit, non-finite or repeated levels,
        seeds of the fit, settings out of range, more memory needed than there is.
    """
    plan = make_plan(
        model,
        seeds,
        levels,
        sites=sites,
        tolerance=tolerance,
        slow=slow,
        slots=slots,
        devices=devices,
        **settings,
    )
    check_memory(memory_of(plan), plan.devices[0])
    return _Work(plan, key, progress).sweep()


@dataclasses.dataclass(frozen=True)
class _Work:
    """One sweep under way."""

    plan: Plan
    key: PRNGKeyArray
    progress: bool

    @cached_property
    def shared(self) -> Shared:
        """On the devices, once for all steps."""
        return lanes.replicate(self.plan.shared(self.key), self.plan.devices)

    def sweep(self) -> Sweep:
        """Predicts the seeds, runs the route, collects."""
        plan, grid = self.plan, self.plan.grid
        start = self._start()
        results = Results(plan.seeds, start, grid.shape[2])
        run = self._path if plan.engine.settings.route == "path" else self._lanes
        recorder, clean = run(results, start)
        passes = {
            "search": recorder.steps * plan.engine.settings.crops,
            "clean": clean + start.size,
        }
        return results.sweep(
            plan.model,
            grid.site_ids,
            plan.seeds,
            grid.levels,
            grid.tolerance,
            recorder.traces(),
            passes,
        )

    def _start(self) -> Float[np.ndarray, "site seed"]:
        """Clean predictions of the seeds, in the slots of the step: the same bits."""
        plan = self.plan
        table = tables.start_table(plan.grid)
        found = np.zeros(plan.grid.shape[:2], np.float32)

        def collect(row: int, state: Start, slot: int) -> None:
            found[table["site"][row], table["seed"][row]] = state.prediction[slot]

        step = engine.compiled_start(plan.engine, plan.devices)
        zero = jnp.zeros(plan.total_slots, jnp.float32)
        self._run(step, Start(zero, zero > 0), table, collect)
        return found

    def _lanes(
        self, results: Results, start: Float[np.ndarray, "site seed"]
    ) -> tuple[Recorder, int]:
        """Every level on its own."""
        plan = self.plan
        table = tables.lane_table(plan.grid, start)
        recorder = self._recorder(table)
        total = start.size * plan.grid.shape[2]
        with self._bar(total, total - len(table["site"])) as progress:

            def collect(row: int, state: LaneState, slot: int) -> None:
                lane = tuple(
                    int(table[name][row]) for name in ("site", "seed", "level")
                )
                results.put(lane, *_best(state, slot))
                results.finite[lane] = state.finite[slot]
                recorder.end(row, state, slot)
                progress.update()

            self._steps(table, collect, recorder.watch)
        return recorder, recorder.steps

    def _path(
        self, results: Results, start: Float[np.ndarray, "site seed"]
    ) -> tuple[Recorder, int]:
        """Every seed once up and once down, levels taken as they are passed."""
        plan = self.plan
        table = tables.path_table(plan.grid, start)
        recorder = self._recorder(table)
        waiting = tables.levels_of_paths(plan.grid, start, table)
        total = start.size * plan.grid.shape[2]
        with self._bar(total, total - sum(map(len, waiting))) as progress:

            def put(row: int, column: int, *found: Any) -> None:
                lane = (int(table["site"][row]), int(table["seed"][row]), column)
                results.put(lane, *found)
                progress.update()

            crossings = path.Crossings(
                plan.engine,
                self.shared,
                plan.devices,
                plan.total_slots,
                waiting,
                table,
                plan.expand,
                put,
            )

            def collect(row: int, state: LaneState, slot: int) -> None:
                for column, _ in crossings.waiting[row]:  # never passed
                    put(row, column, *_best(state, slot))
                    lane = (table["site"][row], table["seed"][row], column)
                    results.finite[lane] = state.finite[slot]
                recorder.end(row, state, slot)

            def watch(state: LaneState, occupant: np.ndarray) -> None:
                recorder.watch(state, occupant)
                crossings.watch(state, occupant)

            self._steps(table, collect, watch)
            crossings.finish()
        return recorder, recorder.steps + crossings.guesses

    def _recorder(self, table: tables.Table) -> Recorder:
        kept = self.plan.engine.settings.transparency
        return Recorder(table, self.plan.engine.canvas if kept else 0)

    def _bar(self, total: int, done: int) -> Any:
        shown = bar(
            total=total, label=f"{self.plan.model.name}: lanes", show=self.progress
        )
        shown.update(done)
        return shown

    def _steps(self, table: tables.Table, collect: Any, watch: Any) -> None:
        plan = self.plan
        step = engine.compiled_step(plan.engine, plan.devices)
        blank = plan.engine.blank(plan.total_slots)
        self._run(step, blank, table, collect, take=outcome, watch=watch)

    def _run(
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


def _best(state: LaneState, slot: int) -> tuple[np.ndarray, float, int]:
    return (
        np.asarray(state.best[slot]),
        float(state.best_prediction[slot]),
        int(state.best_step[slot]),
    )
