"""What a sweep costs, before it is run: memory, operations, disk, time.

Memory is estimated from the traced program, before anything is compiled, by walking
its operations in order and adding up what is alive (`jaxpr_peak`). What compilers add
beside that, the state they hold twice and scratch space, is a factor: measured on the
small networks and ResNet-50, the compiled programs take 1.2 to 1.5 times the estimate.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jaxtyping import PyTree

from paramctl_jax.types import InputError

_SCRATCH = 1.5


def array_bytes(tree: PyTree) -> int:
    """Bytes of all leaves, arrays or shapes."""
    return sum(_bytes(leaf) for leaf in jax.tree.leaves(tree))


def _bytes(value: Any) -> int:
    shape, dtype = getattr(value, "shape", ()), getattr(value, "dtype", None)
    itemsize = getattr(dtype, "itemsize", 4)
    return int(np.prod(shape, dtype=np.int64)) * itemsize


def jaxpr_peak(jaxpr: core.Jaxpr) -> int:
    """Most bytes alive at once between the operations of a traced program.

    Arguments are alive from the start, every result until its last use; a nested
    program is entered with what is alive around it.

    Args:
      jaxpr: of a function, as ``jax.make_jaxpr`` gives it.

    Example:
      >>> traced = jax.make_jaxpr(lambda x: (x + 1) * 2)(np.zeros(1000, np.float32))
      >>> jaxpr_peak(traced.jaxpr)
      8000
    """
    last = {v: n for n, eqn in enumerate(jaxpr.eqns) for v in _variables(eqn.invars)}
    last |= dict.fromkeys(_variables(jaxpr.outvars), len(jaxpr.eqns))
    alive = {v: _bytes(v.aval) for v in (*jaxpr.invars, *jaxpr.constvars)}
    now = sum(alive.values())
    peak = now
    for number, eqn in enumerate(jaxpr.eqns):
        inner = max(map(_inside, _nested(eqn)), default=0)
        made = {v: _bytes(v.aval) for v in eqn.outvars}
        peak = max(peak, now + max(inner, sum(made.values())))
        alive |= made
        now += sum(made.values())
        for variable in {*_variables(eqn.invars), *made}:
            if last.get(variable, -1) <= number:
                now -= alive.pop(variable, 0)
    return peak


def jaxpr_flops(jaxpr: core.Jaxpr) -> float:
    """Floating point operations of all matrix products and convolutions.

    Two for every product that is added up; what is elementwise is not counted.

    Args:
      jaxpr: of a function, as ``jax.make_jaxpr`` gives it.

    Example:
      >>> traced = jax.make_jaxpr(lambda x: x @ x)(np.zeros((10, 10), np.float32))
      >>> jaxpr_flops(traced.jaxpr)
      2000.0
    """
    total = 0.0
    for eqn in jaxpr.eqns:
        repeats = eqn.params.get("length", 1)
        total += repeats * sum(map(jaxpr_flops, _nested(eqn)))
        size = float(np.prod(_shape(eqn.outvars[0]))) if eqn.outvars else 0.0
        if eqn.primitive.name == "dot_general":
            (summed, _), _ = eqn.params["dimension_numbers"]
            shape = _shape(eqn.invars[0])
            total += 2 * size * float(np.prod([shape[axis] for axis in summed]))
        elif eqn.primitive.name == "conv_general_dilated":
            kernel = _shape(eqn.invars[1])
            outputs = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
            total += 2 * size * float(np.prod(kernel)) / outputs
    return total


def _shape(atom: Any) -> tuple[int, ...]:
    return getattr(atom.aval, "shape", ())


def _variables(atoms: Any) -> Iterator[Any]:
    return (atom for atom in atoms if not isinstance(atom, core.Literal))


def _inside(jaxpr: core.Jaxpr) -> int:
    """What a nested program needs beside its arguments, which are counted outside."""
    arguments = sum(_bytes(v.aval) for v in (*jaxpr.invars, *jaxpr.constvars))
    return jaxpr_peak(jaxpr) - arguments


def _nested(eqn: Any) -> Iterator[core.Jaxpr]:
    for value in eqn.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(part, "jaxpr", part)  # closed over constants, or not
            if isinstance(inner, core.Jaxpr):
                yield inner


def available_bytes(device: Any) -> int | None:
    """Memory that a device can still give; None where it does not say."""
    stats: Mapping[str, int] = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    if device.platform != "cpu":
        return None
    return min(filter(None, (_host_available(), _group_available())), default=None)


def _host_available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return _host_total()
    sizes = dict(line.split(":", 1) for line in lines)
    if "MemAvailable" not in sizes:
        return _host_total()
    return int(sizes["MemAvailable"].split()[0]) * 1024


def _host_total() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _group_available() -> int | None:
    """What a container or a batch job may still take (cgroups, version 2)."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = (folder / "memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if limit == "max" else int(limit) - int(used)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Memory per device of one step, and its operations.

    Attributes:
      fixed: bytes whatever the number of slots: weights, axes, seed images.
      per_slot: bytes of every slot.
      slots: asked for on each device.
      available: bytes that the device can give; None if it does not say.
      flops: of one step of all slots, see `jaxpr_flops`.
    """

    fixed: int
    per_slot: int
    slots: int
    available: int | None
    flops: float = 0.0

    @property
    def needed(self) -> int:
        """Bytes in all."""
        return self.fixed + self.slots * self.per_slot

    @property
    def fitting(self) -> int:
        """Slots that fit; 0 where not even one does."""
        if self.available is None:
            return self.slots
        return max(0, (self.available - self.fixed) // max(1, self.per_slot))


def step_memory(
    step: Callable[..., PyTree],
    shapes: Sequence[Any],
    fixed: int,
    slots: int,
    device: Any,
) -> Memory:
    """Memory per device of a step over the slots of one device, without compiling it.

    Args:
      step: of the slots of one device.
      shapes: of its arguments.
      fixed: bytes of those that all slots share.
      slots: per device.
      device: that has to hold it.
    """
    jaxpr = jax.make_jaxpr(step)(*shapes).jaxpr
    per_slot = int(_SCRATCH * (jaxpr_peak(jaxpr) - fixed)) // slots
    free = available_bytes(device)
    return Memory(fixed, per_slot, slots, free, jaxpr_flops(jaxpr))


def check_memory(memory: Memory, device: Any) -> None:
    """Refuses a step that does not fit, and says which number of slots would.

    Raises:
      InputError: more memory needed than the device can give.
    """
    if memory.available is None or memory.needed <= memory.available:
        return
    gib = 1 / 2**30
    advice = (
        f"take slots={memory.fitting}"
        if memory.fitting
        else "not even one slot fits; take fewer crops at a time (crops_at_once=1)"
    )
    raise InputError(
        f"synthesis: {memory.slots} slots need about {memory.needed * gib:.1f} GiB on "
        f"{device}, {memory.available * gib:.1f} GiB are free; {advice}"
    )
