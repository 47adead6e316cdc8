"""What the spaces of convolutional and of dense networks share: limits, checks, variation and encoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Array
from matloop.orchestrator.trial import Point
from matloop.search_spaces.networks.correspondence import compare
from matloop.search_spaces.networks.encoding import Encoding
from matloop.search_spaces.networks.genome import (
    RANGES,
    TRAINING,
    Genome,
    Words,
    draw,
    draw_layer,
    draw_training,
    duplicate,
)
from matloop.search_spaces.networks.morphism import morph
from matloop.search_spaces.networks.repair import Budget, repair
from matloop.search_spaces.networks.validation import validate
from matloop.search_spaces.networks.variation import change_rate, vary

_ATTEMPTS = 20


class NetworkSpace:
    """Genomes of one set of words, input shape and number of outputs, within a budget; all but `sample`."""

    def __init__(
        self, words: Words, shape: Sequence[int], outputs: int, budget: Budget, morphisms: float = 0.0
    ) -> None:
        smallest = (shape[0] + 1) * outputs
        for name, value in (("outputs", outputs), ("max_layers", budget.layers)):
            if value < 1:
                raise ConfigError(f"expected {name} to be at least 1, got {value}")
        if min(budget.parameters, budget.multiply_adds) < smallest:
            raise ConfigError(
                f"expected max_parameters and max_multiply_adds of at least {smallest} for input {list(shape)} and "
                f"{outputs} outputs, got {budget.parameters} and {budget.multiply_adds}; raise them"
            )
        if not 0 <= morphisms <= 1:
            raise ConfigError(f"expected morphisms in [0, 1], the share of mutations that they are, got {morphisms}")
        self.morphisms = morphisms
        self.words, self.input, self.outputs, self.budget = words, tuple(shape), outputs, budget
        self._encoding = Encoding(words, budget.layers)

    def check(self, point: Point) -> None:
        """Raise InvalidPoint, naming the gene, unless the genome builds, runs and is within the limits."""
        validate(point, self.words, shape=self.input, outputs=self.outputs, budget=self.budget)

    def mutate(self, point: Point, rng: np.random.Generator) -> Genome:
        """A copy with one change, two or three now and then: a layer, a skip or a setting.

        A share of `morphisms` of the copies can be the same function as the original; see `inheritance`.
        """
        if self.morphisms and rng.random() < self.morphisms and (same := self._morph(point, rng)):
            return same
        changes = min(int(rng.geometric(0.7)), 3)
        for _ in range(_ATTEMPTS):
            child = duplicate(point)
            for _ in range(changes):
                vary(child, self.words, rng)
            child = self.repair(child)
            if child != point:
                return child
        change_rate(child, self.words, rng)
        return child

    def _morph(self, point: Point, rng: np.random.Generator) -> Genome | None:
        for _ in range(_ATTEMPTS):
            child = morph(point, self.words, rng)
            if child != point and self.repair(child) == child and compare(point, child).exact:
                return child
        return None

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> Genome:
        """A child with the first layers of one, the last layers of the other, and settings from either."""
        head = int(rng.integers(0, len(a["layers"]) + 1))
        tail = int(rng.integers(0, len(b["layers"]) + 1))
        child = {gene: (a, b)[rng.integers(2)][gene] for gene in self.words.settings}
        training = {gene: (a, b)[rng.integers(2)]["training"][gene] for gene in (*TRAINING, *RANGES)}
        layers = [*a["layers"][:head], *b["layers"][tail:]] or [*a["layers"]]
        return self.repair(child | {"layers": layers, "training": training})

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
        rows = [self._encoding.encode(point) for point in points]
        return np.array(rows, dtype=np.float64).reshape(len(rows), self.dimension)

    def layer(self, kind: str, rng: np.random.Generator) -> Genome:
        """A random layer of that kind."""
        return draw_layer(kind, self.words.layers[kind], rng)

    def complete(self, layers: list[Genome], rng: np.random.Generator) -> Genome:
        """A valid genome of these layers with random settings."""
        settings = {gene: draw(gene, choices, rng) for gene, choices in self.words.settings.items()}
        return self.repair(settings | {"layers": layers, "training": draw_training(rng)})

    def repair(self, genome: Mapping[str, Any]) -> Genome:
        """The nearest valid genome."""
        return repair({"input": list(self.input), "outputs": self.outputs, **genome}, self.budget)


def check_shape(shape: Sequence[Any], axes: tuple[int, ...], words: str) -> None:
    """Raise ConfigError unless a shape is of positive integers, as many as one of `axes`."""
    if len(shape) not in axes or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in shape):
        raise ConfigError(f"expected input: {words}, each at least 1, got {list(shape)}")
