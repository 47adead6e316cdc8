"""What an earlier campaign is worth: related ones save experiments, and one about something else costs little.

A task has three numbers and a category; each choice has a hill of its own place and height, and all share a wave. The
earlier campaign measured 40 random points of a related function: `shifted` (3 + 2 f), `moved` (hills elsewhere by .06
of the range), `opposite` (-f) or `unrelated` (another task of the same kind). Noise is .02, about 1 % of the range. The
recommender then looks for the maximum of f, all defaults but the surrogate (--surrogate gp or blend). `alone` has no
earlier campaign and starts with 10 space-filling points as by default, `alone, 4` with 4, as many as the others have.

    regret   best of 4,000 random points less the best true value found, after so many experiments, mean over seeds
    needed   experiments until the regret is below 5 % of the range, mean over seeds (the budget counts where never)
    trust    share of the model that goes by the earlier campaign, mean after 10 and 25 experiments

    python benchmarks/transfer.py [--seeds 10] [--budget 25] [--surrogate gp] [--quick]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from matloop.orchestrator.earlier import Earlier
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.trial import Objective, Point, Trial
from matloop.search_spaces.box import Box
from matloop.surrogates.gaussian_process.gp import GP

OBJECTIVE = Objective("y", "maximise")
SPACE = Box(
    parameters={
        **{f"x{i}": {"type": "float", "low": 0, "high": 1} for i in range(3)},
        "kind": {"type": "categorical", "choices": ["a", "b", "c"]},
    }
)
NOISE = 0.02
EARLIER = 40
CLOSE = 0.05
"""Of the range: what counts as found."""

Function = Callable[[Point], float]


@dataclass(frozen=True)
class Task:
    """Hills, one for each kind: centres and heights, widths, and how far the centres are moved."""

    centres: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    moved: float = 0.0

    @classmethod
    def drawn(cls, seed: int, moved: float = 0.0) -> Task:
        """One of many."""
        rng = np.random.default_rng(seed)
        return cls(rng.uniform(0.2, 0.8, (3, 3)), rng.uniform(-0.5, 0.5, 3), rng.uniform(2, 5, 3), moved)

    def __call__(self, point: Point) -> float:
        """Value of a point."""
        x, kind = np.array([point[f"x{i}"] for i in range(3)]), "abc".index(point["kind"])
        hill = np.exp(-np.sum(self.widths * (x - self.centres[kind] - self.moved) ** 2))
        return float(self.heights[kind] + hill + 0.3 * np.sin(5 * x[0]))


def related(relation: str, seed: int) -> Function | None:
    """What the earlier campaign measured; None if there was none."""
    task = Task.drawn(seed)
    functions: dict[str, Function] = {
        "shifted": lambda p: 3 + 2 * task(p),
        "moved": Task.drawn(seed, 0.06),
        "opposite": lambda p: -task(p),
        "unrelated": Task.drawn(seed + 1000),
    }
    return functions.get(relation)


def campaign(relation: str, seed: int, budget: int, surrogate: str) -> dict[str, Any]:
    """One search; see the top of the file."""
    rng, truth, before = np.random.default_rng(seed), Task.drawn(seed), related(relation, seed)
    known = [truth(SPACE.sample(rng)) for _ in range(4000)]
    data = ()
    if before is not None:
        points = [SPACE.sample(rng) for _ in range(EARLIER)]
        data = (Earlier(name=relation, trials=[_trial(i, p, before(p), rng) for i, p in enumerate(points)], sha256=""),)
    strategy = Bayesian(
        space=SPACE,
        objectives=(OBJECTIVE,),
        surrogate=GP(space=SPACE) if surrogate == "gp" else None,
        data=data,
        initial=4 if relation == "alone, 4" else 10,
        explain=False,
        seed=seed,
    )
    best, trust, regret = -np.inf, [], []
    for i in range(budget):
        (proposal,) = strategy.ask(1, [], derive(seed, "transfer", i))
        value = truth(proposal.point)
        best = max(best, value)
        regret.append(max(known) - best)
        trust.append(proposal.extra.get("earlier", {}).get("y"))
        strategy.tell(_trial(i, proposal.point, value, rng))
    return {"regret": regret, "trust": trust, "needed": needed(regret, CLOSE * (max(known) - min(known)))}


def needed(regret: list[float], close: float) -> int:
    """Experiments until the regret is below `close`; all of them if it never is."""
    return next((i for i, value in enumerate(regret, 1) if value < close), len(regret))


def _trial(i: int, point: Point, value: float, rng: np.random.Generator) -> Trial:
    measured = {"y": value + NOISE * rng.normal()}
    return Trial(id=i, study="s", number=i, point=point, seed=0, state="answered", values=measured)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="What an earlier campaign is worth.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=25)
    parser.add_argument("--surrogate", choices=("gp", "blend"), default="gp")
    parser.add_argument("--quick", action="store_true", help="two seeds, twelve experiments")
    parser.add_argument("--data", help="not used; every benchmark takes it")
    options = parser.parse_args()
    seeds, budget = (2, 12) if options.quick else (options.seeds, options.budget)
    marks = [n for n in (6, 10, 15, 20, 25) if n <= budget]
    print(f"{'earlier campaign':18}{'needed':>8}  regret after {', '.join(map(str, marks))}{'':8}trust")
    summary = {}
    for relation in ("alone", "alone, 4", "shifted", "moved", "opposite", "unrelated"):
        runs = [campaign(relation, seed, budget, options.surrogate) for seed in range(seeds)]
        regret = np.mean([run["regret"] for run in runs], axis=0)
        mean_needed = float(np.mean([run["needed"] for run in runs]))
        trust = [float(np.mean([run["trust"][n - 1] for run in runs])) for n in (10, budget) if "alone" not in relation]
        shown = "  ".join(f"{max(regret[n - 1], 0):.3f}" for n in marks)
        print(f"{relation:18}{mean_needed:8.1f}  {shown}  {'  '.join(f'{share:.2f}' for share in trust)}", flush=True)
        summary[relation] = {"needed": mean_needed, "regret": {str(n): float(regret[n - 1]) for n in marks}}
    print(json.dumps({"benchmark": "transfer", "surrogate": options.surrogate, "seeds": seeds, "results": summary}))


if __name__ == "__main__":
    main()
