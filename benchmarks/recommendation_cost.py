"""What a recommendation costs: processor seconds of one ask of `strategy: bayesian` as it comes, by results told.

Four numbers and two categories, a made-up outcome with noise. Before each ask one more result is told, so that the
model is fitted again; explanation and outlook are part of the ask. `first` has the imports and whatever else only the
first ask of a process does; `median` and `longest` are of the others.

Run: python benchmarks/recommendation_cost.py [--quick]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.trial import Objective, Point, Trial
from matloop.search_spaces.box import Box

PARAMETERS: dict[str, dict[str, Any]] = {
    **{f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(4)},
    **{f"c{n}": {"type": "categorical", "choices": [f"{i}" for i in range(n)]} for n in (3, 8)},
}
TOLD = {100: 9, 500: 5, 2000: 3}
"""Results before the first ask, and number of asks."""


def outcome(point: Point, rng: np.random.Generator) -> float:
    """Bends in every number, and shifts with the choices."""
    numbers = sum(np.sin(3 * point[f"x{i}"] + i) for i in range(4))
    return float(numbers + 0.3 * int(point["c3"]) - 0.05 * (int(point["c8"]) - 4) ** 2 + 0.05 * rng.normal())


def seconds(told: int, asks: int) -> list[float]:
    """Processor seconds of each ask."""
    space, rng = Box(parameters=PARAMETERS), derive("recommend", told)
    strategy = Bayesian(space=space, objectives=(Objective("y", "maximise"),))
    numbers, found = itertools.count(), []

    def tell(point: Point) -> None:
        number, values = next(numbers), {"y": outcome(point, rng)}
        strategy.tell(Trial(id=number, study="s", number=number, point=point, seed=0, state="answered", values=values))

    for _ in range(told):
        tell(space.sample(rng))
    for i in range(asks):
        began = time.process_time()
        (proposal,) = strategy.ask(1, (), derive("ask", told, i))
        found.append(time.process_time() - began)
        tell(proposal.point)
    return found


def main() -> None:
    """Print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 results and three asks alone")
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    table = Table(title="processor seconds an ask")
    for column in ("results told", "first", "median", "longest after the first"):
        table.add_column(column, justify="right")
    for told, asks in ({100: 3} if options.quick else TOLD).items():
        first, *rest = seconds(told, asks)
        row = {"first": first, "median": float(np.median(rest)), "longest": max(rest)}
        figures[str(told)] = {name: round(value, 3) for name, value in row.items()}
        table.add_row(f"{told:,}", *(f"{value:.2f}" for value in row.values()))
    Console().print(table)
    print(json.dumps({f"{'quick_' if options.quick else ''}ask_s": figures}))


if __name__ == "__main__":
    main()
