"""How evenly starting designs stand for a space, beside a decoded Sobol sequence, maximin choices and random points.

The figure is the energy distance (Székely & Rizzo, 2013) of a design to 2,000 random points of the space, over that of
as many random points: 1 is random, less is more even. Columns are scaled to the spread of the random points, and the
columns of a category or a mixture count as one input; half of a distance is the mean over inputs, half all of them
together. `designs` are those of `strategy: space_filling`; `maximin` takes each next point farthest from those before,
from 512 random ones; `sobol` decodes a scrambled sequence, as long as the space can be decoded.

Run: python benchmarks/designs.py [--seeds 8] [--quick]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.spatial.distance import cdist
from scipy.stats import qmc

from matloop.orchestrator.protocols import Array
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.space_filling import SpaceFilling
from matloop.search_spaces.box import Box
from matloop.search_spaces.columns import blocks, labels
from matloop.search_spaces.experiment.space import Experiment

NUMBER = {"type": "float", "low": 0.0, "high": 10.0}


def choices(count: int) -> dict[str, Any]:
    """A category of so many levels."""
    return {"type": "categorical", "choices": [f"c{i}" for i in range(count)]}


SPACES: dict[str, Callable[[], Any]] = {
    "4 numbers": lambda: Box(parameters={f"x{i}": NUMBER for i in range(4)}),
    "3 numbers, choices of 3, 6 and 12": lambda: Box(
        parameters={f"x{i}": NUMBER for i in range(3)} | {f"c{n}": choices(n) for n in (3, 6, 12)}
    ),
    "mixture of 8": lambda: Experiment(mixtures={"m": {"components": list("abcdefgh"), "total": 1}}),
    "steel": lambda: Experiment(
        mixtures={
            "metal": {
                "components": ["Fe", "Cr", "Mo", "V"],
                "total": 100,
                "at_most": 3,
                "step": 0.5,
                "limits": {"Fe": [85, 100]},
            }
        }
    ),
    "a + b == 10": lambda: Experiment(parameters={"a": NUMBER, "b": NUMBER}, constraints=["a + b == 10"]),
}  # fmt: skip
SIZES = (12, 64)


class Distance:
    """Energy distance to a space's own distribution."""

    def __init__(self, space: Any, reference: Array) -> None:
        groups = [list(indices) for _, _, indices in blocks(labels(space) or ())]
        groups = groups or [[j] for j in range(reference.shape[1])]
        self.reference = reference
        self.groups = [(g, np.sqrt(2 * reference[:, g].var(axis=0).sum())) for g in groups]
        self.groups = [(g, spread) for g, spread in self.groups if spread > 1e-9]
        self.own = self.between(reference, reference).mean()

    def between(self, a: Array, b: Array) -> Array:
        """(n, d) and (k, d) -> (n, k)."""
        each = [cdist(a[:, g], b[:, g]) / spread for g, spread in self.groups]
        alone = np.mean(each, axis=0)
        together = np.sqrt(np.mean(np.square(each), axis=0))
        found: Array = (alone + together) / 2
        return found

    def __call__(self, x: Array) -> float:
        return float(2 * self.between(x, self.reference).mean() - self.between(x, x).mean() - self.own)


def designs(space: Any, n: int, seed: int) -> Array:
    """Those of the strategy."""
    proposals = SpaceFilling(space=space, seed=seed).ask(n, (), derive("ask", seed))
    x: Array = space.encode([p.point for p in proposals])
    return x


def sobol(space: Any, n: int, seed: int) -> Array:
    """A sequence of the unit cube, decoded."""
    lower, upper = space.bounds
    unit = qmc.Sobol(space.dimension, scramble=True, rng=derive("sobol", seed)).random(64)[:n]
    x: Array = space.encode([space.decode(lower + (upper - lower) * u) for u in unit])
    return x


def maximin(space: Any, n: int, seed: int) -> Array:
    """Each as far as possible from those before."""
    rng = derive("maximin", seed)
    x: Array = space.encode([space.sample(rng) for _ in range(512)])
    measure = Distance(space, x)
    taken, nearest = [0], measure.between(x, x[:1])[:, 0]
    while len(taken) < n:
        taken.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, measure.between(x, x[taken[-1:]])[:, 0])
    return x[taken]


def sample(space: Any, n: int, seed: int) -> Array:
    """Random points."""
    rng = derive("random", seed)
    x: Array = space.encode([space.sample(rng) for _ in range(n)])
    return x


METHODS = {"designs": designs, "maximin": maximin, "sobol": sobol}


def main() -> None:
    """Print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="two seeds, the two quickest spaces")
    options = parser.parse_args()
    seeds = 2 if options.quick else options.seeds
    figures: dict[str, Any] = {}
    table = Table(title="energy distance to the space, random points = 1")
    for column in ("space", "points", *METHODS):
        table.add_column(column)
    for name, make in list(SPACES.items())[: 2 if options.quick else None]:
        space = make()
        measure = Distance(space, sample(space, 2000, -1))
        for n in SIZES:
            usual = np.mean([measure(sample(space, n, s)) for s in range(4 * seeds)])
            row = {}
            for method, draw in METHODS.items():
                ratios = [measure(draw(space, n, s)) / usual for s in range(seeds)]
                row[method] = [round(float(np.mean(ratios)), 2), round(float(np.std(ratios) / seeds**0.5), 2)]
            figures.setdefault(name, {})[str(n)] = row
            table.add_row(name, str(n), *(f"{mean:.2f} ± {error:.2f}" for mean, error in row.values()))
    Console(width=120).print(table)
    prefix = "quick_" if options.quick else ""
    print(json.dumps({f"{prefix}designs": figures, f"{prefix}seeds": seeds}))


if __name__ == "__main__":
    main()
