"""The surrogate that foretells held-out measurements best, among those that suit the size of the data.

Which family is best is a question of the data: a Gaussian process where points are few, networks where there are many
or where the property has cliffs. The answer comes from k-fold cross-validation by logarithmic score, which rewards a
good mean and an honest standard deviation alike (Gneiting & Raftery 2007). It is given anew when the data have grown by
a quarter, and depends on the first so many rows alone, so that a resumed study chooses what it chose before.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from botorch.models.model import Model

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Space, Surrogate
from matloop.orchestrator.randomness import derive, derive_seed
from matloop.surrogates.blend import Blend
from matloop.surrogates.checks import check_data, check_noise
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.milestones import milestone
from matloop.surrogates.networks.dropout import MCDropout
from matloop.surrogates.networks.ensemble import Ensemble
from matloop.surrogates.noise import fit

Candidate = Literal["gp", "blend", "ensemble", "mc_dropout"]

SUITED: Mapping[str, tuple[int, float]] = {
    "gp": (1, 2000),
    "blend": (20, 2000),
    "ensemble": (100, math.inf),
    "mc_dropout": (100, math.inf),
}
"""Fewest and most rows for which each is considered: exact processes cost the rows cubed, networks need some data."""

REMEMBERED = 16
"""Decisions that are kept: each output may have one of its own."""

MOST = 2000
"""Rows on which a decision is made at most."""


class Auto:
    """Chooses a family by held-out log score, and fits it to all the data."""

    accepts_noise = True

    def __init__(
        self,
        *,
        space: Space | None = None,
        candidates: Sequence[Candidate] = ("gp", "blend", "ensemble", "mc_dropout"),
        folds: int = 4,
    ) -> None:
        """Set up the choice.

        Args:
            space: where the points come from; handed on to each family.
            candidates: families to choose from; of those not surely different the one named first wins.
            folds: k of the cross-validation, >= 2.
        """
        families: dict[str, Any] = {"gp": GP, "blend": Blend, "ensemble": Ensemble, "mc_dropout": MCDropout}
        unknown = [name for name in candidates if name not in families]
        if unknown or not candidates:
            raise ConfigError(f"expected candidates among {list(families)}, got {list(candidates)}", at="candidates")
        at_least(2, folds=folds)
        self.folds = folds
        self._families: dict[str, Surrogate] = {name: families[name](space=space) for name in candidates}
        self._decided: dict[bytes, tuple[str, str]] = {}

    def fit(
        self, x: torch.Tensor, y: torch.Tensor, seed: int, *, noise: npt.NDArray[np.float64] | None = None
    ) -> Model:
        """Choose, and fit the chosen family to all rows.

        Args:
            x: (n, d) float64, n >= 1.
            y: (n, m) float64, any unit.
            seed: of the fit; the choice does not depend on it.
            noise: (n, m) float64, standard deviation of each measurement; NaN where unknown. Families that have no use
                for it are fitted without.

        Returns:
            A model of the chosen family with an attribute `choice`, a sentence that says which, why, and on what.

        Raises:
            ValueError: shapes differ or a value is not finite.
        """
        x, y = check_data(x, y)
        spread = check_noise(noise, y).numpy()
        name, text = self._choose(x, y, spread)
        model = fit(self._families[name], x, y, seed, spread)
        model.choice = text  # type: ignore[assignment]
        return model

    def _choose(self, x: torch.Tensor, y: torch.Tensor, spread: npt.NDArray[np.float64]) -> tuple[str, str]:
        """Family, and why; remembered, since it follows from the first rows alone."""
        n = milestone(len(x))
        key = hashlib.sha256(b"".join(a[:n].tobytes() for a in (x.numpy(), y.numpy(), spread))).digest()
        if key not in self._decided:
            while len(self._decided) >= REMEMBERED:
                del self._decided[next(iter(self._decided))]
            self._decided[key] = self._decide(x[:n], y[:n], spread[:n])
        return self._decided[key]

    def _decide(self, x: torch.Tensor, y: torch.Tensor, spread: npt.NDArray[np.float64]) -> tuple[str, str]:
        n = len(x)
        suited = [name for name in self._families if SUITED[name][0] <= n <= SUITED[name][1]]
        if len(suited) < 2 or n < 2 * self.folds:
            name = (suited or list(self._families))[0]
            return name, f"{name}: the only candidate that suits {n} measurements"
        rows = np.arange(n)
        if n > MOST:
            rows = np.sort(derive("auto", n).permutation(n)[:MOST])
        scores = {name: self._held_out(self._families[name], x[rows], y[rows], spread[rows]) for name in suited}
        name = suited[0]
        for other in suited[1:]:
            gain = scores[other] - scores[name]
            if gain.mean() > gain.std(ddof=1) / math.sqrt(len(gain)):
                name = other
        listed = ", ".join(f"{each} {scores[each].mean():.2f}" for each in suited)
        return name, f"{name}: chosen on {len(rows)} measurements by held-out log score ({listed}; larger is better)"

    def _held_out(
        self, surrogate: Surrogate, x: torch.Tensor, y: torch.Tensor, spread: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """(n,) log density of each row under the model of the other folds, in units of the spread of y."""
        folds = derive("auto folds", len(x)).permutation(len(x)) % self.folds
        unit = y.std(dim=0, correction=0)
        unit = torch.where(unit > 0, unit, torch.ones_like(unit))
        found = np.zeros(len(x))
        for i in range(self.folds):
            out = folds == i
            model = fit(surrogate, x[~out], y[~out], derive_seed("auto", i, len(x)), spread[~out])
            with torch.no_grad():
                posterior: Any = model.posterior(x[out], observation_noise=True)
                mean, variance = posterior.mean, posterior.variance.clamp_min(1e-18)
            density = -0.5 * ((y[out] - mean) ** 2 / variance + (2 * math.pi * variance / unit**2).log())
            found[out] = density.sum(dim=1).numpy()
        return found
