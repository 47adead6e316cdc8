"""Experiments that are done together and share something: one furnace temperature, at most two gases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matloop.orchestrator.errors import ImpossibleWish
from matloop.orchestrator.protocols import Allowed, Composed, Space
from matloop.orchestrator.trial import Point, Proposal

TRIES = 3
"""Values that are tried for what is shared, those of the best experiments without limits first."""

LOOK = 3
"""Experiments of a batch by which the values are compared."""

Ask = Callable[[int, Sequence[Proposal], Mapping[str, Allowed]], list[Proposal]]
"""How many; those chosen before; what is allowed besides the wish. Raises ImpossibleWish where nothing is left."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How many different values something may have in a batch.

    Attributes:
        name: for people.
        keys: inputs that make up the value: one, or the components of a mixture.
        most: >= 1.
    """

    name: str
    keys: tuple[str, ...]
    most: int

    def value(self, point: Point) -> tuple[Any, ...] | None:
        """What a point has; None where it is not part of it."""
        return tuple(point[key] for key in self.keys) if all(key in point for key in self.keys) else None

    def used(self, points: Sequence[Point]) -> list[tuple[Any, ...]]:
        """Different values so far, in order."""
        return list(dict.fromkeys(value for point in points if (value := self.value(point)) is not None))

    def allowed(self, points: Sequence[Point]) -> dict[str, Allowed]:
        """What further experiments may have: anything while there is room for another value."""
        used = self.used(points)
        if len(used) < self.most:
            return {}
        return {key: tuple(dict.fromkeys(value[i] for value in used)) for i, key in enumerate(self.keys)}


def limits(space: Space, names: Sequence[str], batch: Mapping[str, int]) -> list[Limit]:
    """Limits on inputs and mixtures of a space.

    Raises:
        ImpossibleWish: there is none of that name, or several different mixtures are asked for.
    """
    mixtures = {m.name: tuple(m.components) for m in space.product.mixtures} if isinstance(space, Composed) else {}
    found = []
    for name, most in batch.items():
        keys = (name,) if name in names else mixtures.get(name)
        if keys is None:
            known = ", ".join([*names, *mixtures])
            raise ImpossibleWish(
                f"there is nothing called {name!r} that a batch could share; known are {known}", at=name
            )
        if len(keys) > 1 and most > 1:
            raise ImpossibleWish(
                f"expected the same {name} in the whole batch, or a limit on one of its components, got at most {most}",
                at=name,
            )
        found.append(Limit(name, keys, most))
    return found


def together(ask: Ask, n: int, wanted: Sequence[Limit]) -> list[Proposal]:
    """At most n experiments within the limits.

    The values of the best experiments without limits are tried for what is shared, each with the beginning of a batch,
    one experiment after the other; what promises most in all is gone on with, or the first where nothing is promised.

    Raises:
        ImpossibleWish: nothing is left.
    """
    free = ask(TRIES if n > 1 else 1, (), {})
    if n <= len(free) and all(len(limit.used([p.point for p in free[:n]])) <= limit.most for limit in wanted):
        return free[:n]
    batches = []
    for start in _starts(free, wanted):
        try:
            batches.append(_grown(ask, min(n, LOOK), wanted, ask(1, (), start)))
        except ImpossibleWish:  # not with this value
            continue
    best = max(batches, key=lambda batch: (len(batch), sum(p.extra.get("worth", 0.0) for p in batch)), default=free[:1])
    return _grown(ask, n, wanted, best)


def _starts(free: Sequence[Proposal], wanted: Sequence[Limit]) -> list[dict[str, Allowed]]:
    """Values of what is limited in the best experiments, different ones."""
    values = dict.fromkeys(tuple(limit.value(p.point) for limit in wanted) for p in free)
    return [
        {
            key: (one,)
            for limit, value in zip(wanted, each, strict=True)
            if value is not None
            for key, one in zip(limit.keys, value, strict=True)
        }
        for each in list(values)[:TRIES]
    ]


def _grown(ask: Ask, n: int, wanted: Sequence[Limit], chosen: list[Proposal]) -> list[Proposal]:
    """A batch of n, or as many as fit, that begins with those chosen."""
    while len(chosen) < n:
        points = [p.point for p in chosen]
        allowed = {key: values for limit in wanted for key, values in limit.allowed(points).items()}
        full = all(key in allowed for limit in wanted for key in limit.keys)  # nothing more is to be decided
        try:
            more = ask(n - len(chosen) if full else 1, chosen, allowed)
        except ImpossibleWish:  # no more fit
            return chosen
        chosen = [*chosen, *more]
    return chosen
