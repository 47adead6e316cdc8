"""Test functions over spaces that nobody can list: six classics, two reactions, a cliff, a mixture in steps.

All are maximised. A unit of value is what lies between the median random point and the best there is, so that regret
of 1 is what a single blind guess has, and noise means the same everywhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.protocols import Space
from matloop.orchestrator.randomness import derive
from matloop.search_spaces.box import Box
from matloop.search_spaces.experiment.space import Experiment

GUESSES = 4001
"""Random points whose median value is the zero of the scale."""

Ranges = Mapping[str, tuple[float, float] | Sequence[str]]


@dataclass(frozen=True)
class Problem:
    """A function to be maximised.

    Attributes:
        raw: point -> value.
        best: its largest value.
        ranges: lowest and highest value of each number, or the choices of a category; empty for `listed`.
        space: the same in our words.
        listed: every point, where peers need a list; empty where ranges say it all.
    """

    raw: Callable[[Mapping[str, Any]], float]
    best: float
    space: Space
    ranges: Ranges = field(default_factory=dict)
    listed: tuple[dict[str, float], ...] = ()

    def value(self, point: Mapping[str, Any]) -> float:
        """0 for the median random point, 1 for the best."""
        middle = _median(self)
        return (self.raw(point) - middle) / (self.best - middle)

    def __hash__(self) -> int:
        return id(self)


@cache
def _median(problem: Problem) -> float:
    rng = derive("guesses")
    return float(np.median([problem.raw(problem.space.sample(rng)) for _ in range(GUESSES)]))


def _over(ranges: Ranges, raw: Callable[[Mapping[str, Any]], float], best: float) -> Problem:
    parameters: dict[str, dict[str, Any]] = {}
    for name, values in ranges.items():
        if isinstance(values, tuple):
            parameters[name] = {"type": "float", "low": float(values[0]), "high": float(values[1])}
        else:
            parameters[name] = {"type": "categorical", "choices": list(values)}
    return Problem(raw, best, Box(parameters=parameters), ranges)


def branin(point: Mapping[str, float]) -> float:
    """Minus Branin's function, with its three equal optima."""
    a, b = point["a"], point["b"]
    bend = b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6
    return -(bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10)


HARTMANN_HEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
HARTMANN_SLOPES = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
HARTMANN_PLACES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(point: Mapping[str, float]) -> float:
    """Hartmann's function of six numbers: four hills, the highest of them narrow."""
    x = np.array([point[f"x{i}"] for i in range(6)])
    return float(HARTMANN_HEIGHTS @ np.exp(-(HARTMANN_SLOPES * (x - HARTMANN_PLACES) ** 2).sum(axis=1)))


def _numbers(point: Mapping[str, float]) -> npt.NDArray[np.float64]:
    return np.array([point[f"x{i}"] for i in range(len(point))])


def levy(point: Mapping[str, float]) -> float:
    """Minus Levy's function: waves along every axis under a shallow bowl."""
    w = 1 + (_numbers(point) - 1) / 4
    inner = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)).sum()
    last = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    return -float(np.sin(np.pi * w[0]) ** 2 + inner + last)


def ackley(point: Mapping[str, float]) -> float:
    """Minus Ackley's function: a narrow funnel in a plain of ripples."""
    x = _numbers(point)
    funnel = -20 * np.exp(-0.2 * np.sqrt((x**2).mean()))
    return -float(funnel - np.exp(np.cos(2 * np.pi * x).mean()) + 20 + math.e)


def rosenbrock(point: Mapping[str, float]) -> float:
    """Minus Rosenbrock's function: a bent valley whose floor is nearly level."""
    x = _numbers(point)
    return -float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


STYBLINSKI_BEST = 39.16616570377142
"""Of each axis."""


def styblinski(point: Mapping[str, float]) -> float:
    """Minus Styblinski and Tang's function: two basins along every axis, one of them deeper."""
    x = _numbers(point)
    return -float((x**4 - 16 * x**2 + 5 * x).sum() / 2)


SOLVENTS = {"water": 0.55, "ethanol": 0.8, "DMF": 1.0, "toluene": 0.4}
CATALYSTS = {"Pd": (85.0, -1.6, 5.0), "Ni": (110.0, -1.2, 9.0), "Cu": (60.0, -2.2, 14.0)}
CLASHES = {("DMF", "Cu"): 0.5, ("DMF", "Ni"): 0.8, ("toluene", "Pd"): 2.2, ("water", "Cu"): 1.5}


def reaction(point: Mapping[str, Any]) -> float:
    """Yield: each catalyst likes a temperature, a logarithm of concentration and a time; solvents help or spoil it."""
    temperature, concentration, time = CATALYSTS[point["catalyst"]]
    height = SOLVENTS[point["solvent"]] * CLASHES.get((point["solvent"], point["catalyst"]), 1.0)
    off = (
        ((point["temperature"] - temperature) / 25) ** 2
        + ((point["log_concentration"] - concentration) / 0.7) ** 2
        + ((point["time"] - time) / 6) ** 2
    )
    return height / (1 + off)


LIGANDS = {"L1": 0.35, "L2": 0.5, "L3": 0.7, "L4": 0.9, "L5": 0.6}
BASES = {"carbonate": 0.9, "phosphate": 1.0, "acetate": 0.7, "alkoxide": 0.5}
ADDITIVES = {"none": 0.85, "salt": 1.0, "water": 0.6}
VESSELS = {"vial": 1.0, "flask": 0.95, "flow": 0.8}
SPOILT = {("L4", "phosphate"): 0.6, ("L4", "carbonate"): 1.15, ("L3", "alkoxide"): 1.9, ("L1", "acetate"): 2.0}
WIDTHS = np.array([0.25, 0.3, 0.35, 0.5, 0.7, 1.0, 3.0, 3.0])
"""Of the optimum along each of eight numbers; the last two hardly matter."""


def screening(point: Mapping[str, Any]) -> float:
    """Yield over four categories and eight numbers, whose best place depends on ligand and vessel."""
    ligand, vessel = list(LIGANDS).index(point["ligand"]), list(VESSELS).index(point["vessel"])
    best = 0.5 + 0.3 * np.sin(np.arange(8) * (1 + ligand) + vessel)
    x = np.array([point[f"x{i}"] for i in range(8)])
    height = LIGANDS[point["ligand"]] * SPOILT.get((point["ligand"], point["base"]), 1.0)
    height *= BASES[point["base"]] * ADDITIVES[point["additive"]] * VESSELS[point["vessel"]]
    return float(height / (1 + (((x - best) / WIDTHS) ** 2).sum()))


def melt(point: Mapping[str, float]) -> float:
    """Strength of a casting: hotter and longer is better until it is too much of both, when it cracks."""
    heat, time, speed, salt = (point[name] for name in ("heat", "time", "speed", "salt"))
    smooth = heat + 0.5 * time - (2 * (speed - 0.3) * (1 + heat)) ** 2 - 1.5 * (salt - 0.7) ** 2
    return smooth if heat + time <= 1.2 else 0.4 * smooth - 0.3


MIXTURE_STEP = 0.02


def alloy(point: Mapping[str, float]) -> float:
    """A ridge on a triangle, whose top a constraint cuts off, and a lower, broader hill."""
    ridge = math.exp(-30 * (point["A"] - 0.3) ** 2 - 60 * (point["B"] - 0.55 + 0.4 * point["A"]) ** 2)
    return ridge + 0.6 * math.exp(-15 * ((point["A"] - 0.15) ** 2 + (point["C"] - 0.75) ** 2))


def _mixture() -> Problem:
    space = Experiment(
        mixtures={"alloy": {"components": ["A", "B", "C"], "step": MIXTURE_STEP}},
        constraints=["A + 0.5 * B <= 0.45"],
    )
    steps = round(1 / MIXTURE_STEP)
    listed = []
    for a, b in itertools.product(range(steps + 1), repeat=2):
        if a + b <= steps and a + 0.5 * b <= 0.45 * steps + 1e-9:
            point = {"A": a / steps, "B": b / steps, "C": (steps - a - b) / steps}
            space.check(point)
            listed.append(point)
    return Problem(alloy, max(map(alloy, listed)), space, {}, tuple(listed))


PROBLEMS = {
    "Branin": _over({"a": (-5.0, 10.0), "b": (0.0, 15.0)}, branin, -0.397887357729738),
    "Hartmann6": _over({f"x{i}": (0.0, 1.0) for i in range(6)}, hartmann, 3.322368011415515),
    "reaction": _over(
        {
            "solvent": list(SOLVENTS),
            "catalyst": list(CATALYSTS),
            "temperature": (20.0, 140.0),
            "log_concentration": (-3.0, 0.0),
            "time": (1.0, 24.0),
        },
        reaction,
        max(SOLVENTS[s] * CLASHES.get((s, c), 1.0) for s in SOLVENTS for c in CATALYSTS),
    ),
    "Levy4": _over({f"x{i}": (-10.0, 10.0) for i in range(4)}, levy, 0.0),
    "Ackley5": _over({f"x{i}": (-20.0, 32.0) for i in range(5)}, ackley, 0.0),
    "Rosenbrock4": _over({f"x{i}": (-2.0, 3.0) for i in range(4)}, rosenbrock, 0.0),
    "Styblinski4": _over({f"x{i}": (-5.0, 5.0) for i in range(4)}, styblinski, 4 * STYBLINSKI_BEST),
    "screening": _over(
        {
            "ligand": list(LIGANDS),
            "base": list(BASES),
            "additive": list(ADDITIVES),
            "vessel": list(VESSELS),
            **{f"x{i}": (0.0, 1.0) for i in range(8)},
        },
        screening,
        max(
            LIGANDS[a] * SPOILT.get((a, b), 1.0) * BASES[b] * c * d
            for a in LIGANDS
            for b in BASES
            for c in ADDITIVES.values()
            for d in VESSELS.values()
        ),
    ),
    "cliff": _over(dict.fromkeys(("heat", "time", "speed", "salt"), (0.0, 1.0)), melt, 1.1),
    "mixture": _mixture(),
}
