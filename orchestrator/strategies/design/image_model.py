"""Bayesian optimisation of structures by a model of their images, in whatever space they are drawn.

A process over latent vectors has to learn that moved structures are the same, and over a thousand numbers of noise it
learns nothing. Over the power spectrum of the decoded image it learns from a few dozen. Gradients of its acquisition
function would have to pass through two phases, so candidates are compared instead: random ones and ones near the best
measured, then twice ones near the best of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least, single
from matloop.orchestrator.protocols import Array, Space, Surrogate
from matloop.orchestrator.strategies.design.admissible import Admissible
from matloop.orchestrator.strategies.design.features import Decoded, PowerSpectrum
from matloop.orchestrator.strategies.modelled.acquisitions import Utility, acquisition
from matloop.orchestrator.strategies.modelled.candidates import evaluate
from matloop.orchestrator.strategies.modelled.modelled import Batch, ModelBased
from matloop.orchestrator.strategies.tried import Reserved, key
from matloop.orchestrator.trial import Objective, Proposal, Trial, Unanswered
from matloop.surrogates.gaussian_process.isotropic import Isotropic

if TYPE_CHECKING:
    from botorch.models.model import Model

LEADERS = 4
"""Places from which candidates are drawn: the best measured, then the best candidates."""

ON_A_SPHERE = ((0.3, 0.6, 1.0), (0.3, 0.15))
"""Angles from the best measured, and from the best candidates in each round."""

IN_A_BOX = ((0.1, 0.3), (0.15, 0.05))
"""The same as steps in half widths."""


class ImageModel(ModelBased):
    """Random structures first, then those from which a Gaussian process over their images expects most.

    Attributes:
        view: what the model sees of a structure.
    """

    name = "image_model"
    view: type[Decoded] = Decoded

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        surrogate: Surrogate | None = None,
        data: tuple[Trial, ...] = (),
        initial: int = 16,
        acquisition: Literal["log_ei", "ucb", "thompson"] = "log_ei",
        beta: float = 4.0,
        candidates: int = 128,
        highest_frequency: int = 3,
        symmetric: bool = True,
        like_data: float | None = 0.95,
        smallest_feature: int = 0,
        seed: int = 0,
    ) -> None:
        """Set up the strategy.

        Args:
            space: Vectorised and Rendering, as `latent` is.
            objectives: one, without limits.
            surrogate: of the features; by default `Isotropic`.
            data: trials of earlier studies, which count towards `initial`.
            initial: answered trials before the model is asked, >= 2; until then structures are random.
            acquisition: log_ei improves on the best value; ucb is optimistic by sqrt(beta) standard deviations;
                thompson maximises one function drawn from the model.
            beta: see ucb; > 0.
            candidates: random ones of an ask, >= 1; others are as many again.
            highest_frequency: see `PowerSpectrum`.
            symmetric: see `PowerSpectrum`.
            like_data: see `GradientAscent`.
            smallest_feature: see `GradientAscent`.
            seed: of the fits and of the structures that stand for the data.
        """
        at_least(1, self.name, candidates=candidates, highest_frequency=highest_frequency)
        if acquisition not in ("log_ei", "ucb", "thompson"):
            raise ConfigError(
                f"{self.name}: expected acquisition log_ei, ucb or thompson, got {acquisition!r}", at="acquisition"
            )
        if not beta > 0:
            raise ConfigError(f"{self.name}: expected beta > 0, got {beta}", at="beta")
        single(self.name, objectives)
        self.acquisition, self.beta, self.candidates = acquisition, beta, candidates
        self._admissible = Admissible(
            space, self.name, like_data=like_data, smallest_feature=smallest_feature, seed=seed
        )
        self._structures = self._admissible.structures
        features = PowerSpectrum(self._structures.sides, highest=highest_frequency, symmetric=symmetric)
        self._decoded = self.view(self._structures, features)
        super().__init__(
            space=self._decoded,
            objectives=objectives,
            surrogate=surrogate or Isotropic(),
            initial=initial,
            data=data,
            refit_every=1,
            explain=False,
            seed=seed,
        )

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n points; see `Strategy.ask`."""
        if self._ready():
            return super().ask(n, pending, rng)
        drawn = self._admissible.fresh(n, pending, rng)
        return [self._admissible.proposal(z, "a random structure", {"origin": self.name}) for z in drawn]

    def _propose(
        self, n: int, model: Model, pending: Sequence[Unanswered], reserved: Reserved, rng: np.random.Generator
    ) -> Batch:
        x, y = self._encode(t.point for t in self._answered), self._settled(model)
        utility = Utility.of(self._outcomes().units)
        chosen = self._encode([t.point for t in pending])
        proposals: list[Proposal] = []
        for _ in range(n):
            function = acquisition(self.acquisition, model, utility, x, y, chosen, self.beta)
            z = self._search(function, y[:, 0].numpy(), reserved, rng)
            point = self._structures.point(z)
            reserved.add(key(point))
            place = self._encode([point])
            chosen = torch.cat([chosen, place])
            prediction = self._predict(model, place)[0]
            reason, notes = self._words(prediction.mean, prediction.std), {"origin": self.name, **self._remarks()}
            proposals.append(self._admissible.proposal(z, reason, notes, prediction=prediction))
        return Batch(proposals)

    def _search(
        self, function: AcquisitionFunction, gains: Array, reserved: Reserved, rng: np.random.Generator
    ) -> Array:
        """(d,) vector with the largest value of those considered."""
        wide, close = ON_A_SPHERE if self._structures.normal else IN_A_BOX
        best = self._structures.vectors([self._answered[i].point for i in np.argsort(-gains)[:LEADERS]])
        each = max(1, self.candidates // (LEADERS * len(wide)))
        z = np.concatenate(
            [self._structures.random(self.candidates, rng)]
            + [self._structures.near(one, each, step, rng) for one in best for step in wide]
        )
        z, values = self._valued(function, z, reserved)
        for step in close:
            leaders = z[np.argsort(-values)[:LEADERS]]
            more = [self._structures.near(one, max(1, self.candidates // 8), step, rng) for one in leaders]
            fresh, found = self._valued(function, np.concatenate(more or [z[:0]]), reserved)
            z, values = np.concatenate([z, fresh]), np.concatenate([values, found])
        return z[int(np.argmax(values))] if len(z) else self._admissible.fresh(1, (), rng)[0]

    def _valued(self, function: AcquisitionFunction, z: Array, reserved: Reserved) -> tuple[Array, Array]:
        """Those of (c, d) vectors that may be proposed, and their values."""
        labels = self._structures.labels(z)
        kept = self._admissible.likeness.holds(labels)
        z, labels = z[kept], labels[kept]
        if not len(z):
            return z, np.empty(0)
        values: Array = evaluate(function, torch.as_tensor(self._decoded.of(z, labels))).numpy()
        for i in np.argsort(-values)[:LEADERS]:  # only these can be chosen
            at = key(self._structures.point(z[i]))
            if at in reserved or at in self._tried:
                values[i] = -np.inf
        return z, values

    def _words(self, mean: Any, std: Any) -> str:
        name = self.objectives[0].name
        best = -self.objectives[0].loss(float(self._gains()[:, 0].max()))
        return f"predicted {mean[name]:.4g} ± {std[name]:.2g} by its image, best so far {best:.4g}"

    def _remarks(self) -> dict[str, Any]:
        """What else is recorded with a proposal."""
        return {}
