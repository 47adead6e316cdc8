"""What is learned in the benchmark of active learning: one function for each kind of data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from botorch.test_functions import Branin, Hartmann
from calibration import FILE, Problem

from matloop.orchestrator.protocols import Array, Surrogate
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Point
from matloop.search_spaces.box import Box
from matloop.search_spaces.formulas.space import Formulas
from matloop.search_spaces.pool import Pool
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.networks.ensemble import Ensemble

OUTER = 0.05
"""Share of the test points whose targets are farthest from the median: those out of the bulk."""

BEST = 100
"""One in so many candidates is among the best."""

SIDE = 16
"""Pixels of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is learned, and how well it is known.

    Attributes:
        space: where points come from.
        truth: what a measurement gives.
        surrogate: chooses, and is tested.
        encode: what it is fitted to when it is tested.
        test: (t, d) likewise, distributed as the model has to be good.
        targets: (t,) their values.
        outer: (t,) bool, which of them are out of the bulk: far from the median, or of the rare class.
        sought: share of the candidates that one would like to find (the best, or the rare class) among some points;
            None where candidates are not listed.
        start: points that every policy begins with.
        batch: points asked for at a time.
        most: points at the end.
    """

    space: Any
    truth: Callable[[Point], float]
    surrogate: Surrogate
    encode: Callable[[Sequence[Point]], Array]
    test: Array
    targets: Array
    outer: Array
    sought: Callable[[Sequence[Point]], float] | None
    start: list[Point]
    batch: int
    most: int


class Images(Pool):
    """Pool of (n, SIDE, SIDE) periodic images of 0 and 1, which a network sees; a point is the number of one."""

    def __init__(self, images: Array) -> None:
        super().__init__(points=[{"image": i} for i in range(len(images))])
        self.images = images

    @property
    def dimension(self) -> int:
        """Number of pixels."""
        return SIDE * SIDE

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, SIDE²) pixels."""
        rows = np.array([point["image"] for point in points], dtype=np.int64)
        return self.images[rows].reshape(len(points), self.dimension)

    def render(self, z: torch.Tensor) -> torch.Tensor:
        """(n, SIDE²) -> (n, 1, SIDE, SIDE), from -1 to 1."""
        return 2 * z.reshape(len(z), 1, SIDE, SIDE) - 1


def listed(
    space: Any,
    values: Array,
    surrogate: Surrogate,
    test: tuple[Array, Array],
    good: Array,
    seed: int,
    *,
    start: int,
    batch: int,
    most: int,
    rare: bool = False,
) -> Task:
    """Over a listed space.

    Args:
        space: of n points, in the order of the values.
        values: (n,).
        surrogate: chooses, and is tested.
        test: (t, d) encoded points and their (t,) values.
        good: (n,) bool, the candidates that one would like to find.
        seed: of the start.
        start: points that every policy begins with.
        batch: points asked for at a time.
        most: points at the end.
        rare: whether the values are 1 for a rare class and 0 otherwise.
    """
    places = {tuple(point.values()): i for i, point in enumerate(space.points)}

    def rows(points: Sequence[Point]) -> list[int]:
        return [places[tuple(point.values())] for point in points]

    return Task(
        space=space,
        truth=lambda point: float(values[rows([point])[0]]),
        surrogate=surrogate,
        encode=space.encode,
        test=test[0],
        targets=test[1],
        outer=test[1] > 0.5 if rare else farthest(test[1]),
        sought=lambda points: float(good[rows(points)].sum() / good.sum()),
        start=[dict(space.points[i]) for i in derive("start", seed).permutation(len(values))[:start]],
        batch=batch,
        most=most,
    )


def farthest(values: Array) -> Array:
    """(t,) bool, the share `OUTER` of the values that are farthest from their median."""
    apart = np.abs(values - np.median(values))
    found: Array = apart >= np.quantile(apart, 1 - OUTER)
    return found


def highest(values: Array) -> Array:
    """(n,) bool, the best one in `BEST`."""
    found: Array = values >= np.sort(values)[-max(1, len(values) // BEST)]
    return found


def energies(data: Path, seed: int, quick: bool) -> Task:
    """Formation energies from composition; the lowest are sought."""
    problem = Problem(data, 500 if quick else 10_000, seed)
    space, test = Formulas(formulas=problem.formulas), (problem.x_test[:2000], problem.y_test[:2000])
    places = {formula: i for i, formula in enumerate(problem.formulas)}
    return replace(
        listed(
            space, problem.y, ensemble(quick), test, highest(-problem.y), seed,
            start=100, batch=100, most=200 if quick else 800,
        ),
        encode=lambda points: problem.x[[places[point["formula"]] for point in points]],
    )  # fmt: skip


def recipe(x: Array) -> Array:
    """(n, 6) within [0, 1] -> (n,): a ridge, an optimum inside, two that matter little."""
    ridge = np.exp(-8 * (x[:, 0] - x[:, 1]) ** 2) * (1 + x[:, 2])
    inside = 2 * np.exp(-12 * ((x[:, 2] - 0.75) ** 2 + (x[:, 3] - 0.25) ** 2))
    found: Array = ridge + inside + np.sin(3 * x[:, 4]) * x[:, 3] + 0.2 * x[:, 5]
    return found


def skewed(seed: int, quick: bool) -> Task:
    """Recipes of which nine in ten are small changes of one; the model has to be good for all."""
    rng = derive("skewed", seed)
    n = 500 if quick else 4000
    usual = 0.4 + 0.04 * rng.normal(size=(n - n // 10, 6))
    x = np.vstack([np.clip(usual, 0.0, 1.0), rng.random((n // 10, 6))])
    space, test = numbers(x), rng.random((2000, 6))
    values = recipe(x)
    return listed(
        space, values, ensemble(quick), (encoded(space, test), recipe(test)), highest(values), seed,
        start=50, batch=50, most=100 if quick else 300,
    )  # fmt: skip


def rare_class(seed: int, quick: bool) -> Task:
    """Recipes of which 3 % work: 1 for those, 0 for the others."""
    rng = derive("rare", seed)
    n = 500 if quick else 4000
    x, test = rng.random((n, 6)), rng.random((2000, 6))
    edge = np.quantile(recipe(rng.random((20_000, 6))), 0.97)
    values, wanted = (recipe(rows) > edge for rows in (x, test))
    space = numbers(x)
    return listed(
        space, values.astype(float), ensemble(quick), (encoded(space, test), wanted.astype(float)), values, seed,
        start=50, batch=50, most=100 if quick else 300, rare=True,
    )  # fmt: skip


def images(seed: int, quick: bool) -> Task:
    """Conductivity of two-phase images, most of them of medium coarseness and amount."""
    rng = derive("images", seed)
    n = 200 if quick else 2000
    drawn = two_phase(n + 500, rng)
    values = conductivity(drawn)
    surrogate = Ensemble(space=Images(drawn[:1]), folds=2 if quick else 3, members=2, steps=20 if quick else None)
    return listed(
        Images(drawn[:n]), values[:n], surrogate,
        (drawn[n:].reshape(500, -1), values[n:]), highest(values[:n]), seed,
        start=40, batch=40, most=80 if quick else 160,
    )  # fmt: skip


def two_phase(n: int, rng: np.random.Generator) -> Array:
    """(n, SIDE, SIDE) of 0 and 1: Gaussian fields cut at a level, coarseness and amount different in each."""
    across, along = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]
    length = np.exp(0.4 + 0.4 * rng.normal(size=(n, 1, 1)))
    share = np.clip(0.5 + 0.15 * rng.normal(size=n), 0.05, 0.95)
    smooth = np.exp(-2 * (np.pi * length) ** 2 * (across**2 + along**2)[None])
    fields = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(n, SIDE, SIDE))) * smooth, s=(SIDE, SIDE))
    levels = np.array([np.quantile(field, 1 - part) for field, part in zip(fields, share, strict=True)])
    found: Array = (fields > levels[:, None, None]).astype(float)
    return found


def conductivity(pictures: Array) -> Array:
    """(n, SIDE, SIDE) -> (n,): layers in series of pixels side by side, ten times as conductive where 1."""
    layers = (1 + 9 * pictures).mean(axis=1)
    found: Array = 1 / (1 / layers).mean(axis=1) + 2 * np.abs(np.diff(pictures, axis=2)).mean(axis=(1, 2))
    return found


def numbers(x: Array) -> Pool:
    """Pool of (n, d) rows."""
    return Pool(points=[{f"x{i}": float(v) for i, v in enumerate(row)} for row in x])


def encoded(space: Pool, x: Array) -> Array:
    """(t, d) rows as the pool encodes its own."""
    return space.encode([{f"x{i}": float(v) for i, v in enumerate(row)} for row in x])


def ensemble(quick: bool) -> Ensemble:
    """As it comes, with eight networks in place of twelve."""
    return Ensemble(folds=2, steps=40) if quick else Ensemble(folds=4)


def function(name: str, seed: int, quick: bool) -> Task:
    """A well-known function over its usual box."""
    known: Any = Branin() if name == "branin" else Hartmann(dim=3)
    low, high = known.bounds.double().numpy()
    names = [f"x{i}" for i in range(len(low))]
    ranges = zip(names, low.tolist(), high.tolist(), strict=True)
    space = Box(parameters={key: {"type": "float", "low": a, "high": b} for key, a, b in ranges})

    def truth(points: Sequence[Point]) -> Array:
        values: Array = known(torch.tensor([[p[key] for key in names] for p in points], dtype=torch.float64)).numpy()
        return values

    rng = derive(name, seed)
    fresh = [space.sample(rng) for _ in range(1000)]
    targets = truth(fresh)
    return Task(
        space=space,
        truth=lambda point: float(truth([point])[0]),
        surrogate=GP(space=space),
        encode=space.encode,
        test=space.encode(fresh),
        targets=targets,
        outer=farthest(targets),
        sought=None,
        start=[space.sample(rng) for _ in range(10)],
        batch=5,
        most=20 if quick else 40,
    )


KINDS = ("energies", "skewed", "rare_class", "images", "branin", "hartmann3")


def task(name: str, data: Path | None, seed: int, quick: bool) -> Task | None:
    """By name; None if it needs data that are not there."""
    match name:
        case "energies":
            return energies(data, seed, quick) if data is not None and (data / FILE).exists() else None
        case "skewed":
            return skewed(seed, quick)
        case "rare_class":
            return rare_class(seed, quick)
        case "images":
            return images(seed, quick)
        case _:
            return function(name, seed, quick)
