"""Chains of gradient steps, each a fold over the trials that were told, so that a replayed one goes on alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.protocols import Array, gradient_of
from matloop.orchestrator.trial import Objective, Trial, Unanswered

CHAIN, STEP = "chain", "step"
"""Keys of `Proposal.extra`: which chain, and which of its steps, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a chain steps.

    Attributes:
        step: length of its first step, see `Structures.moved`.
        momentum: share of the last direction that is added to the next, in [0, 1).
        patience: steps in a row without a better value after which it goes back to its best place, with half the
            step length.
        least: step length below which it ends.
        steps: most steps.
    """

    step: float
    momentum: float
    patience: int
    least: float
    steps: int


@dataclass(slots=True)
class Chain:
    """One ascent.

    Attributes:
        z: (d,) place that was measured last.
        gain: there; larger is better.
        length: of the next step.
        count: of steps told.
        over: whether it has ended, and why; empty while it goes on.
        following: (d,) place of the next step, once it was worked out.
    """

    z: Array | None = None
    gain: float = -np.inf
    length: float = 0.0
    count: int = 0
    over: str = ""
    best: tuple[float, Array, Array] | None = None
    direction: Array | None = None
    since: int = 0
    following: Array | None = None
    parent: int = -1
    last: int = -1
    told: dict[int, Trial] = field(default_factory=dict)

    def turn(self, z: Array, gain: float, slope: Array, rule: Rule) -> None:
        """Take in a measured place and the slope of its gain, (d,); decide from where to go on, and which way."""
        self.length = self.length or rule.step
        self.z, self.gain, self.following = z, gain, None
        self.count += 1
        if self.best is None or gain > self.best[0]:
            self.best, self.since = (gain, z, slope), 0
        else:
            self.since += 1
        if self.since >= rule.patience:
            _, self.z, slope = self.best
            self.direction, self.since, self.length = None, 0, self.length / 2
        size = np.sqrt(np.mean(slope**2))
        if not (np.isfinite(size) and size > 0):
            self.over = "the gradient vanishes"
            return
        self.direction = slope / size + (0.0 if self.direction is None else rule.momentum * self.direction)
        if self.length < rule.least:
            self.over = "steps have become too short"
        elif self.count >= rule.steps:
            self.over = f"{rule.steps} steps"


class Chains:
    """All chains of a strategy.

    Args:
        objective: by which they climb.
        artifacts: where drivers leave gradients.
        slope: of a trial's point and the gradient by pixel, (d,).
        vector: of a trial, (d,).
        sides: of a structure, pixels.
        rule: see it.
    """

    def __init__(
        self,
        objective: Objective,
        artifacts: ArtifactStore,
        *,
        slope: Callable[[Trial, Array, Array], Array],
        vector: Callable[[Trial], Array],
        sides: tuple[int, ...],
        rule: Rule,
    ) -> None:
        self._objective, self._artifacts, self._slope, self._vector = objective, artifacts, slope, vector
        self._sides, self.rule = sides, rule
        self._chains: dict[int, Chain] = {}

    def tell(self, trial: Trial) -> bool:
        """Take a finished trial, if it is a step of a chain; whether it is."""
        number, step = place(trial)
        if number is None:
            return False
        chain = self._chains.setdefault(number, Chain())
        if chain.told and step < max(chain.told):  # told out of order: work it out again
            chain = self._chains[number] = Chain(told=chain.told)
        chain.told[step] = trial
        return True

    def running(self, pending: Sequence[Unanswered]) -> list[tuple[int, Chain]]:
        """Number and state of those that go on and wait for nothing, the best first."""
        busy = {place(one)[0] for one in pending}
        found = [(number, self._folded(chain)) for number, chain in self._chains.items() if number not in busy]
        return sorted(((k, c) for k, c in found if not c.over), key=lambda pair: (-pair[1].gain, pair[0]))

    def begun(self, pending: Sequence[Unanswered]) -> int:
        """Number of chains that have a step told or pending; the next one gets this number."""
        numbers = [number for number in (place(one)[0] for one in pending) if number is not None]
        return max([*self._chains, *numbers], default=-1) + 1

    def ended(self) -> str:
        """Which chain was the last to end, and why; empty if none has."""
        over = [(chain.parent, number, chain.over) for number, chain in self._chains.items() if chain.over]
        return "" if not over else "; climb {1} has ended: {2}".format(*max(over))

    def _folded(self, chain: Chain) -> Chain:
        """Up to the last step told."""
        for step in sorted(chain.told):
            if step <= chain.last or chain.over:
                continue
            chain.last = step
            self._take(chain, chain.told[step])
        return chain

    def _take(self, chain: Chain, trial: Trial) -> None:
        chain.parent = trial.id
        name = self._objective.name
        if trial.values is None or name not in trial.values:
            chain.over = "its last step failed"
            return
        gradient = gradient_from(trial, self._objective, self._artifacts, self._sides)
        if gradient is None:
            chain.over = "its last step left no gradient that can be used"
            return
        z = self._vector(trial)
        sign = -self._objective.loss(1.0)
        gain = -self._objective.loss(trial.values[name])
        chain.turn(z, gain, self._slope(trial, z, sign * gradient), self.rule)


def gradient_from(trial: Trial, objective: Objective, artifacts: ArtifactStore, sides: tuple[int, ...]) -> Array | None:
    """(*sides) float64: the objective's derivative by each pixel that a trial has left.

    Returns:
        None if there is none, its file is gone or damaged, it is of another size, or not finite.
    """
    stored = trial.artifacts.get(gradient_of(objective.name))
    if stored is None:
        return None
    try:
        found: Array = np.asarray(artifacts.load(stored), dtype=np.float64)
    except (OSError, ValueError):
        return None
    return found if found.shape == sides and np.isfinite(found).all() else None


def place(one: Unanswered) -> tuple[int | None, int]:
    """Chain and step of a trial or proposal; None of any other."""
    notes: Mapping[str, Any] = one.extra
    number, step = notes.get(CHAIN), notes.get(STEP)
    return (number, step) if isinstance(number, int) and isinstance(step, int) else (None, -1)
