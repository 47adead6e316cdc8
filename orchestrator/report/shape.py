"""The geometry and words of slices, for every way to draw them; draws nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from matloop.orchestrator.report import text
from matloop.orchestrator.report.response import Near, Slice
from matloop.orchestrator.trial import Objective

Array = np.typing.NDArray[np.float64]

HEIGHT = float(np.sqrt(3) / 2)
"""Of a triangle with an edge of one."""


def barycentric(cut: Slice, points: Sequence[Any]) -> np.typing.NDArray[np.float64]:
    """(n, 3) float64: shares of the three components in what they have beyond their least amounts."""
    amounts = np.array([[float(point[one.name]) - one.low for one in cut.inputs] for point in points]).reshape(-1, 3)
    total = amounts.sum(axis=1, keepdims=True)
    shares: np.typing.NDArray[np.float64] = np.where(total > 0, amounts / np.where(total > 0, total, 1), np.nan)
    return shares


def corner_coordinates(shares: np.typing.NDArray[np.float64]) -> tuple[Any, Any]:
    """x and y, each (n,), in a triangle with corners (0, 0), (1, 0) and (1/2, `HEIGHT`)."""
    return shares[:, 1] + shares[:, 2] / 2, HEIGHT * shares[:, 2]


def corner_names(cut: Slice) -> list[str]:
    """What each corner is: its component with the amount that it has there."""
    most = [max(float(point[one.name]) for point in cut.points) for one in cut.inputs]
    return [
        f"{one.name} {text.number(amount)} {one.unit}".rstrip() for one, amount in zip(cut.inputs, most, strict=True)
    ]


def stretches(greyed: Any, x: Any) -> list[tuple[float, float]]:
    """Ends of the stretches along x that are greyed, half way to the neighbours that are not."""
    edges = np.concatenate([[x[0]], (x[1:] + x[:-1]) / 2, [x[-1]]])
    changes = np.flatnonzero(np.diff(np.concatenate([[0], greyed.astype(int), [0]])))
    return [(float(edges[a]), float(edges[b])) for a, b in changes.reshape(-1, 2)]


def tip(near: Near, objective: Objective) -> str:
    """A line about a measured point."""
    value = measured(near, objective)
    return f"trial {near.trial.id}: {text.value(objective, value) if value is not None else 'not measured'}"


def measured(near: Near, objective: Objective) -> float | None:
    """Its value; None if that is still to come."""
    return (near.trial.values or {}).get(objective.name)
