"""Random spaces, and wishes that can be fulfilled in them, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from matloop.orchestrator.protocols import Between, Composed
from matloop.search_spaces.box import Box
from matloop.search_spaces.experiment.space import Experiment
from matloop.search_spaces.pool import Pool

KINDS = ("box", "experiment", "constrained", "pool")


def parameters(rng: np.random.Generator) -> dict[str, Any]:
    """Of every kind, with random ends, steps and conditions."""
    low = float(np.round(rng.uniform(-5, 5), 2))
    step = float(rng.choice([0.5, 0.1, 0.25]))
    levels = int(rng.integers(2, 6))
    found: dict[str, Any] = {
        "free": {"type": "float", "low": low, "high": low + float(np.round(rng.uniform(1, 9), 2))},
        "log": {"type": "float", "low": 1e-3, "high": float(rng.choice([1.0, 50.0])), "log": True},
        "digits": {"type": "float", "low": 0.002, "high": float(rng.choice([0.05, 7.0])), "log": True, "digits": 2},
        "stepped": {"type": "float", "low": 1.0, "high": 1.0 + step * int(rng.integers(4, 30)), "step": step},
        "whole": {"type": "integer", "low": 1, "high": int(rng.integers(3, 20)), "log": bool(rng.random() < 0.5)},
        "level": {"type": "categorical", "choices": [f"c{i}" for i in range(levels)]},
        "ordered": {"type": "ordinal", "choices": [1, 2, 5, 10]},
        "described": {"type": "categorical", "descriptors": {f"d{i}": rng.random(2).tolist() for i in range(4)}},
        "conditional": {"type": "float", "low": 20, "high": 80, "when": {"level": ["c0"]}},
    }
    kept = [name for name in found if rng.random() < 0.7 and name != "conditional"] or ["free"]
    return {name: found[name] for name in found if name in kept or (name == "conditional" and "level" in kept)}


def random_space(kind: str, rng: np.random.Generator) -> Any:
    """A space of one of the `KINDS`."""
    if kind == "box":
        return Box(parameters=parameters(rng))
    if kind == "pool":
        rows = [
            {"x": float(rng.integers(0, 6)), "n": int(rng.integers(0, 4)), "salt": f"s{rng.integers(0, 3)}"}
            for _ in range(60)
        ]
        return Pool(points=rows)
    mixture: dict[str, Any] = {"components": ["A", "B", "C", "D"], "total": 10, "unit": "g"}
    if rng.random() < 0.5:
        mixture["step"] = 0.5
    if rng.random() < 0.5:
        mixture |= {"at_most": 3, "minimum": 1.0}
    rules = ["A + 2 * B <= 12", "C <= A + 6"] if kind == "constrained" else None
    own = parameters(rng) if kind == "constrained" or rng.random() < 0.7 else None
    return Experiment(parameters=own, mixtures={"melt": mixture}, constraints=rules)


def random_wish(space: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Values for some of the inputs that a random point of the space has, so that it can be fulfilled."""
    point = space.sample(rng)
    names = [name for name in point if rng.random() < 0.4] or [str(rng.choice(list(point)))]
    return {name: _around(point[name], space.sample(rng).get(name, point[name]), rng) for name in names}


def _around(value: Any, other: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, str) or rng.random() < 0.4:
        return (value,) if rng.random() < 0.5 else tuple(dict.fromkeys((value, other)))
    ends = min(value, other), max(value, other)
    return Between(*ends) if rng.random() < 0.7 else Between(low=ends[0])


def fulfils(point: Any, wish: Any, slack: float = 1e-8) -> bool:
    """Whether a point has every input of a wish with an allowed value; written without the code under test."""
    for name, allowed in wish.items():
        if name not in point:
            return False
        value = point[name]
        if isinstance(allowed, Between):
            if not allowed.low - slack <= value <= allowed.high + slack:
                return False
        elif not any(value == one or (isinstance(value, float) and abs(value - one) <= slack) for one in allowed):
            return False
    return True


def components(space: Any) -> tuple[str, ...]:
    """Of all mixtures."""
    return tuple(c for m in space.product.mixtures for c in m.components) if isinstance(space, Composed) else ()
