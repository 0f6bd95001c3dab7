"""How encoding models are fitted: the choices, checked before anything is computed."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paramctl_jax.types import InputError, unknown

CHOICES = {
    "basis": ("pca", "srp", "spatial_mean", "factorised", "none"),
    "basis_images": ("train", "all"),
    "regression": ("ridge", "lasso", "sparse_positive"),
    "selection": ("loo", "gcv", "kfold"),
    "readout_policy": ("inner_cv", "test_argmax"),
    "join": ("images", "exact", "common"),
}
"""The valid values of every setting that is a name."""


LEAST = {"n_folds": 2, "n_bootstrap": 1, "components": 1, "random_seed": 0}
"""Settings that are whole numbers, and the smallest that each may be."""


@dataclasses.dataclass(frozen=True)
class EncodingSettings:
    """Statistical choices of an encoding fit.

    Attributes:
      basis: what the read-out is fitted on: ``"pca"`` of the training images, ``"srp"``
        (sparse random projection), ``"spatial_mean"``, ``"factorised"`` (spatial mask
        x channel vector per site) or ``"none"`` (the raw features). A sparse
        autoencoder is a readout of its own, see `backbones.with_sae`.
      components: how many pca or srp keep at most; None for their default.
      basis_images: ``"train"``, or ``"all"`` to repeat published fits whose pca had
        seen the held-out images too.
      regression: ``"ridge"``, ``"lasso"`` or ``"sparse_positive"`` (lasso without
        negative weights, on features that are channels: not on pca or srp).
      penalties: candidates; None for the regression's own grid.
      selection: of the ridge penalty, per site: exact leave-one-out (``"loo"``),
        generalised (``"gcv"``) or K-fold (``"kfold"``) cross-validation. A lasso
        always takes K folds, factorised always leave-one-out.
      n_folds: of every K-fold.
      readout_policy: among several readouts, ``"inner_cv"`` takes the best by
        cross-validation within the training images; ``"test_argmax"`` the best on the
        held-out images, as the authors did, which flatters it.
      join: ``"images"``: every image needs a response, recorded stimuli without an
        image are left out and counted; ``"exact"``: both hold the same stimuli;
        ``"common"``: those that both hold.
      test_fraction: share of images held out at random, unless they are named.
      n_bootstrap: draws of the intervals of the evaluation.
      random_seed: of folds, sparse random projection and bootstrap.
    """

    basis: str = "pca"
    components: int | None = None
    basis_images: str = "train"
    regression: str = "ridge"
    penalties: Sequence[float] | None = None
    selection: str = "loo"
    n_folds: int = 5
    readout_policy: str = "inner_cv"
    join: str = "images"
    test_fraction: float = 0.2
    n_bootstrap: int = 1000
    random_seed: int = 0

    def __post_init__(self) -> None:
        """Refuses unknown names and combinations that mean nothing."""
        for name, valid in CHOICES.items():
            if getattr(self, name) not in valid:
                raise unknown(str(getattr(self, name)), valid, f"encoding {name}")
        self._check_numbers()
        self._check_combination()

    def _check_numbers(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if name == "components" and value is None:
                continue
            if not isinstance(value, numbers.Integral) or value < least:
                raise InputError(
                    f"encoding settings: {name}={value!r}, expected at least {least}, "
                    "a whole number"
                )
        if not isinstance(self.test_fraction, numbers.Real):
            raise InputError(
                f"encoding settings: test_fraction={self.test_fraction!r}, expected a "
                "number"
            )
        if self.penalties is not None and not _are_positive(self.penalties):
            raise InputError(
                f"encoding settings: penalties={self.penalties!r}, expected a list of "
                "positive finite numbers"
            )

    def _check_combination(self) -> None:
        if self.regression == "sparse_positive" and self.basis in ("pca", "srp"):
            raise InputError(
                "encoding settings: regression='sparse_positive' needs features whose "
                f"sign means something; basis={self.basis!r} mixes them, use "
                "'spatial_mean' or 'none'"
            )
        if self.basis == "factorised" and self.regression != "ridge":
            raise InputError(
                "encoding settings: basis='factorised' is fitted by ridge, found "
                f"regression={self.regression!r}"
            )
        if self.basis_images == "all" and self.basis != "pca":
            raise InputError(
                f"encoding settings: basis_images='all', but basis={self.basis!r} "
                "learns nothing from images; it is for 'pca'"
            )
        kfold_only = self.regression != "ridge" and self.selection == "gcv"
        loo_only = self.basis == "factorised" and self.selection != "loo"
        if kfold_only or loo_only:
            raise InputError(
                f"encoding settings: selection={self.selection!r} is for ridge on "
                f"another basis; basis={self.basis!r} with regression="
                f"{self.regression!r} has its own way, leave it out"
            )
        if self.basis not in ("pca", "srp") and self.components is not None:
            raise InputError(
                f"encoding settings: components={self.components}, but "
                f"basis={self.basis!r} keeps all; use 'pca' or 'srp' to limit them"
            )


def settings_from(given: Mapping[str, Any]) -> EncodingSettings:
    """Settings by name, as keyword arguments or a config section give them.

    Raises:
      InputError: an unknown name, or what `EncodingSettings` refuses.

    Example:
      >>> settings_from({"basis": "srp"}).selection
      'loo'
    """
    names = [field.name for field in dataclasses.fields(EncodingSettings)]
    for name in given:
        if name not in names:
            raise unknown(name, names, "encoding setting")
    return EncodingSettings(**given)


def _are_positive(values: Any) -> bool:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        return False
    return bool(
        array.ndim == 1 and array.size and (np.isfinite(array) & (array > 0)).all()
    )
