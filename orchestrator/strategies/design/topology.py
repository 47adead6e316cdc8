"""Density (topology) optimisation: every pixel by its gradient, smoothed and driven to one of two phases by and by.

It knows no generator and no data, only physics and a smallest size, so what it reaches is a bound that a design by
generator can be held against; it is a local one, which other starts may exceed. Filter, projection and continuation:
Wang, Lazarov & Sigmund, Struct. Multidisc. Optim. 43 (2011) 767.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.options import at_least, single
from matloop.orchestrator.protocols import Array, Space, Vectorised, require
from matloop.orchestrator.protocols.drivers import GRADIENT
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.design.chains import CHAIN, STEP, gradient_from, place
from matloop.orchestrator.trial import Objective, Proposal, Trial, Unanswered

SOFTEST, DOUBLINGS = 2.0, 5
"""Sharpness of the first projection, and how often it doubles."""

MOMENTS = (0.8, 0.95)
"""Decay of the averages of the gradient and of its square (Adam)."""


@dataclass(slots=True)
class Descent:
    """One optimisation, as far as it was told.

    Attributes:
        x: (*sides) variables.
        mean, square: of the gradient.
        count: steps taken in.
        over: why no more can be done; empty while there is.
        told: by step.
    """

    x: Array
    mean: Array
    square: Array
    count: int = 0
    over: str = ""
    parent: int = -1
    told: dict[int, Trial] = field(default_factory=dict)


class TopologyOptimisation:
    """Optimises densities from random starts, each in so many steps, and measures the two-phase structure at the end.

    Steps on the way are films that do not exist; they are recorded at a fidelity below 1, so that only the structures
    at the ends are compared. A budget that ends before the first end leaves nothing to compare: it takes
    `side_by_side` times `steps` + 1 trials.

    Args:
        space: `density`.
        objectives: one, without limits.
        artifacts: has the gradients.
        steps: gradients of one optimisation, >= 1.
        side_by_side: optimisations at a time, >= 1: as many workers have something to do. The next one begins when one
            of them has ended.
        smooth: standard deviation of the Gaussian filter, pixels, > 0: features come out about twice as wide or wider.
        rate: of Adam, in units of the projected variable, > 0.
        seed: of the starts.

    Raises:
        ConfigError: an option is out of range.
    """

    name = "topology_optimisation"
    differentiates = True
    slow = True

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        artifacts: ArtifactStore,
        steps: int = 60,
        side_by_side: int = 1,
        smooth: float = 1.6,
        rate: float = 0.15,
        seed: int = 0,
    ) -> None:
        at_least(1, self.name, steps=steps, side_by_side=side_by_side)
        for name, value in (("smooth", smooth), ("rate", rate)):
            if not 0 < value < np.inf:
                raise ConfigError(f"{self.name}: expected {name} > 0, and finite, got {value}", at=name)
        self.objective = single(self.name, objectives)
        self._space, self._artifacts = space, artifacts
        self._vectors = require(space, Vectorised, self.name)  # type: ignore[type-abstract]
        self._shape = np.shape(space.sample(np.random.default_rng(0)).get("density", 0))
        if len(self._shape) not in (2, 3):
            raise ConfigError(f"{self.name}: expected the space density, got {type(space).__name__}", at="space")
        frequencies = np.meshgrid(*(np.fft.fftfreq(side) for side in self._shape), indexing="ij")
        self._filter = np.exp(-2 * (np.pi * smooth) ** 2 * sum(k**2 for k in frequencies))
        self._steps, self._side_by_side, self._rate, self._seed = steps, side_by_side, rate, seed
        self._descents: dict[int, Descent] = {}

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose the next step of every optimisation that waits for nothing, then new ones; see `Strategy.ask`."""
        busy = {number for number in (place(one)[0] for one in pending) if number is not None}
        found = [self._proposal(number) for number in sorted(self._descents) if number not in busy]
        proposals = [one for one in found if one is not None][:n]
        free = self._side_by_side - len(busy) - len(proposals)
        number = max([*self._descents, *busy], default=-1)
        for fresh in range(number + 1, number + 1 + min(free, n - len(proposals))):
            first = self._step(fresh, self._begun(fresh))
            proposals.append(replace(first, reason=f"{first.reason}{self._ended()}"))
        return proposals

    def tell(self, trial: Trial) -> None:
        """Remember a step."""
        number, step = place(trial)
        if number is None:
            return
        known = self._descents.get(number)
        if known is None or (known.told and step < max(known.told)):  # told out of order: work it out again
            self._descents[number] = self._begun(number, {} if known is None else known.told)
        self._descents[number].told[step] = trial

    def _ended(self) -> str:
        """Which optimisation was the last to end, and why; empty if none has."""
        over = [(descent.parent, number, descent.over) for number, descent in self._descents.items() if descent.over]
        return "" if not over else "; optimisation {1} has ended: {2}".format(*max(over))

    def _begun(self, number: int, told: dict[int, Trial] | None = None) -> Descent:
        """An optimisation before its first step."""
        point = self._space.sample(derive(self._seed, "start", number))
        noise = derive(self._seed, "texture", number).standard_normal(self._shape)
        x = np.asarray(point["density"], dtype=np.float64) - 0.5 + 0.1 * noise  # so that nothing is symmetric
        return Descent(x, np.zeros(self._shape), np.zeros(self._shape), told=told or {})

    def _proposal(self, number: int) -> Proposal | None:
        descent = self._descents[number]
        for step in sorted(descent.told):
            if step >= descent.count and not descent.over:
                self._take(descent, step, descent.told[step])
        return None if descent.over else self._step(number, descent)

    def _step(self, number: int, descent: Descent) -> Proposal:
        count = descent.count
        notes = {"origin": self.name, CHAIN: number, STEP: count}
        parents = () if descent.parent < 0 else (descent.parent,)
        if count == self._steps:
            point = self._vectors.decode((self._filtered(descent.x) > 0).ravel().astype(float))
            return Proposal(point=point, reason=f"both phases of optimisation {number}", parents=parents, extra=notes)
        density = self._projected(descent.x, count)
        return Proposal(
            point=self._vectors.decode(density.ravel()),
            reason=f"step {count} of {self._steps} of optimisation {number}, sharpness {self._sharpness(count):.3g}",
            parents=parents,
            fidelity=(count + 1) / (self._steps + 1),
            extra={**notes, GRADIENT: True},
        )

    def _take(self, descent: Descent, step: int, trial: Trial) -> None:
        """One step of Adam along the gradient of the trial."""
        descent.parent, descent.count = trial.id, step + 1
        if step == self._steps:
            descent.over = "it is done"
            return
        by_pixel = gradient_from(trial, self.objective, self._artifacts, self._shape)
        if trial.values is None or by_pixel is None:
            descent.over = "its last step failed or left no gradient that can be used"
            return
        density, sharpness = self._projected(descent.x, step), self._sharpness(step)
        slope = -self.objective.loss(1.0) * self._filtered(by_pixel * 2 * sharpness * density * (1 - density))
        first, second = MOMENTS
        descent.mean = first * descent.mean + (1 - first) * slope
        descent.square = second * descent.square + (1 - second) * slope**2
        mean = descent.mean / (1 - first ** (step + 1))
        size = np.sqrt(descent.square / (1 - second ** (step + 1)))
        descent.x = descent.x + self._rate * mean / np.maximum(size, 1e-12)

    def _sharpness(self, step: int) -> float:
        return SOFTEST * 2 ** (DOUBLINGS * step / max(1, self._steps - 1))

    def _filtered(self, x: Array) -> Array:
        found: Array = np.fft.ifftn(np.fft.fftn(x) * self._filter).real
        return found

    def _projected(self, x: Array, step: int) -> Array:
        """Density of a step."""
        found: Array = 0.5 + 0.5 * np.tanh(self._sharpness(step) * self._filtered(x))
        return found
