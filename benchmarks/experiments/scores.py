"""Figures of merit of campaigns on a pool, from the mean over seeds of the share of the top that is found.

With Top(i) the mean share found after i measurements, and i/n that of random choice from a pool of n (exact, without
replacement): the enhancement factor EF is the largest Top(i) / (i/n) from where the whole top could have been found on
(before that it is the luck of the starts), and the acceleration factor AF at a share s is
s n / i(s), where i(s) is when the curve first reaches s, interpolated linearly between measurements.

`shortfall` is what somebody loses who stops early: how far the best of the first i lies below the best of the pool, in
% of the range of the pool's outcomes. `top_found` is Top(i) in %.
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
LOOKS = (20, 40, 60)
"""Numbers of measurements after which `shortfall` and `top_found` are taken."""


@dataclass(frozen=True)
class Score:
    """Of one method on one pool; None where the budget ended before, or where there are no predictions.

    Attributes:
        af50, af80: acceleration factors; `error50`, `error80` their standard errors by bootstrap over seeds.
        ef_max: the largest enhancement factor; None if the budget is smaller than the top.
        shortfall: by number of measurements, mean over seeds, %; None beyond the budget.
        shortfall_error: its standard errors.
        top_found: likewise, %.
        seconds_per_ask: mean processor time of a recommendation.
        memory_mb: largest resident size.
        coverage90: share of outcomes within the 90 % interval of their prediction.
        seeds: how many campaigns.
    """

    af50: float | None
    af80: float | None
    error50: float | None
    error80: float | None
    ef_max: float | None
    shortfall: dict[str, float | None]
    shortfall_error: dict[str, float | None]
    top_found: dict[str, float | None]
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
    factors = (mean / (np.arange(1, len(mean) + 1) / n))[len(table.top) - 1 :]
    short, reached = shortfalls(runs, table), {str(i): mean[i - 1] if i <= len(mean) else None for i in LOOKS}
    return Score(
        af50=acceleration(mean, n, 0.5),
        af80=acceleration(mean, n, 0.8),
        error50=_spread([acceleration(curve, n, 0.5) for curve in resampled]),
        error80=_spread([acceleration(curve, n, 0.8) for curve in resampled]),
        ef_max=float(factors.max()) if len(factors) else None,
        shortfall={i: None if found is None else float(found.mean()) for i, found in short.items()},
        shortfall_error={
            i: None if found is None or len(found) < 2 else float(found.std(ddof=1) / len(found) ** 0.5)
            for i, found in short.items()
        },
        top_found={i: None if share is None else 100 * float(share) for i, share in reached.items()},
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


def shortfalls(runs: Sequence[Run], table: Table) -> dict[str, Array | None]:
    """By number of measurements the shortfall of each campaign, %; None where no campaign was that long.

    A campaign that ended before had found the whole top.
    """
    gains = -np.array([table.objective.loss(float(v)) for v in table.outcomes])
    best, span = gains.max(), np.ptp(gains)
    longest = max(len(run.order) for run in runs)
    return {
        str(i): np.array([100 * (best - gains[run.order[:i]].max()) / span for run in runs]) if i <= longest else None
        for i in LOOKS
    }


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
