"""Gradient ascent from many starts: the driver's derivative by each pixel, pulled back through the generator.

The physics is differentiated at the structure itself, of two phases; the way back to the latent vector leads through
the generator's soft image (a straight-through estimator: Bengio, Léonard & Courville, arXiv:1308.3432, 2013). Several
chains run side by side, one for each free worker, so nobody waits for anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.options import at_least, single
from matloop.orchestrator.protocols import Array, Space, holds
from matloop.orchestrator.protocols.drivers import GRADIENT
from matloop.orchestrator.strategies.design.admissible import Admissible
from matloop.orchestrator.strategies.design.chains import CHAIN, STEP, Chain, Chains, Rule
from matloop.orchestrator.strategies.tried import key
from matloop.orchestrator.trial import Objective, Proposal, Trial, Unanswered

SHORTER = (1.0, 0.5, 0.25)
"""Shares of a step that are tried until one leads to a structure that is like the data."""


class GradientAscent:
    """Measures random structures, then climbs from the best of them.

    Args:
        space: Vectorised and Rendering, as `latent` is.
        objectives: one, without limits.
        artifacts: has the gradients.
        data: trials of earlier studies; they count as starts.
        starts: structures measured without gradient, of which the best ones are climbed from first, >= 0.
        steps: most steps of a climb, >= 1.
        step: length of its first step: an angle where latent numbers are normal, else in half widths of their bounds,
            in root mean square; > 0.
        momentum: see `Rule`.
        patience: see `Rule`; >= 1.
        like_data: share of the data within each limit that structures have to keep (see `Likeness`), in (0, 1); None
            for a search without limits.
        smallest_feature: pixels, see `Likeness`.
        seed: of the structures that stand for the data.

    Raises:
        ConfigError: an option is out of range, or the space has no images.
    """

    name = "gradient_ascent"
    differentiates = True
    slow = True

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        artifacts: ArtifactStore,
        data: tuple[Trial, ...] = (),
        starts: int = 12,
        steps: int = 60,
        step: float = 0.05,
        momentum: float = 0.7,
        patience: int = 3,
        like_data: float | None = 0.95,
        smallest_feature: int = 0,
        seed: int = 0,
    ) -> None:
        at_least(0, self.name, starts=starts)
        at_least(1, self.name, steps=steps, patience=patience)
        if not 0 < step < np.inf:
            raise ConfigError(f"{self.name}: expected step > 0, and finite, got {step}", at="step")
        if not 0 <= momentum < 1:
            raise ConfigError(f"{self.name}: expected momentum in [0, 1), got {momentum}", at="momentum")
        self.objective = single(self.name, objectives)
        self._admissible = Admissible(
            space, self.name, like_data=like_data, smallest_feature=smallest_feature, seed=seed
        )
        self._structures = self._admissible.structures
        self._starts = starts
        rule = Rule(step=step, momentum=momentum, patience=patience, least=step / 8, steps=steps)
        self._chains = Chains(
            self.objective,
            artifacts,
            slope=lambda trial, z, gradient: self._structures.slope(z, gradient),
            vector=lambda trial: self._structures.vectors([trial.point])[0],
            sides=self._structures.sides,
            rule=rule,
        )
        self._measured: dict[str, Trial] = {}  # that a climb may begin at, the best trial of each point
        self._begun: set[int] = set()  # ids of those that one did begin at
        self._failed = 0
        for trial in data:
            if holds(space, trial.point):
                self.tell(replace(trial, extra={}))  # its climbs are not those of this study

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose the next step of every climb that waits for nothing, then starts; see `Strategy.ask`."""
        proposals = [self._step(number, chain) for number, chain in self._next(n, pending)]
        while len(proposals) < n:
            proposals.append(self._begin([*pending, *proposals], rng))
        return proposals

    def tell(self, trial: Trial) -> None:
        """Remember a start, or a step."""
        self._chains.tell(trial)
        if trial.extra.get(STEP) == 0:
            self._begun.update(trial.parents)
        if trial.values is None or self.objective.name not in trial.values:
            self._failed += 1
            return
        at = key(trial.point)
        if at not in self._measured or self._loss(trial) < self._loss(self._measured[at]):
            self._measured[at] = trial

    def _climb(self, pending: Sequence[Unanswered], rng: np.random.Generator) -> Proposal:
        """The first step of a new climb, from the best place that none has been through; else from a random one."""
        left, parents = self._left(pending), tuple[int, ...]()
        if not left:
            z, words = self._admissible.fresh(1, pending, rng)[0], "a random structure"
        else:
            best = min(left, key=lambda t: (self._loss(t), t.id))
            z = self._structures.vectors([best.point])[0]
            parents = (best.id,)
            words = f"trial {best.id} ({self.objective.name} {(best.values or {})[self.objective.name]:.4g})"
            z = z if (inside := self._admissible.restored(z)) is None else inside
        number = self._chains.begun(pending)
        notes = {"origin": self.name, GRADIENT: True, CHAIN: number, STEP: 0}
        reason = f"climb {number} begins at {words}{self._chains.ended()}"
        return self._admissible.proposal(z, reason, notes, parents)

    def _next(self, n: int, pending: Sequence[Unanswered]) -> list[tuple[int, Chain]]:
        found: list[tuple[int, Chain]] = []
        for number, chain in self._chains.running(pending):
            if len(found) == n:
                break
            if chain.following is None:
                chain.following = self._followed(chain)
            if chain.following is not None:
                found.append((number, chain))
        return found

    def _followed(self, chain: Chain) -> Array | None:
        """Where a chain goes next; None, and it is over, if no step leads to a structure that is like the data."""
        assert chain.z is not None and chain.direction is not None
        for share in SHORTER:
            z = self._structures.moved(chain.z, chain.direction, share * chain.length)
            inside = self._admissible.restored(z)
            if inside is not None and not np.array_equal(inside, chain.z):
                return inside
        chain.over = "every step leads out of the data"
        return None

    def _step(self, number: int, chain: Chain) -> Proposal:
        assert chain.following is not None
        step = chain.last + 1
        notes = {"origin": self.name, GRADIENT: True, CHAIN: number, STEP: step}
        so_far = "" if chain.best is None else f", best so far {-self.objective.loss(chain.best[0]):.4g}"
        reason = f"step {step} of climb {number}{so_far}, step length {chain.length:.2g}"
        return self._admissible.proposal(chain.following, reason, notes, (chain.parent,))

    def _begin(self, pending: Sequence[Unanswered], rng: np.random.Generator) -> Proposal:
        """A start, or the first step of a climb."""
        number = self._chains.begun(pending)
        done = len(self._measured) + self._failed + sum(1 for one in pending if CHAIN not in one.extra)
        if number == 0 and done < self._starts:
            reason = f"random structure {done + 1} of {self._starts}, a start"
            return self._admissible.proposal(self._admissible.fresh(1, pending, rng)[0], reason, {"origin": self.name})
        return self._climb(pending, rng)

    def _left(self, pending: Sequence[Unanswered]) -> list[Trial]:
        """Measured places that no climb has begun at or been through."""
        begun = self._begun.union(*(one.parents for one in pending if one.extra.get(STEP) == 0))
        return [t for t in self._measured.values() if CHAIN not in t.extra and t.id not in begun]

    def _loss(self, trial: Trial) -> float:
        return self.objective.loss((trial.values or {})[self.objective.name])
