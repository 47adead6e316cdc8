"""Figures of merit of campaigns on a pool, from the mean over seeds of the share of the top that is found.

With Top(i) the mean share found after i measurements, and i/n that of random choice from a pool of n (exact, without
replacement): the enhancement factor EF is the largest Top(i) / (i/n) from where the whole top could have been found on
(before that it is the luck of the starts), and the acceleration factor AF at a share s is
s n / i(s), where i(s) is when the curve first reaches s, interpolated linearly between measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.pools import Table
from experiments.replay import Run
from matloop.orchestrator.randomness import derive

Array = npt.NDArray[np.float64]
QUANTILE = 1.6448536269514722
RESAMPLES = 200


@dataclass(frozen=True)
class Score:
    """Of one method on one pool; None where the budget ended before, or where there are no predictions.

    Attributes:
        af50, af80: acceleration factors; `error50`, `error80` their standard errors by bootstrap over seeds.
        ef_max: the largest enhancement factor.
        seconds_per_ask: mean processor time of a recommendation.
        memory_mb: largest resident size.
        coverage90: share of outcomes within the 90 % interval of their prediction.
        seeds: how many campaigns.
    """

    af50: float | None
    af80: float | None
    error50: float | None
    error80: float | None
    ef_max: float
    seconds_per_ask: float
    memory_mb: float
    coverage90: float | None
    seeds: int


def score(runs: Sequence[Run], table: Table) -> Score:
    """Score campaigns of one method on one pool."""
    curves = found(runs, table)
    n = len(table.outcomes)
    mean = curves.mean(axis=0)
    rng = derive("bootstrap")
    resampled = [curves[rng.integers(len(curves), size=len(curves))].mean(axis=0) for _ in range(RESAMPLES)]
    times = [s for run in runs for s in run.seconds]
    return Score(
        af50=acceleration(mean, n, 0.5),
        af80=acceleration(mean, n, 0.8),
        error50=_spread([acceleration(curve, n, 0.5) for curve in resampled]),
        error80=_spread([acceleration(curve, n, 0.8) for curve in resampled]),
        ef_max=float((mean / (np.arange(1, len(mean) + 1) / n))[len(table.top) - 1 :].max()),
        seconds_per_ask=float(np.mean(times)) if times else 0.0,
        memory_mb=max(run.memory_mb for run in runs),
        coverage90=coverage(runs, table),
        seeds=len(runs),
    )


def found(runs: Sequence[Run], table: Table) -> Array:
    """(seeds, budget) share of the top found after each measurement; campaigns that found it all stay at 1."""
    longest = max(len(run.order) for run in runs)
    curves = np.ones((len(runs), longest))
    for row, run in zip(curves, runs, strict=True):
        hits = np.cumsum([i in table.top for i in run.order]) / len(table.top)
        row[: len(hits)] = hits
    return curves


def acceleration(curve: Array, n: int, share: float) -> float | None:
    """AF of a curve (i,) at a share in (0, 1]; None if it stays below."""
    reached = np.flatnonzero(curve >= share)
    if not len(reached):
        return None
    k = int(reached[0])
    before = float(curve[k - 1]) if k else 0.0
    return share * n / (k + (share - before) / (float(curve[k]) - before))


def coverage(runs: Sequence[Run], table: Table) -> float | None:
    """Share of the outcomes within 90 % intervals that were stated before."""
    inside = [
        abs(table.outcomes[i] - p[0]) <= QUANTILE * p[1]
        for run in runs
        for i, p in zip(run.order, run.predictions, strict=True)
        if p is not None
    ]
    return float(np.mean(inside)) if inside else None


def _spread(values: Sequence[float | None]) -> float | None:
    return None if any(v is None for v in values) else float(np.std([v for v in values if v is not None]))
