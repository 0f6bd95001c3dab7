"""Our algorithm by hand in PyTorch: all slots in one batch, as fast as torch makes it.

Exact seed and 1/f prior in the forward map, crops as two interpolation products, Adam
after the thermostat's sign, the gain ``min(1, |e| / slow)``, the check of the 8-bit
image; batch norms folded, channels last, and the network compiled where that works.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from benchmarks._peers.drive import to_bytes
from benchmarks._peers.nets import folded

COLOUR = (
    (0.56282854, 0.58447580, 0.58447580),
    (0.19482528, 0.0, -0.19482528),
    (0.04329450, -0.10823626, 0.06494176),
)
EPSILON, SLOW = 1 / 512, 0.03


def resampling(
    corner: torch.Tensor, side: torch.Tensor, size: int, out: int
) -> torch.Tensor:
    """Bilinear, antialiased rows of each crop: ``[crop, out, size]``."""
    scale = (side * size / out)[:, None, None]
    centre = (torch.arange(out)[None, :, None] + 0.5) * scale - 0.5
    centre = centre + (corner * size)[:, None, None]
    distance = (centre - torch.arange(size)[None, None, :]).abs() / scale.clamp(min=1)
    weight = (1 - distance).clamp(min=0)
    return weight / weight.sum(-1, keepdim=True)


def frequency_prior(size: int) -> torch.Tensor:
    """``1 / max(f, 1/size)`` with mean square 1."""
    rows, columns = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]
    amplitude = 1 / torch.hypot(rows, columns).clamp(min=1 / size)
    return amplitude / amplitude.square().mean().sqrt()


class Batched:
    """Slots of lanes that advance together.

    Attributes:
      compiled: how the network runs, in words.
    """

    def __init__(
        self, problem: Any, *, crops: int, slots: int, rate: float, compiled: bool
    ):
        self.problem, self.crops, self.slots = problem, crops, slots
        self.rate = rate
        self.prior, self.colour = frequency_prior(problem.size), torch.tensor(COLOUR)
        self.model, self.compiled = folded(problem.model), "eager"
        clipped = problem.seeds.clamp(EPSILON, 1 - EPSILON)
        self.logit = torch.logit(clipped)
        self.residual = problem.seeds - torch.sigmoid(self.logit)
        half = problem.size // 2 + 1
        shape = (slots, 2, 3, problem.size, half)
        self.theta, self.second = torch.zeros(shape), torch.zeros(shape)
        self.age = torch.zeros(slots)
        self.seed, self.site = (torch.zeros(slots, dtype=torch.long) for _ in range(2))
        if compiled:
            self._compile()

    def _compile(self) -> None:
        """For the two batch sizes of a step, each with a program of its own."""
        eager = self.model
        self.model, self.compiled = torch.compile(eager, dynamic=False), "torch.compile"
        try:
            self.advance(*torch.ones(3, self.slots))
        except Exception as error:  # noqa: BLE001  (of any back end: then eager, said)
            self.model = eager
            self.compiled = f"eager (torch.compile: {type(error).__name__})"

    def restart(self, slot: int, site: int, seed: int) -> None:
        """Gives a slot to another lane."""
        for tensor in (self.theta, self.second, self.age):
            tensor[slot] = 0
        self.site[slot], self.seed[slot] = site, seed

    def image(self, theta: torch.Tensor) -> torch.Tensor:
        """``[slot, 3, size, size]`` in [0, 1]."""
        scaled = theta * self.prior
        size = (self.problem.size, self.problem.size)
        spectrum = torch.complex(scaled[:, 0], scaled[:, 1])
        change = torch.fft.irfft2(spectrum, s=size, norm="ortho")
        shifted = self.logit[self.seed] + torch.einsum(
            "lchw,cd->ldhw", change, self.colour
        )
        return (torch.sigmoid(shifted) + self.residual[self.seed]).clamp(0, 1)

    def predict(self, pixels: torch.Tensor, site: torch.Tensor) -> torch.Tensor:
        """Predictions of images, each for its own site."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        features = self.model(pixels).flatten(1)
        found = (features * self.problem.axes[site]).sum(-1)
        return found + self.problem.bias[site]

    def augmented(self, image: torch.Tensor) -> torch.Tensor:
        """``[slot * crop, 3, size, size]``: sides of .90 to .95, noise of .05."""
        count, size = self.slots * self.crops, self.problem.size
        side = 0.90 + 0.05 * torch.rand(count)
        corner = torch.rand(2, count) * (1 - side)
        rows, columns = (resampling(c, side, size, size)[:, None] for c in corner)
        repeated = image.repeat_interleave(self.crops, 0)
        cut = rows @ repeated @ columns.transpose(-1, -2)
        noise = torch.randn_like(cut) + torch.rand_like(cut) - 0.5
        return cut + 0.05 * noise

    def advance(
        self, target: torch.Tensor, slow: torch.Tensor, tolerance: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One step of all slots; those that hit stay where they are.

        Returns:
          The 8-bit images before the step, their predictions, and who hit.
        """
        theta = self.theta.requires_grad_(True)
        image = self.image(theta)
        pixels = to_bytes(image)
        with torch.no_grad():
            value = self.predict(pixels / 255, self.site)
        error = value - target
        hit = error.abs() <= tolerance
        site = self.site.repeat_interleave(self.crops)
        found = self.predict(self.augmented(image), site).reshape(self.slots, -1)
        (gradient,) = torch.autograd.grad((error.sign() * found.mean(1)).sum(), theta)
        self._move(gradient, self.rate * (error.abs() / slow).clamp(max=1) * ~hit)
        return pixels, value, hit

    @torch.no_grad()
    def _move(self, gradient: torch.Tensor, gain: torch.Tensor) -> None:
        self.age += 1
        age, wide = self.age, (slice(None), None, None, None, None)
        self.second.lerp_(gradient.square(), 0.01)  # Adam without momentum, as ours
        second = self.second / (1 - 0.99**age)[wide]
        step = gradient / (second.sqrt() + 1e-8)
        self.theta = self.theta.detach() - gain[wide] * step


def sweep(batched: Batched, *, max_steps: int) -> dict[str, Any]:
    """All lanes through the slots, a finished one's slot given to the next."""
    lanes, kept, steps = batched.problem.lanes(), {}, 0
    waiting = list(range(len(lanes)))
    occupant = [-1] * batched.slots
    table = torch.zeros(3, batched.slots)  # target, slow, tolerance
    best: list[Any] = [None] * batched.slots
    while waiting or any(lane >= 0 for lane in occupant):
        for slot in range(batched.slots):
            if occupant[slot] < 0 and waiting:
                occupant[slot] = waiting.pop(0)
                _place(batched, table, slot, lanes[occupant[slot]])
                best[slot] = (np.inf, None, np.nan)
        pixels, values, hits = batched.advance(*table)
        steps += 1
        for slot, lane in enumerate(occupant):
            value = float(values[slot])
            error = abs(value - float(table[0, slot]))
            if lane >= 0 and not error >= best[slot][0]:
                best[slot] = (error, pixels[slot].permute(1, 2, 0).numpy(), value)
            if lane >= 0 and (hits[slot] or batched.age[slot] > max_steps):
                kept[lane] = (*best[slot][1:], int(batched.age[slot]) - 1)
                occupant[slot] = -1
    images, reached, made = zip(*(kept[i] for i in range(len(lanes))), strict=True)
    return {
        "lanes": np.asarray(lanes),
        "images": np.stack(images),
        "reached": np.asarray(reached),
        "steps": np.asarray(made),
        "search": sum(made) * batched.crops,  # as ours counts: of lanes at work
        "clean": sum(made) + len(made),
        "computed": steps * batched.slots,  # and of slots that idle
        "capped": 0,
    }


def _place(batched: Batched, table: torch.Tensor, slot: int, lane: Any) -> None:
    site, seed, level = lane
    problem = batched.problem
    batched.restart(slot, site, seed)
    extent = problem.extent[site]
    row = (problem.levels[site, level], SLOW * extent, problem.tolerance[site])
    table[:, slot] = torch.tensor(np.asarray(row), dtype=torch.float32)


def lane_step_seconds(batched: Batched, steps: int) -> float:
    """Seconds per step of one lane, all slots at work and none ending."""
    for slot in range(batched.slots):
        batched.restart(slot, 0, slot % len(batched.problem.seeds))
    far = torch.full((batched.slots,), 1e6)
    one, none = torch.ones(batched.slots), torch.zeros(batched.slots)
    begun = time.perf_counter()
    for _ in range(steps):
        batched.advance(far, one, none)
    return (time.perf_counter() - begun) / steps / batched.slots
