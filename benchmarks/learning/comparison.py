"""Curves of one task held against random choice on the same seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

MEASURES = {
    "rmse": "root mean square error",
    "mae": "mean absolute error",
    "outer": "root mean square error out of the bulk (or of the rare class)",
    "found": "share found of what is sought (the best 1 %, or the rare class)",
}
RISING = ("found",)

Curve = Mapping[str, float]
"""A figure by the number of points, as text."""


def needed(curve: Curve, value: float, *, rising: bool = False) -> float:
    """Number at which a falling (or rising) curve first reaches the value, linear in between; NaN if it does not."""
    counts = [int(n) for n in curve]
    values = [-v if rising else v for v in curve.values()]
    value = -value if rising else value
    for i, v in enumerate(values):
        if v <= value:
            if i == 0:
                return float(counts[0])
            share = (values[i - 1] - value) / (values[i - 1] - v)
            return counts[i - 1] + share * (counts[i] - counts[i - 1])
    return float("nan")


def compared(measure: str, title: str, curves: Mapping[str, Mapping[int, Curve]], console: Console) -> dict[str, Any]:
    """Print the curves of one task; return them and how each stands against random choice on the same seeds.

    Args:
        measure: one of `MEASURES`.
        title: of the table.
        curves: by number of points, by seed, by policy.
        console: where it is printed.
    """
    counts = list(next(iter(next(iter(curves.values())).values())))
    shown = counts if len(counts) < 9 else counts[1::2]
    table = Table("policy", *shown, "at the last", "over all", "points for random's last", "random's for its last",
                  "level from", "seeds", title=f"{title}; and how it differs from random choice",
                  title_justify="left")  # fmt: skip
    result: dict[str, Any] = {}
    for policy, by_seed in curves.items():
        means = mean_curve(by_seed, list(by_seed))
        result[policy] = {"mean": {n: round(v, 4) for n, v in means.items()}, "seeds": len(by_seed)}
        cells = ["", "", "", "", ""]
        seeds = [s for s in by_seed if s in curves.get("random", {})]
        if policy != "random" and seeds:
            found = against(by_seed, curves["random"], seeds, rising=measure in RISING)
            result[policy] |= found
            wanted = ("points_for_randoms_last", "random_points_for_its_last", "level_from")
            shares = (written(found[key], relative=measure not in RISING) for key in ("last", "all"))
            cells = [*shares, *("" if found[key] is None else str(found[key]) for key in wanted)]
        table.add_row(policy, *(f"{means[n]:.4g}" for n in shown), *cells, str(len(by_seed)))
    console.print(table)
    return result


def against(
    own: Mapping[int, Curve], random: Mapping[int, Curve], seeds: Sequence[int], *, rising: bool = False
) -> dict[str, Any]:
    """Difference to random choice: mean and standard error over seeds; who needs how many points; from where level.

    Errors differ relatively, shares found by subtraction. The number of points is read off the mean curves; a text if
    the other's last value is not reached. `level_from` is the number of points from which on, to the end, the lead at
    single numbers is within a standard error; None while it is ahead at the last, or with a single seed.
    """
    difference = np.array(
        [[own[s][n] - random[s][n] if rising else own[s][n] / random[s][n] - 1 for n in own[s]][1:] for s in seeds]
    )
    root = np.sqrt(len(seeds))
    alone = len(seeds) < 2
    errors = [
        None if alone else round(float(p.std(ddof=1) / root), 4) for p in (difference[:, -1], difference.mean(axis=1))
    ]
    mine, theirs = mean_curve(own, seeds), mean_curve(random, seeds)
    most = list(mine)[-1]
    numbers = (
        needed(mine, theirs[most], rising=rising),
        needed(theirs, mine[most], rising=rising),
    )
    points = [round(n) if np.isfinite(n) else f"over {most}" for n in numbers]
    leads = difference if rising else -difference
    return {
        "last": [round(float(difference[:, -1].mean()), 4), errors[0]],
        "all": [round(float(difference.mean()), 4), errors[1]],
        "ahead_at_last": f"{int((leads[:, -1] > 0).sum())} of {len(seeds)}",
        "points_for_randoms_last": points[0],
        "random_points_for_its_last": points[1],
        "level_from": None if alone else level_from(leads, [int(n) for n in mine][1:]),
    }


def level_from(leads: np.ndarray[Any, np.dtype[np.float64]], counts: Sequence[int]) -> int | None:
    """First of the counts from which on no mean of the (seeds, counts) leads exceeds its standard error."""
    ahead = leads.mean(axis=0) > leads.std(axis=0, ddof=1) / np.sqrt(len(leads))
    last = int(np.flatnonzero(ahead)[-1]) if ahead.any() else -1
    return counts[last + 1] if last + 1 < len(counts) else None


def written(difference: Sequence[float | None], *, relative: bool) -> str:
    """A difference and its standard error, if there is one."""
    value, error = difference
    assert value is not None
    spread = "" if error is None else f" ± {100 * error:.1f}"
    return f"{100 * value:+.1f}{spread}" + (" %" if relative else " points")


def mean_curve(by_seed: Mapping[int, Curve], seeds: Sequence[int]) -> dict[str, float]:
    """Averaged over seeds."""
    return {n: float(np.mean([by_seed[s][n] for s in seeds])) for n in by_seed[seeds[0]]}
