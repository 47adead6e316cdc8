"""Trains what a search is held against: every reference by several seeds, then the best for as long as the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from matloop.orchestrator.errors import ConfigError, SpaceExhausted
from matloop.orchestrator.ledger.pending import key
from matloop.orchestrator.trial import Objective, Point, Proposal, Trial, Unanswered, seconds

MOST_DRAWS = 200
"""Of settings: more would say no more of a reference that is trained in a second."""


class Listed(Protocol):
    """A space that says what there is to compare with; see `matloop.drivers.training.references.space`."""

    names: tuple[str, ...]
    budget: Mapping[str, Any] | None

    def usual(self) -> Sequence[Point]: ...
    def drawn(self, name: str, rng: np.random.Generator) -> Point | None: ...
    def tuned(self, name: str, settings: Mapping[str, Any]) -> Sequence[Point]: ...


class References:
    """Each reference and the winner of a search by several seeds; then the best reference with the search's time.

    The reference with the best mean value is trained with random settings until these trainings have taken as many
    seconds as all of the search's, or `MOST_DRAWS` times; the settings with the best value are trained again by every
    seed, and so is nothing that a draw made look good by luck alone.

    Args:
        space: what there is to train.
        objectives: the first decides.
        seconds: that the search has taken, on all workers together.
        tuned: whether the best reference gets as many.

    Raises:
        ConfigError: another space.
    """

    def __init__(
        self, *, space: Any, objectives: tuple[Objective, ...], seconds: float = 0.0, tuned: bool = True
    ) -> None:
        if not all(hasattr(space, name) for name in ("usual", "drawn", "tuned")):
            raise ConfigError(
                f"expected the space references for the strategy references, got {type(space).__name__}; name the "
                "references under `reference:` of the search"
            )
        self._space: Listed = space
        self._objective, self._seconds, self._tuned = objectives[0], seconds, tuned
        self._usual = {key(point): point for point in space.usual()}
        self._told: dict[str, Trial] = {}

    def tell(self, trial: Trial) -> None:
        """Remember how it went, and how long it took."""
        self._told[key(trial.point)] = trial

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """See `Strategy.ask`."""
        waiting = {key(one.point) for one in pending}
        if found := self._new(list(self._usual.values()), waiting)[:n]:
            return [_proposal(point, "the usual settings, by a seed of its own") for point in found]
        if any(point_key in self._usual for point_key in waiting):
            return []  # which one is the best is not known yet
        best = self._best()
        if not self._tuned or best is None:
            return self._nothing(waiting)
        if draws := self._draws(best, n, waiting, rng):
            return [_proposal(point, f"random settings of the best reference, {best}") for point in draws]
        if any(one.point.get("purpose") == "draw" for one in pending):
            return []
        chosen = self._chosen(best)
        if chosen is None:
            return self._nothing(waiting)
        if found := self._new(self._space.tuned(best, chosen), waiting)[:n]:
            return [_proposal(point, "the best of the settings that were drawn") for point in found]
        return self._nothing(waiting)

    def _new(self, points: Sequence[Point], waiting: set[str]) -> list[Point]:
        return [point for point in points if (k := key(point)) not in self._told and k not in waiting]

    def _nothing(self, waiting: set[str]) -> list[Proposal]:
        if waiting:
            return []
        raise SpaceExhausted("every reference has been trained")

    def _best(self) -> str | None:
        """Name of the reference with the best mean value at its usual settings."""
        means: dict[str, float] = {}
        for name in self._space.names:
            points = [k for k, point in self._usual.items() if point["reference"] == name]
            losses = [loss for k in points if (loss := self._loss(self._told.get(k))) is not None]
            if losses:
                means[name] = float(np.mean(losses))
        return min(means, key=lambda name: means[name]) if means else None

    def _loss(self, trial: Trial | None) -> float | None:
        if trial is None or trial.values is None or self._objective.name not in trial.values:
            return None
        return self._objective.loss(trial.values[self._objective.name])

    def _drawn(self, name: str) -> list[Trial]:
        return [
            t
            for t in self._told.values()
            if t.point["reference"] == name
            and t.point["purpose"] == "draw"
            and t.point.get("budget") == self._space.budget
        ]

    def _draws(self, name: str, n: int, waiting: set[str], rng: np.random.Generator) -> list[Point]:
        """As many random settings as still fit the seconds, those under way taken into account."""
        done = self._drawn(name)
        took = [seconds(t) for t in done]
        usual = [t for k, t in self._told.items() if k in self._usual and t.point["reference"] == name]
        each = took or [seconds(t) for t in usual]
        mean = float(np.mean(each)) if each else 0.0
        left = self._seconds - sum(took)
        under_way = len(waiting)
        found: list[Point] = []
        while len(found) < n and len(done) + under_way + len(found) < MOST_DRAWS:
            if left - (under_way + len(found)) * mean < 0.5 * mean or left <= 0:
                break
            point = self._fresh(name, waiting, found, rng)
            if point is None:
                break
            found.append(point)
        return found

    def _fresh(self, name: str, waiting: set[str], found: Sequence[Point], rng: np.random.Generator) -> Point | None:
        """Settings that were not drawn yet; None if there are hardly any left."""
        taken = {key(point) for point in found} | waiting
        for _ in range(MOST_DRAWS):
            point = self._space.drawn(name, rng)
            if point is None:
                return None
            if (k := key(point)) not in self._told and k not in taken:
                return point
        return None

    def _chosen(self, name: str) -> Mapping[str, Any] | None:
        """The settings whose draw had the best value; None if none had any."""
        measured = [(loss, t.id, t) for t in self._drawn(name) if (loss := self._loss(t)) is not None]
        found: Mapping[str, Any] | None = min(measured)[2].point["settings"] if measured else None
        return found


def _proposal(point: Point, reason: str) -> Proposal:
    return Proposal(point=point, reason=reason, extra={"origin": "reference"})
