"""What a strategy's model expects of points: values with intervals, whether they work, and whether they lie outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.protocols import Lenient, Predicting, Space
from matloop.orchestrator.report.inputs import inputs_of
from matloop.orchestrator.trial import Objective, Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is expected of one point.

    Attributes:
        point: it.
        mean: expected value by objective, in its unit.
        interval: 90 % of measurements are expected within it, by objective; absent if the model does not say.
        works: probability that the experiment works, in [0, 1]; None while nothing has failed.
        outside: why it is an extrapolation beyond the space, in words; empty if it is none.
    """

    point: Point
    mean: Mapping[str, float]
    interval: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    works: float | None = None
    outside: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values, by the names above."""
        return {
            "point": dict(self.point),
            "mean": dict(self.mean),
            "interval": {name: list(bounds) for name, bounds in self.interval.items()},
            "works": self.works,
            "outside": self.outside,
        }


def forecasts(
    strategy: Predicting, points: Sequence[Point], objectives: Sequence[Objective], space: Space
) -> list[Forecast]:
    """Ask for all of them at once.

    Args:
        strategy: whose model is asked.
        points: of the space or outside of it, complete.
        objectives: what is predicted.
        space: which points are held against.

    Raises:
        NoPrediction: there are too few results for the model.
    """
    if not points:
        return []
    predictions, works = strategy.predict(points), strategy.works(points)
    outside = Outside(space)
    return [
        Forecast(
            point=point,
            mean={o.name: prediction.mean[o.name] for o in objectives if o.name in prediction.mean},
            interval={o.name: span for o in objectives if (span := prediction.bounds(o.name)) is not None},
            works=None if works is None else works[i],
            outside=outside(point),
        )
        for i, (point, prediction) in enumerate(zip(points, predictions, strict=True))
    ]


class Outside:
    """Says by what points lie outside a space: numbers beyond their range, sums that are another total."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._inputs = {one.name: one for one in inputs_of(space)}

    def __call__(self, point: Point) -> str:
        """In words; empty for what is inside, or merely between steps or against a constraint."""
        found = [text for name, value in point.items() if (text := self._of(name, value))]
        if not found and isinstance(self._space, Lenient):
            try:
                self._space.check_measured(point)
            except InvalidPoint as error:
                found = [str(error)]
        return "; ".join(found)

    def _of(self, name: str, value: Any) -> str:
        return self._inputs[name].outside(value) if name in self._inputs else ""
