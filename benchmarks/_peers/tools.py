"""The peers' own functions, their loops unrolled into `drive.Session`.

Both are run as installed. What is ours is the clean check and the sign; what is theirs
is the parameterisation, the augmentation, the objective's plumbing, the optimiser and
its learning rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "faccent": {
        "own": {"crops": 16, "size": (0.05, 0.99), "noise": 0.02, "rate": 0.05},
        "equal": {"crops": 4, "size": (0.90, 0.95), "noise": 0.05, "rate": 0.05},
        "tuned": {"crops": 4, "size": (0.90, 0.95), "noise": 0.05, "rate": 0.2},
    },
    # horama draws sides from high to 2 high - low; (.85, .90) gives .90 to .95
    "horama": {
        "own": {"crops": 6, "size": (0.20, 0.25), "noise": 0.05, "rate": 12 / 1024},
        "authors": {"crops": 8, "size": (0.90, 0.95), "noise": 0.05, "rate": 12 / 1024},
        "equal": {"crops": 4, "size": (0.85, 0.90), "noise": 0.05, "rate": 12 / 1024},
        "tuned": {"crops": 4, "size": (0.85, 0.90), "noise": 0.05, "rate": 0.2},
    },
}
"""`own` is each tool's default, `equal` our crops and noise; `tuned` has larger steps,
too, where a pilot on the small problem found the most accepted for the least time.

`authors` is how horama was used to reach levels (Prince et al.). Its rate is per canvas
pixel: its transform is not normalised, so that the rate of equal steps grows with the
canvas; 12 at 1024 pixels is theirs, and its default would be 1 at 1280.
"""


class Faccent:
    """``faccent.render.render_vis`` without a regulariser.

    Args:
      problem: see `nets.Problem`.
      site, seed: of the lane.
      setting: of `SETTINGS`.
    """

    def __init__(self, problem: Any, site: int, seed: int, setting: Mapping[str, Any]):
        from faccent import objectives, param, render, transform

        size = (problem.size, problem.size)
        parameters = param.fourier(
            init_img=problem.seeds[seed], img_size=size, device=torch.device("cpu")
        )
        transforms = [
            transform.box_crop_2(*setting["size"]),
            transform.uniform_gaussian_noise(setting["noise"]),
            transform.resize(size),
            transform.range_normalize((0, 1)),
        ]
        crops = setting["crops"]
        self.transform = transform.compose(transforms, nb_transforms=crops)
        self.params, self.image_of = parameters()
        for parameter in self.params:
            parameter.requires_grad_(True)
        self.optimiser = torch.optim.Adam(self.params, lr=setting["rate"])
        self.model, axis = problem.model, problem.axes[site]
        self.hook = render.hook_model(
            self.model, self.image_of, self.transform, crops, [self.model.last]
        )
        self.objective = objectives.Objective(
            lambda hook: -(hook(self.model.last).flatten(2) @ axis).mean()
        )
        self.transparency = torch.zeros(1, 3, *size)

    def begin(self) -> torch.Tensor:
        """The image; `render_vis` has it at this point, too."""
        self.optimiser.zero_grad()
        self.image = self.image_of()
        self.image.retain_grad()
        return self.image[0]

    def step(self, sign: float) -> None:
        """Forward, backward, transparency, Adam."""
        self.model(self.transform(self.image))
        (sign * self.objective)(self.hook.hook_f).backward()
        gradient = self.image.grad.detach().clone()
        self.transparency = self.transparency.detach().clone() + torch.abs(gradient)
        self.optimiser.step()


class Horama:
    """``horama.accentuation`` with values in [0, 1]."""

    def __init__(self, problem: Any, site: int, seed: int, setting: Mapping[str, Any]):
        from horama import feature_accentuation as theirs

        self.theirs, self.setting, self.problem = theirs, setting, problem
        size, device = problem.size, torch.device("cpu")
        self.spectrum = theirs.inverse_image_spectrum(problem.seeds[seed], device)
        self.spectrum.requires_grad = True
        scale = theirs.get_fft_scale(size, size, 1.5)
        self.scaler = theirs.SpectrumBackwardScaler(scale)
        rate = setting["rate"] * size
        self.optimiser = torch.optim.NAdam([self.spectrum], lr=rate)
        self.axis = problem.axes[site]
        self.seed = self._image().detach()  # as theirs: of the reconstruction
        self.transparency = torch.zeros(3, size, size)

    def _image(self) -> torch.Tensor:
        return self.theirs.fa_preconditionner(
            self.spectrum, self.scaler, (0.0, 1.0), torch.device("cpu")
        )

    def begin(self) -> torch.Tensor:
        """The image of the spectrum."""
        self.optimiser.zero_grad()
        self.image = self._image()
        return self.image

    def step(self, sign: float) -> None:
        """Crops, objective, penalty, transparency, NAdam."""
        loss, image = self.theirs.optimization_step(
            lambda crops: sign * self._predict(crops),
            self.image,
            self.setting["size"],
            self.setting["noise"],
            self.setting["crops"],
            self.problem.size,
        )
        loss += (image - self.seed).square().mean()
        loss.backward()
        self.transparency += torch.abs(image.grad)
        self.optimiser.step()

    def _predict(self, crops: torch.Tensor) -> torch.Tensor:
        return (self.problem.model(crops).flatten(1) @ self.axis).mean()


TOOLS: dict[str, Callable[..., Any]] = {"faccent": Faccent, "horama": Horama}
