"""The in-silico subject of a run: from its settings, and in words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxtyping import Array, Key

from paramctl_jax.backbones import check_readout, load_backbone
from paramctl_jax.subject.neurons import compact_neurons, neuron_subject
from paramctl_jax.subject.simulated import (
    check_numbers,
    reliabilities,
    simulated_subject,
)
from paramctl_jax.subject.subject import Subject
from paramctl_jax.types import Backbone, ImageSet, InputError

NETWORKS = ("backbone", "second")

_AXES = {
    "components": "random linear read-outs",
    "channels": "random read-outs of few channels",
    "spatial": "random read-outs of one place each",
}
_NOISE = {
    "gaussian": "Gaussian trial noise",
    "poisson": "Poisson spike counts",
    "overdispersed": "over-dispersed spike counts",
}


def subject_call(settings: Mapping[str, Any]) -> Callable[..., Subject]:
    """The call that the settings are for: models of neurons, or a drawn truth."""
    return neuron_subject if "neurons" in settings else simulated_subject


def check_subject(settings: Mapping[str, Any]) -> None:
    """What can be said of the settings before any image is seen.

    Raises:
      InputError: a number out of range, or settings that have no effect.
    """
    if "neurons" in settings:
        reliabilities(settings["ncsnr"], len(settings.get("sites") or "?"))
        return
    for name in ("backbone", "readout"):
        if not (isinstance(settings[name], str) and settings[name]):
            raise InputError(
                f"config.subject.{name}: expected a name, found {settings[name]!r}"
            )
    idle = [k for k in ("rho", "second_readout") if k in settings]
    if idle and not settings.get("second"):
        raise InputError(
            f"config.subject.{idle[0]}: expected a second network beside it, found none"
        )
    defaults = inspect.signature(simulated_subject).parameters
    given = {name: settings.get(name, p.default) for name, p in defaults.items()}
    check_numbers(given)


def subject_digests(settings: Mapping[str, Any]) -> dict[str, str]:
    """Of the subject's own weights.

    Raises:
      InputError: weights that are not there, or cannot be used.
    """
    if "neurons" in settings:
        wanted = {k: settings[k] for k in ("session", "sites") if k in settings}
        return {"subject": compact_neurons(settings["neurons"], **wanted).sha256}
    digests = {k: n.provenance["sha256"] for k, n in subject_networks(settings).items()}
    return {
        "subject" if which == "backbone" else f"subject_{which}": digest
        for which, digest in digests.items()
    }


def subject_networks(settings: Mapping[str, Any]) -> dict[str, Backbone]:
    """The subject's own networks, by the setting that names them.

    Raises:
      InputError: an unknown network, or one without weights here.
    """
    names = {k: settings[k] for k in NETWORKS if settings.get(k)}
    networks = {k: load_backbone(name) for k, name in names.items()}
    readouts = _readouts(settings)
    for which, network in networks.items():
        check_readout(network, readouts[which])
    return networks


def subject_of_settings(
    settings: Mapping[str, Any],
    images: ImageSet,
    key: Key[Array, ""],
    progress: bool = True,
) -> Subject:
    """The subject of `subject_call`, networks named instead of loaded.

    Args:
      settings: the call's keyword arguments; ``backbone`` and ``second`` are names.
      images: natural images.
      key: randomness of the truth.
      progress: show progress bars.

    Raises:
      InputError: as `simulated_subject`, or a network that cannot be loaded.
    """
    if "neurons" in settings:
        return neuron_subject(images=images, progress=progress, **settings)
    networks = subject_networks(settings)
    rest = {k: v for k, v in settings.items() if k not in (*NETWORKS, "readout")}
    return simulated_subject(
        networks["backbone"],
        images,
        settings["readout"],
        second=networks.get("second"),
        key=key,
        progress=progress,
        **rest,
    )


def subject_in_words(settings: Mapping[str, Any], models: Sequence[str]) -> str:
    """What is known of the subject, in one sentence.

    Args:
      settings: of the subject.
      models: names of the networks under test.

    Example:
      >>> settings = {"backbone": "net", "readout": "layer3.0", "predictable": False}
      >>> subject_in_words(settings, ["a", "b"]).split(", ")[1]
      'with Gaussian trial noise.'
    """
    if "neurons" in settings:
        return (
            f"In-silico subject: compact models of single neurons of session "
            f"{settings['session']}, fitted by others, with Gaussian trial noise."
        )
    noise = _NOISE[settings.get("noise", "gaussian")]
    return f"In-silico subject: {_truth(settings, models)}, with {noise}."


def _truth(settings: Mapping[str, Any], models: Sequence[str]) -> str:
    if not settings.get("predictable", True):
        return "reliable responses that follow from no feature of an image (null)"
    kind = _AXES[settings.get("axes", "components")]
    shape = settings.get("shape", "linear")
    through = "" if shape == "linear" else f", with the nonlinearity {shape}"
    readouts, names = _readouts(settings), [settings["backbone"]]
    where = f"{readouts['backbone']} of {names[0]}"
    if settings.get("second"):
        names.append(settings["second"])
        share = f"{settings.get('rho', 0.5) ** 2:.0%}".replace("%", " %")
        where += f" ({share} of the variance) and {readouts['second']} of {names[1]}"
    under_test = [name for name in dict.fromkeys(names) if name in models]
    if under_test:
        return f"{kind} of {where}; {' and '.join(under_test)} is under test{through}"
    which = "a network that is" if len(set(names)) == 1 else "networks that are"
    none = "neither" if len(models) == 2 else "none"
    return f"{kind} of {where}, {which} {none} of the models{through}"


def _readouts(settings: Mapping[str, Any]) -> dict[str, str]:
    first = settings["readout"]
    return {"backbone": first, "second": settings.get("second_readout") or first}
