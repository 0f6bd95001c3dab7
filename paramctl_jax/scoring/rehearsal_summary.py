"""A rehearsal as text to read."""

from __future__ import annotations

import math
import textwrap

import numpy as np

from paramctl_jax.scoring.power import Power
from paramctl_jax.scoring.rehearsal import TESTS
from paramctl_jax.scoring.rehearsal_records import PairRehearsal, Rehearsal, Spread
from paramctl_jax.scoring.summary import aligned, number_text

_MODEL_HEAD = (
    "model",
    "control",
    "5 to 95 %",
    "noise-free",
    "slope within",
    "5 to 95 %",
    "noise-free",
)
_PAIR_HEAD = ("a - b", "difference", "5 to 95 %", "noise-free")
_MODES = {
    "fixed": "one fit and one stimulus set for all animals (fixed fit): what another "
    "calibration, fit or synthesis would change is left out. The distributions are too "
    "narrow, and the power is that of these very stimuli",
    "full": "every animal has a calibration, a fit and a stimulus set of its own",
}
_NAMES = {"seeds": "over seeds", "sites": "over sites", "interval": "interval"}


def format_rehearsal(found: Rehearsal) -> str:
    """A readable table: models, pairs, power by test and repeats, and what to mind.

    Args:
      found: what `rehearse` returned.

    Returns:
      Lines of text. Control, slope and difference are medians over animals at the
      planned number of repeats; `noise-free` is what they would be without trial noise;
      power is the share of animals that show a difference.
    """
    at = found.repeats.index(found.planned)
    repeats = _counted(found.planned, "repeat")
    rows = [
        (
            model.name,
            *_spread(model.control_spread[at]),
            _median(model.true_control),
            *_spread(model.slope_spread[at]),
            _median(model.true_slope),
        )
        for model in found.models
    ]
    parts = [_title(found), "", f"control at {repeats}, median over animals"]
    parts += [aligned([_MODEL_HEAD, *rows]), ""]
    if found.pairs:
        rows = [
            (
                f"{pair.a} - {pair.b}",
                *_spread(pair.spread[at], "+.3f"),
                _median(pair.true_difference, "+.3f"),
            )
            for pair in found.pairs
        ]
        parts += [f"paired differences at {repeats}", aligned([_PAIR_HEAD, *rows]), ""]
        parts += [_power_title(found), _power_table(found), ""]
    said = (
        textwrap.fill(f"- {note}", 88, subsequent_indent="  ") for note in notes(found)
    )
    return "\n".join([*parts, "notes", *said])


def notes(found: Rehearsal) -> tuple[str, ...]:
    """What to mind in reading the numbers, in plain words."""
    said = [_MODES[found.mode]]
    if found.n_incomplete:
        said.append(
            f"{found.n_incomplete} of {found.n_animals} animals lack sweeps, of a lost "
            "site for example; they are scored on the others"
        )
    if found.pairs:
        error = 0.5 / math.sqrt(found.n_animals)
        said += _unreachable(found)
        said.append(f"the standard error of a power is at most {error:.2f}")
    return tuple(said)


def _title(found: Rehearsal) -> str:
    sizes = (
        (found.n_sites, "site"),
        (found.n_seeds, "seed image"),
        (found.n_levels, "level"),
    )
    design = " x ".join(_counted(number, name) for number, name in sizes)
    return f"rehearsal: {found.n_animals} animals, {design} per model"


def _power_title(found: Rehearsal) -> str:
    return (
        f"power at p <= {found.alpha:g} by repeats, and fewest repeats with "
        f"{found.wanted_power:.0%} (smallest attainable p in brackets)"
    ).replace("%", " %")


def _power_table(found: Rehearsal) -> str:
    head = ("a - b", "", *map(str, found.repeats), "enough")
    rows = [
        (f"{pair.a} - {pair.b}" if test == TESTS[0] else "", *_power_cells(pair, test))
        for pair in found.pairs
        for test in TESTS
    ]
    return aligned([head, *rows])


def _power_cells(pair: PairRehearsal, test: str) -> tuple[str, ...]:
    shares = [f"{getattr(one, f'by_{test}'):.2f}" for one in pair.power]
    enough = pair.enough[test]
    smallest = smallest_p(pair.power[-1], test)
    limit = "" if np.isnan(smallest) else f" ({smallest:.3g})"
    return f"{_NAMES[test]}{limit}", *shares, "none" if enough is None else str(enough)


def smallest_p(power: Power, test: str) -> float:
    """The smallest p that a test can reach; NaN for the interval, which has none."""
    return float("nan") if test == "interval" else getattr(power, f"p_min_{test}")


def _unreachable(found: Rehearsal) -> list[str]:
    """Tests that cannot reach alpha, whatever the number of repeats."""
    power, said = found.pairs[0].power[-1], []
    for test, count in (("seeds", found.n_seeds), ("sites", found.n_sites)):
        smallest = smallest_p(power, test)
        if smallest > found.alpha:
            said.append(
                f"p over {test} cannot reach {found.alpha:g} with {count} {test} "
                f"(smallest {smallest:.3g}), however many repeats: add {test}"
            )
    return said


def _spread(spread: Spread, form: str = ".3f") -> tuple[str, str]:
    if np.isnan(spread.median):
        return "undefined", "undefined"
    return number_text(
        spread.median, form
    ), f"[{spread.low:{form}}, {spread.high:{form}}]"


def _median(values: np.ndarray, form: str = ".3f") -> str:
    known = values[np.isfinite(values)]
    return number_text(float(np.median(known)) if known.size else np.nan, form)


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
