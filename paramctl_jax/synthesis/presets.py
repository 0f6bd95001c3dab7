"""Settings of other tools, as keyword arguments of `accentuate`.

    accentuate(model, seeds, levels, key=key, **COMPATIBILITY["faccent"])

With equal random draws, ten steps of parameterisation, crops and optimiser give the
tools' own images within 1e-3 of the pixel range (``test_compatibility.py``).

``faccent``
  1.0.3, ``render_vis`` with ``fourier_phase`` on a seed: phases and gains, 16 crops of
  .05 to .99, noise before the resize, Adam .05; 98 updates lie before its last image.
  Not reproduced: the resize of the seed (nearest), ``range_normalize`` in place of the
  network's own normalisation. Its feature penalty is off, as by default there.
``horama``
  0.3.0, ``accentuation``: the stretched seed, 6 crops of .25 to .30 (asked for: .20 to
  .25), NAdam 1. Its images have the range (-2.5, 2.5); noise and penalty are converted
  to [0, 1]. Not reproduced: the penalty is against the stretched seed there.
``pnc``
  The pipeline of Prince et al. 2026: Horama's steps with the mean taken off, 8 crops of
  .95 to 1 (asked for: .90 to .95), noise .1, NAdam 12 with (.95, .9), sign switch. Not
  reproduced: its ladder of noise and decay over failed lanes; its hit is .01 z at every
  site, here a fraction of the range of the levels.

For all of them, a lane here ends when its clean 8-bit image hits the target and returns
the image nearest the target, not the last one. `learning_rate` of ``horama`` and
``pnc`` is per coefficient of an un-normalised spectrum: it means what it does there on
their canvases alone, 1280 and 1024 pixels; faccent's is 512. `gamma` is their decay,
which acts on the gradient only.

Sources: faccent (Hamblin et al. 2024), Horama, PNC; see `parameterisations`.
"""

from __future__ import annotations

from typing import Any

COMPATIBILITY: dict[str, dict[str, Any]] = {
    "faccent": {
        "route": "lanes",
        "parameterisation": "phase",
        "gamma": 1.0,  # without effect on phases
        "sampler": "faccent",
        "crops": 16,
        "crop_size": (0.05, 0.99),
        "noise": 0.02,
        "optimiser": "adam",
        "optimiser_options": (),
        "learning_rate": 0.05,
        "objective": "maximise",
        "locality": "first_hit",
        "locality_weight": 0.0,
        "max_steps": 98,
    },
    "horama": {
        "route": "lanes",
        "parameterisation": "horama",
        "gamma": 1.5,
        "sampler": "horama",
        "crops": 6,
        "crop_size": (0.20, 0.25),
        "noise": 0.01,  # .05 on a range of 5
        "optimiser": "nadam_torch",
        "optimiser_options": (),
        "learning_rate": 1.0,
        "objective": "maximise",
        "locality": "pixel",
        "locality_weight": 25.0,  # 1 on squares of a range of 5
        "max_steps": 1000,
    },
    "pnc": {
        "route": "lanes",
        "parameterisation": "pnc",
        "gamma": 1.5,
        "sampler": "horama",
        "crops": 8,
        "crop_size": (0.90, 0.95),
        "noise": 0.1,
        "optimiser": "nadam_torch",
        "optimiser_options": (("b1", 0.95), ("b2", 0.9)),
        "learning_rate": 12.0,
        "objective": "sign_switch",
        "locality": "first_hit",
        "locality_weight": 0.0,
        "max_steps": 6000,
    },
}
