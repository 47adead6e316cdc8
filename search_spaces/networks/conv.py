"""Convolutional networks of variable length over images: random, mutated and crossed ones all build and run."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import numpy as np

from orchestrator.errors import ConfigError
from orchestrator.protocols import Array
from orchestrator.trial import Point
from search_spaces.networks import encoding
from search_spaces.networks.genome import (
    LAYERS,
    RANGES,
    SETTINGS,
    SKIPS,
    TRAINING,
    Genome,
    draw,
    draw_layer,
    draw_log,
    draw_training,
)
from search_spaces.networks.repair import Budget, repair
from search_spaces.networks.validation import validate

_MULTIPLY_ADDS_PER_PIXEL = 1_500
_LEAST_MULTIPLY_ADDS = 1_000_000
_ATTEMPTS = 20
_LEARNING_STEP = 0.5  # standard deviation of a mutated rate or decay, in natural logarithms


class ConvNetworks:
    """Space of network genomes; `search_spaces.networks.genome` describes them.

    Args:
        input: (channels, height, width) of an image.
        outputs: length of the network's output, e.g. the number of properties that it predicts.
        max_layers: most convolution, pooling and dense layers, the output layer not counted.
        max_parameters: most trainable values.
        max_multiply_adds: most multiplications for one image; bounds the time that a trial takes. None for 1,500 a
            pixel and at least a million: 150 images of 32 x 32 then train for 30 epochs in seconds on one core.

    Raises:
        ConfigError: a shape or limit that no network meets.
    """

    def __init__(
        self,
        *,
        input: list[int],
        outputs: int = 1,
        max_layers: int = 8,
        max_parameters: int = 500_000,
        max_multiply_adds: int | None = None,
    ) -> None:
        if len(input) != 3 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in input):
            raise ConfigError(f"expected input: [channels, height, width], each at least 1, got {list(input)}")
        smallest = (input[0] + 1) * outputs
        for name, value in (("outputs", outputs), ("max_layers", max_layers)):
            if value < 1:
                raise ConfigError(f"expected {name} to be at least 1, got {value}")
        if max_multiply_adds is None:
            max_multiply_adds = max(_MULTIPLY_ADDS_PER_PIXEL * input[1] * input[2], _LEAST_MULTIPLY_ADDS, smallest)
        if max_parameters < smallest or max_multiply_adds < smallest:
            raise ConfigError(
                f"expected max_parameters and max_multiply_adds of at least {smallest} for input {list(input)} and "
                f"{outputs} outputs, got {max_parameters} and {max_multiply_adds}; raise them"
            )
        self.input, self.outputs = tuple(input), outputs
        self.budget = Budget(layers=max_layers, parameters=max_parameters, multiply_adds=max_multiply_adds)

    def sample(self, rng: np.random.Generator) -> Genome:
        """A random network: convolutions with pooling between some, then at most two dense layers."""
        features = int(rng.integers(1, self.budget.layers + 1))
        layers: list[Genome] = []
        for position in range(features):
            kind = "pool" if position and layers[-1]["kind"] == "conv" and rng.random() < 0.4 else "conv"
            layers.append(draw_layer(kind, rng))
        dense = min(int(rng.choice(3, p=(0.5, 0.4, 0.1))), self.budget.layers - features)
        layers += [draw_layer("dense", rng) for _ in range(dense)]
        settings = {gene: draw(gene, choices, rng) for gene, choices in SETTINGS.items()}
        return self._repair(settings | {"layers": layers, "training": draw_training(rng)})

    def check(self, point: Point) -> None:
        """Raise InvalidPoint, naming the gene, unless the genome builds, runs and is within the limits."""
        validate(point, shape=self.input, outputs=self.outputs, budget=self.budget)

    def mutate(self, point: Point, rng: np.random.Generator) -> Genome:
        """A copy with one change, two or three now and then: a layer, a skip or a setting."""
        changes = min(int(rng.geometric(0.7)), 3)
        for _ in range(_ATTEMPTS):
            child = copy.deepcopy(dict(point))
            for _ in range(changes):
                operator = _OPERATORS[int(rng.choice(len(_OPERATORS), p=_ODDS))]
                operator(child, rng)
            child = self._repair(child)
            if child != point:
                return child
        _change_rate(child, rng)
        return child

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> Genome:
        """A child with the first layers of one, the last layers of the other, and settings from either."""
        head = int(rng.integers(0, len(a["layers"]) + 1))
        tail = int(rng.integers(0, len(b["layers"]) + 1))
        child = {gene: (a, b)[rng.integers(2)][gene] for gene in SETTINGS}
        training = {gene: (a, b)[rng.integers(2)]["training"][gene] for gene in (*TRAINING, *RANGES)}
        layers = [*a["layers"][:head], *b["layers"][tail:]] or [*a["layers"]]
        return self._repair(child | {"layers": layers, "training": training})

    @property
    def dimension(self) -> int:
        """Length of an encoded genome."""
        return len(self.columns)

    @property
    def columns(self) -> list[str]:
        """Meaning of each column of `encode`."""
        return encoding.columns(self.budget.layers)

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64; see `columns`."""
        rows = [encoding.encode(point, self.budget.layers) for point in points]
        return np.array(rows, dtype=np.float64).reshape(len(rows), self.dimension)

    def _repair(self, genome: Mapping[str, object]) -> Genome:
        return repair({"input": list(self.input), "outputs": self.outputs, **genome}, self.budget)


def _insert(genome: Genome, rng: np.random.Generator) -> None:
    """Put a random layer at a place where its kind belongs."""
    layers = genome["layers"]
    vectors = sum(layer["kind"] == "dense" for layer in layers)
    kind = ("conv", "pool", "dense")[int(rng.choice(3, p=(0.6, 0.25, 0.15)))]
    first, last = (len(layers) - vectors, len(layers)) if kind == "dense" else (0, len(layers) - vectors)
    layers.insert(int(rng.integers(first, last + 1)), draw_layer(kind, rng))


def _delete(genome: Genome, rng: np.random.Generator) -> None:
    if len(genome["layers"]) > 1:
        del genome["layers"][int(rng.integers(len(genome["layers"])))]


def _alter(genome: Genome, rng: np.random.Generator) -> None:
    """Change one gene of one layer to another of its values."""
    if genome["layers"]:
        layer = genome["layers"][int(rng.integers(len(genome["layers"])))]
        genes = LAYERS[layer["kind"]]
        gene = list(genes)[int(rng.integers(len(genes)))]
        layer[gene] = _another(layer[gene], genes[gene], rng)


def _change_skip(genome: Genome, rng: np.random.Generator) -> None:
    """Remove a skip connection, or add one."""
    layers = [layer for layer in genome["layers"] if layer["kind"] == "conv"]
    if layers:
        layer = layers[int(rng.integers(len(layers)))]
        layer["skip"] = 0 if layer["skip"] else _another(0, SKIPS, rng)


def _change_setting(genome: Genome, rng: np.random.Generator) -> None:
    gene = (*SETTINGS, *TRAINING)[int(rng.integers(len(SETTINGS) + len(TRAINING)))]
    owner, choices = (genome, SETTINGS[gene]) if gene in SETTINGS else (genome["training"], TRAINING[gene])
    owner[gene] = _another(owner[gene], choices, rng)


def _change_rate(genome: Genome, rng: np.random.Generator) -> None:
    """Move learning rate or weight decay by a random factor; draw it anew where it would leave its range."""
    gene, (low, high) = list(RANGES.items())[int(rng.integers(len(RANGES)))]
    moved = genome["training"][gene] * math.exp(rng.normal(0.0, _LEARNING_STEP))
    genome["training"][gene] = moved if low <= moved <= high else draw_log(low, high, rng)


def _another(value: object, choices: Sequence[object], rng: np.random.Generator) -> object:
    others = [choice for choice in choices if choice != value]
    return others[int(rng.integers(len(others)))]


_OPERATORS = (_insert, _delete, _alter, _change_skip, _change_setting, _change_rate)
_ODDS = (0.2, 0.15, 0.3, 0.1, 0.15, 0.1)
