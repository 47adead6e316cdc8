"""What the spaces of all families do alike: sample, check, mutate, cross, repair and encode genomes, within limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Array
from matloop.orchestrator.trial import Point
from matloop.search_spaces.networks.grammar.encoding import Encoding
from matloop.search_spaces.networks.grammar.gene import Genome, duplicate
from matloop.search_spaces.networks.grammar.repair import Repair
from matloop.search_spaces.networks.grammar.rules import Rules
from matloop.search_spaces.networks.grammar.validation import validate
from matloop.search_spaces.networks.grammar.variation import Variation
from matloop.search_spaces.networks.grammar.vocabulary import Given
from matloop.search_spaces.networks.program.costs import Budget

_ATTEMPTS = 20


class NetworkSpace:
    """Genomes of one grammar within a budget; base of the kinds of space that a campaign file names.

    Args:
        rules: the family's, with its grammar.
        fixed: what every genome of the space holds unchanged.
        budget: limits.
        given: genes that the campaign gives, already part of the grammar.
        morphisms: share of mutations, in [0, 1], that can keep a network's function.
        recipe: genes of a network that a search does well to try first; the rest are the usual ones.

    Raises:
        ConfigError: a limit that no network meets, a choice that no network can have, or a share out of range.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        fixed: Mapping[str, Any],
        budget: Budget,
        given: Given | None = None,
        morphisms: float = 0.0,
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        if not 0 <= morphisms <= 1:
            text = f"expected morphisms in [0, 1], the share of mutations that they are, got {morphisms}"
            raise ConfigError(text, at="morphisms")
        self.rules, self.grammar, self.fixed = rules, rules.grammar, dict(fixed)
        self.budget, self.morphisms = budget, morphisms
        self._repair = Repair(rules, budget)
        self._repair.require_use(self.fixed, given or {})
        self._repair.require_room(self.fixed, f"input {fixed['input']} and {fixed['outputs']} outputs")
        self._recipe = recipe
        self._variation, self._encoding = Variation(self.grammar), Encoding(rules)

    def sample(self, rng: np.random.Generator) -> Genome:
        """A random network."""
        return self.repair(self.grammar.draw(rng))

    @property
    def recipes(self) -> list[Genome]:
        """Networks that are worth measuring first: what an engineer would train."""
        return [] if self._recipe is None else [self.repair(self.grammar.nearest(self._recipe))]

    def check(self, point: Point) -> None:
        """Raise InvalidPoint, naming the gene, unless the genome builds, runs and is within the limits."""
        validate(point, self._repair, self.fixed)

    def mutate(self, point: Point, rng: np.random.Generator) -> Genome:
        """A copy with one change, two or three now and then.

        A share of `morphisms` of the copies can be the same function as the original; see `inheritance`. Where nothing
        at all can be changed, the copy is the original.
        """
        if self.morphisms and rng.random() < self.morphisms and (same := self._morph(point, rng)):
            return same
        changes = min(int(rng.geometric(0.7)), 3)
        for _ in range(_ATTEMPTS):
            child = duplicate(point)
            for _ in range(changes):
                self._variation.vary(child, rng)
            if self._repair.mend(child) != point:
                return child
        candidates = (self._repair.mend(child) for child in self._variation.anything(duplicate(point), rng))
        return next((child for child in candidates if child != point), duplicate(point))

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> Genome:
        """A child of both, see `Variation.cross`."""
        return self.repair(self._variation.cross(a, b, rng))

    def repair(self, genome: Mapping[str, Any]) -> Genome:
        """The nearest valid genome."""
        return self._repair.mend(duplicate({**self.fixed, **genome}))

    @property
    def dimension(self) -> int:
        """Length of an encoded genome."""
        return len(self.columns)

    @property
    def columns(self) -> list[str]:
        """Meaning of each column of `encode`."""
        return self._encoding.columns

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64; see `columns`."""
        rows = [self._encoding.encode(dict(point)) for point in points]
        return np.array(rows, dtype=np.float64).reshape(len(rows), self.dimension)

    def _morph(self, point: Point, rng: np.random.Generator) -> Genome | None:
        for _ in range(_ATTEMPTS):
            child = self.rules.morph(dict(point), rng)
            if child is None:
                return None
            if child != point and self.repair(child) == child and self.rules.same(dict(point), child):
                return child
        return None


def check_shape(shape: Sequence[Any], axes: tuple[int, ...], words: str) -> None:
    """Raise ConfigError unless a shape is of positive integers, as many as one of `axes`."""
    if len(shape) not in axes or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in shape):
        raise ConfigError(f"expected input: {words}, each at least 1, got {list(shape)}", at="input")
