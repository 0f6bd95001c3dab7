"""What a block is made of: its lanes accentuated, its PNGs written and judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from paramctl_jax import lanes
from paramctl_jax.artifacts import config_hash, sha256_bytes
from paramctl_jax.stimuli.table import parse_csv, stimulus_id, to_csv
from paramctl_jax.stimuli.traces import TracedPart, to_arrays
from paramctl_jax.stimuli.write import save_part
from paramctl_jax.sweeps.blocks import Block, Share, SweepPlan, partition
from paramctl_jax.sweeps.worker import ENDS
from paramctl_jax.synthesis import Plan, check_memory, memory_of
from paramctl_jax.synthesis.gradient import Shared
from paramctl_jax.synthesis.snapshot import Keeper
from paramctl_jax.synthesis.work import sweep_of
from paramctl_jax.types import InputError, Stimulus, Traces

PAIRS_PER_SLOT = 4


def plan_sweep(
    plans: Iterable[Plan], key: PRNGKeyArray, pairs: int | None = None
) -> SweepPlan:
    """Cuts the sweeps of several models into blocks.

    Args:
      plans: one per model.
      key: of all sweeps.
      pairs: of site and seed image in a block; None takes `PAIRS_PER_SLOT` for every
        slot of one device, so that slots seldom wait for the last lane of a block.

    Raises:
      InputError: names of models, sites or seed images that give one name to two PNGs.
    """
    plans = list(plans)
    slots = plans[0].slots
    pairs = pairs or PAIRS_PER_SLOT * slots
    if pairs < 1:
        raise InputError(f"config.sweep.pairs={pairs}: expected at least 1 pair")
    _check_names(plans)
    models = {
        plan.model.name: Share(
            identity_of(plan, key),
            partition(plan.model.name, *plan.grid.shape, pairs),
        )
        for plan in plans
    }
    return SweepPlan(pairs, slots, models)


def identity_of(plan: Plan, key: PRNGKeyArray) -> str:
    """Digest of all that determines the bytes of a model's lanes, but the machine."""
    model, grid = plan.model, plan.grid
    arrays = {
        "weights": model.weights.astype(np.float32),
        "bias": model.bias.astype(np.float32),
        "levels": grid.levels,
        "tolerance": grid.tolerance,
        "slow": grid.slow,
        "seeds": plan.seeds.pixels,
        "key": np.asarray(jax.random.key_data(key)),
    }
    digests = {
        name: sha256_bytes(f"{x.dtype} {x.shape}".encode() + x.tobytes())
        for name, x in arrays.items()
    }
    return config_hash(
        {
            **digests,
            "backbone": model.backbone.provenance.get("sha256", ""),
            "readout": model.readout,
            "model_sites": model.site_ids,
            "sites": grid.site_ids,
            "seed_ids": grid.seed_ids,
            "settings": repr(plan.engine.settings),
            # without the places of functions in this process's memory
            "network": re.sub(" at 0x[0-9a-f]+", "", repr(model.backbone.network)),
            "slots": plan.slots,
        }
    )


def _check_names(plans: Iterable[Plan]) -> None:
    """Said before the first block, and not after the last one."""
    seen: dict[str, tuple[str, str, str]] = {}
    for plan in plans:
        for site in plan.grid.site_ids:
            for seed in plan.grid.seed_ids:
                origin = (plan.model.name, site, seed)
                name = stimulus_id(*origin, None).lower()
                if seen.setdefault(name, origin) != origin:
                    raise InputError(
                        f"{seen[name]} and {origin} give PNGs of one name; give "
                        "models, sites and seed images different names"
                    )


class Accentuation:
    """Computes blocks; keeps the network of one model at a time on the devices.

    Args:
      plans: by model name.
      key: of the sweeps.
      directory: where the PNGs go.
    """

    def __init__(self, plans: Mapping[str, Plan], key: PRNGKeyArray, directory: Path):
        self._plans, self._key, self._directory = plans, key, directory
        self._loaded: tuple[str, Shared] | None = None
        for plan in plans.values():
            check_memory(memory_of(plan), plan.devices[0])

    def __call__(
        self, block: Block, keeper: Keeper, finished: Callable[[int, int], None]
    ) -> dict[str, np.ndarray]:
        """The content of a block's file; its PNGs are on disk before it."""
        plan = self._plans[block.model]
        part = plan.part(slice(*block.sites), slice(*block.seeds))
        sweep = sweep_of(part, self._shared(block.model), keeper, finished)
        rows = save_part(self._directory, sweep)
        counts = [int((sweep.stop_reason == end).sum()) for end in ENDS]
        traces = {} if sweep.traces is None else to_arrays(sweep.traces)
        return {
            "table": np.frombuffer(to_csv(rows).encode(), np.uint8),
            "ends": np.asarray(counts, np.int64),
            "passes": np.asarray([sweep.passes[k] for k in ("search", "clean")]),
            "site_ids": np.asarray(sweep.site_ids, np.str_),
            "seed_ids": np.asarray(sweep.seeds.stimulus_ids, np.str_),
            **{f"traces/{name}": values for name, values in traces.items()},
        }

    def _shared(self, model: str) -> Shared:
        if self._loaded is None or self._loaded[0] != model:
            self._loaded = None  # the old one goes before the new one comes
            plan = self._plans[model]
            shared = lanes.replicate(plan.shared(self._key), plan.devices)
            self._loaded = model, shared
        return self._loaded[1]


def stimuli_of(arrays: Mapping[str, np.ndarray], where: str) -> tuple[Stimulus, ...]:
    """The rows of the table that a block holds."""
    return parse_csv(arrays["table"].tobytes().decode(), where)


def traced_part(model: str, arrays: Mapping[str, np.ndarray]) -> Iterator[TracedPart]:
    """The traces that a block holds, if any."""
    own = {
        name.removeprefix("traces/"): values
        for name, values in arrays.items()
        if name.startswith("traces/")
    }
    if own:
        sites, seeds = (arrays[name].tolist() for name in ("site_ids", "seed_ids"))
        yield TracedPart(model, sites, seeds, Traces(**own))
