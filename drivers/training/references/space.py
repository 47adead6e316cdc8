"""What a study of references may train: each reference by its settings, and the network that a search has found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from matloop.drivers.training.references.estimators import Fittable
from matloop.drivers.training.references.reference import Settings
from matloop.drivers.training.references.registry import reference
from matloop.drivers.training.references.trained import Trained
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.options import at_least
from matloop.orchestrator.references import WINNER, kind_and_options
from matloop.orchestrator.references import name as name_of
from matloop.orchestrator.trial import Point
from matloop.surrogates.networks.budget import Budget

PURPOSES = ("usual", "draw", "tuned")


class References:
    """Points are {reference, settings, purpose, repeat, budget}; the winner's have its `network` for the settings.

    `purpose` says why a point is trained: "usual" settings, a "draw" of random ones, or the best of these, "tuned".
    `repeat` counts trainings that differ by nothing but the seed. `budget` is None where it is that of the search.

    Args:
        kinds: references by name or import path, or {kind, **options}; with none, the winner alone is trained.
        network: the genome that the search has found; None if it has found none.
        seeds: trainings of each, by as many seeds.
        budget: of each training, as the option of the driver; None for that of the search's trials.

    Attributes:
        references: by name, in order.
        names: of them.

    Raises:
        ConfigError: no such reference or the same one twice, or the budget is none.
    """

    def __init__(
        self,
        *,
        kinds: list[str | dict[str, Any]],
        network: Mapping[str, Any] | None,
        seeds: int = 3,
        budget: dict[str, Any] | None = None,
    ) -> None:
        at_least(1, seeds=seeds)
        if budget is not None:
            Budget.of(budget)
        self.network, self.seeds, self.budget = network, seeds, budget
        self.references = dict(_named(kinds))
        self.names = tuple(self.references)

    def usual(self) -> Sequence[Point]:
        """The winner and each reference at its usual settings, every seed of all before the next seed of any."""
        found: list[Point] = []
        for repeat in range(self.seeds):
            found += [self._point(name, made.usual(), "usual", repeat) for name, made in self.references.items()]
            if self.network is not None:
                found.append(self._winner(repeat))
        return found

    def drawn(self, name: str, rng: np.random.Generator) -> Point | None:
        """A reference at random settings; None if it has none to set."""
        settings = self.references[name].drawn(rng)
        return None if settings is None else self._point(name, settings, "draw", 0)

    def tuned(self, name: str, settings: Settings) -> Sequence[Point]:
        """A reference at the best settings that were drawn, for each seed."""
        return [self._point(name, settings, "tuned", repeat) for repeat in range(self.seeds)]

    def sample(self, rng: np.random.Generator) -> Point:
        """See `Space.sample`."""
        if not self.names:
            return self._winner(0)
        name = self.names[int(rng.integers(len(self.names)))]
        return self.drawn(name, rng) or self._point(name, self.references[name].usual(), "usual", 0)

    def check(self, point: Point) -> None:
        """See `Space.check`.

        Raises:
            InvalidPoint: naming the key that is wrong.
        """
        who = point.get("reference") if isinstance(point, Mapping) else None
        what = "network" if who == WINNER else "settings"
        expected = ["reference", what, "purpose", "repeat", "budget"]
        if not isinstance(point, Mapping) or set(point) != set(expected):
            raise InvalidPoint(
                f"expected the keys {expected}, got {list(point) if isinstance(point, Mapping) else point}"
            )
        if not isinstance(who, str) or who not in (*self.names, WINNER):
            raise InvalidPoint(f"expected reference: one of {[*self.names, WINNER]}, got {who!r}", at="reference")
        if point["purpose"] not in PURPOSES:
            raise InvalidPoint(f"expected purpose: one of {list(PURPOSES)}, got {point['purpose']!r}", at="purpose")
        if type(point["repeat"]) is not int or point["repeat"] < 0:
            raise InvalidPoint(f"expected repeat: a whole number from 0, got {point['repeat']!r}", at="repeat")
        if point["budget"] != self.budget:
            raise InvalidPoint(f"expected budget: {self.budget}, got {point['budget']!r}", at="budget")
        parts = set(point[what]) if isinstance(point[what], Mapping) else set()
        if what == "settings" and parts != set(self.references[who].usual()):
            known = list(self.references[who].usual())
            raise InvalidPoint(f"expected settings: a mapping of {known}, got {point['settings']!r}", at="settings")

    def _winner(self, repeat: int) -> Point:
        return self._point(WINNER, self.network, "usual", repeat, what="network")

    def _point(self, name: str, given: Any, purpose: str, repeat: int, *, what: str = "settings") -> Point:
        plain = json.loads(json.dumps(given))  # as the ledger gives it back
        return {"reference": name, what: plain, "purpose": purpose, "repeat": repeat, "budget": self.budget}


def _named(kinds: Sequence[str | Mapping[str, Any]]) -> list[tuple[str, Trained | Fittable]]:
    found: list[tuple[str, Trained | Fittable]] = []
    for given in kinds:
        kind, options = kind_and_options(given)
        name = name_of(given)
        if name in dict(found):
            raise ConfigError(f"expected each reference once, got {name} twice; remove one", at="kinds")
        found.append((name, reference(kind, options)))
    return found
