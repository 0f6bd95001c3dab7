"""A sweep cut into blocks: what each file of ``sweep/blocks/`` will hold.

A block is rectangular: some sites x some seed images x all target levels of one model,
so that it is a small sweep by itself. How a sweep is cut rests on its settings alone,
never on how many workers, devices or hosts there are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from paramctl_jax.artifacts import config_hash, read_json, to_json, write_json
from paramctl_jax.types import InputError

FOLDER, PLAN = "sweep", "plan.json"
BLOCKS, CLAIMS, CHECKPOINTS, FAILURES = "blocks", "claims", "checkpoints", "failures"
FORMAT = "paramctl_jax sweep 1"


@dataclasses.dataclass(frozen=True)
class Block:
    """Some sites and seed images of one model, at all levels.

    Attributes:
      name: of its file, without the ending.
      model: name of the encoding model.
      sites, seeds: half-open ranges of positions in the sweep.
      lanes: how many.
    """

    name: str
    model: str
    sites: tuple[int, int]
    seeds: tuple[int, int]
    lanes: int


@dataclasses.dataclass(frozen=True)
class Share:
    """What there is to do for one model.

    Attributes:
      identity: digest of all that determines the bytes of its lanes.
      blocks: in the order of site and seed image.
    """

    identity: str
    blocks: tuple[Block, ...]


@dataclasses.dataclass(frozen=True)
class SweepPlan:
    """All blocks of a run, as ``sweep/plan.json`` has them.

    Attributes:
      pairs: of site and seed image in a block, at most.
      slots: lanes worked on at a time on each device.
      models: by name, in the order of the settings.
    """

    pairs: int
    slots: int
    models: Mapping[str, Share]

    @cached_property
    def blocks(self) -> dict[str, Block]:
        """By name, model by model."""
        shares = self.models.values()
        return {block.name: block for share in shares for block in share.blocks}

    @property
    def lanes(self) -> int:
        """Of all models."""
        return sum(block.lanes for block in self.blocks.values())

    def to_json(self) -> dict[str, Any]:
        """The content of ``plan.json``."""
        models = {name: _to_json(share) for name, share in self.models.items()}
        head = {"format": FORMAT, "block": self.pairs, "slots": self.slots}
        content = {**head, "lanes": self.lanes, "models": models}
        return {**content, "digest": config_hash(content)}


def _to_json(share: Share) -> dict[str, Any]:
    blocks = [dataclasses.asdict(block) for block in share.blocks]
    for block in blocks:
        del block["model"]
    lanes = sum(block.lanes for block in share.blocks)
    return {"identity": share.identity, "lanes": lanes, "blocks": blocks}


def partition(
    model: str, n_sites: int, n_seeds: int, n_levels: int, pairs: int
) -> tuple[Block, ...]:
    """Cuts sites x seed images into rectangles of at most `pairs` pairs.

    Seed images are cut first: a block has several sites only where it has all seeds.

    Args:
      model: name that the blocks are called after.
      n_sites: of the sweep.
      n_seeds: seed images.
      n_levels: target levels, all of them in every block.
      pairs: of site and seed image, at least 1.

    Returns:
      The blocks in the order of sites, then seeds.

    Example:
      >>> for block in partition("m", 3, 5, 11, pairs=10):
      ...     print(block.name, block.sites, block.seeds, block.lanes)
      m-00000 (0, 2) (0, 5) 110
      m-00001 (2, 3) (0, 5) 55
    """
    ranges = [
        (sites, seeds)
        for sites in _cut(n_sites, max(1, pairs // n_seeds))
        for seeds in _cut(n_seeds, pairs)
    ]
    return tuple(
        Block(
            f"{model}-{index:05d}", model, sites, seeds, _area(sites, seeds, n_levels)
        )
        for index, (sites, seeds) in enumerate(ranges)
    )


def _cut(total: int, most: int) -> Iterator[tuple[int, int]]:
    for start in range(0, total, most):
        yield start, min(start + most, total)


def _area(sites: tuple[int, int], seeds: tuple[int, int], n_levels: int) -> int:
    return (sites[1] - sites[0]) * (seeds[1] - seeds[0]) * n_levels


def write_plan(workdir: Path, plan: SweepPlan) -> None:
    """Writes ``sweep/plan.json``, anew where it is damaged, or compares with it.

    Raises:
      InputError: another plan is there, with the first things that differ.
    """
    path = workdir / FOLDER / PLAN
    wanted = plan.to_json()
    try:
        read_plan(workdir)
    except InputError:  # none, or damaged; what it would say is in the blocks as well
        write_json(path, wanted)
        return
    found = read_json(path)
    if to_json(found) == to_json(wanted):
        return
    differing = "; ".join(_differences(found, wanted))
    raise InputError(
        f"{path}: cut or made for something else ({differing}); give "
        "another --workdir, or delete the folders sweep and stimuli"
    )


def _differences(found: Any, wanted: Mapping[str, Any]) -> Sequence[str]:
    """Of two plans, in words."""
    if not isinstance(found, Mapping) or found.get("format") != FORMAT:
        return ["not a plan of this version"]
    said = [
        f"{name} {found.get(name)} there, {wanted[name]} now"
        for name in ("block", "slots", "lanes")
        if found.get(name) != wanted[name]
    ]
    there, now = found.get("models", {}), wanted["models"]
    changed = [n for n in now if there.get(n, {}).get("identity") != now[n]["identity"]]
    if changed:
        said.append(
            f"encoding model, levels, seed images or settings of {', '.join(changed)}"
        )
    return said or ["the cut differs"]


def read_plan(workdir: Path) -> SweepPlan:
    """Reads ``sweep/plan.json``.

    Raises:
      InputError: naming the file: missing, damaged, of another version.
    """
    path = workdir / FOLDER / PLAN
    content = read_json(path)
    try:
        digest, rest = content["digest"], {**content}
        del rest["digest"]
        as_written = path.read_text() == to_json(content)
        if content["format"] != FORMAT or not as_written or digest != config_hash(rest):
            raise ValueError("not what was written")
        models = {
            name: Share(
                share["identity"],
                tuple(_block(name, block) for block in share["blocks"]),
            )
            for name, share in content["models"].items()
        }
        return SweepPlan(int(content["block"]), int(content["slots"]), models)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: damaged or of another version ({error!r}); delete it and run the "
            "same command again"
        ) from error


def _block(model: str, content: Mapping[str, Any]) -> Block:
    (a, b), (c, d) = content["sites"], content["seeds"]
    return Block(content["name"], model, (a, b), (c, d), int(content["lanes"]))
