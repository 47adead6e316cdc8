"""Small spaces of every kind for the strategies' tests."""

from __future__ import annotations

from typing import Literal

from matloop.orchestrator.trial import Objective
from matloop.search_spaces.box import Box
from matloop.search_spaces.pool import Pool

Direction = Literal["minimise", "maximise"]


def mixed() -> Box:
    """Real, logarithmic, integer, categorical and conditional parameters."""
    return Box(
        parameters={
            "temperature": {"type": "float", "low": 300.0, "high": 1200.0},
            "rate": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
            "layers": {"type": "integer", "low": 1, "high": 4},
            "solvent": {"type": "categorical", "choices": ["water", "ethanol", "none"]},
            "dilution": {"type": "float", "low": 0.0, "high": 1.0, "when": {"solvent": ["water", "ethanol"]}},
            "stir": {"type": "categorical", "choices": [True, False, 1]},
        }
    )


def reals(d: int = 4) -> Box:
    """A box of d real parameters."""
    return Box(parameters={f"x{i}": {"type": "float", "low": -2.0, "high": 2.0} for i in range(d)})


def genes(length: int = 6, choices: int = 3) -> Box:
    """A discrete box: choices ** length points."""
    return Box(parameters={f"gene{i}": {"type": "categorical", "choices": list(range(choices))} for i in range(length)})


def pool(n: int = 40) -> Pool:
    """A finite pool of n points."""
    return Pool(points=[{"a": i % 7, "b": (i * i) % 11 + i / 100} for i in range(n)])


def loss(direction: Direction = "minimise", m: int = 1) -> tuple[Objective, ...]:
    """m objectives of one direction."""
    return tuple(Objective(f"f{i}", direction) for i in range(m))
