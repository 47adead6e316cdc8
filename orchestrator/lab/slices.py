"""Slices through what a lab's model expects: for notebooks and for the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from matloop.orchestrator.errors import NoPrediction, RejectedPoints
from matloop.orchestrator.lab.experiments import Experiments
from matloop.orchestrator.lab.fields import fields_of
from matloop.orchestrator.lab.predictions import completed, objections
from matloop.orchestrator.protocols import Predicting
from matloop.orchestrator.report import order
from matloop.orchestrator.report.forecast import forecasts
from matloop.orchestrator.report.response import Responses, Slice
from matloop.orchestrator.trial import Objective, Point

T = TypeVar("T")


def along(
    lab: Experiments, first: str, second: str | None, *, at: Mapping[str, Any] | None, objective: Objective
) -> Slice:
    """Along one input or over two; see `Lab.plot_slice`."""

    def cut(responses: Responses, point: Point) -> Slice:
        return responses.along(first, point) if second is None else responses.plane(first, second, point)

    return through(lab, cut, at=at, objective=objective)


def ternary(
    lab: Experiments,
    mixture: str,
    components: Sequence[str] | None,
    *,
    at: Mapping[str, Any] | None,
    objective: Objective,
) -> Slice:
    """Over three components of a mixture; see `Lab.plot_ternary`."""
    return through(lab, lambda r, point: r.triangle(mixture, point, components), at=at, objective=objective)


def through(
    lab: Experiments,
    cut: Callable[[Responses, Point], T],
    *,
    at: Mapping[str, Any] | None = None,
    objective: Objective | None = None,
) -> T:
    """Cut through a point; the model is asked outside the ledger's lock.

    Args:
        lab: open.
        cut: makes slices through a point.
        at: the point; None for the best measured one.
        objective: by which that is the best; None for the first.

    Raises:
        RejectedPoints: `at` lacks an input, or has a value that cannot be one.
        NoPrediction: the strategy has no model, or too few results for it.
    """
    trials = lab.trials()

    def ask(strategy: Predicting) -> T:
        point = _point(lab, at) if at is not None else centre(lab, strategy, objective or lab.objectives[0])
        responses = Responses(lab.space, lambda p: forecasts(strategy, p, lab.objectives, lab.space), trials)
        return cut(responses, point)

    return lab.foresee(ask)


def centre(lab: Experiments, strategy: Predicting, objective: Objective) -> Point:
    """The best measured point, which slices go through.

    Raises:
        NoPrediction: nothing has been measured.
    """
    point = order.centre(lab.trials(), objective, strategy.target)
    if point is None:
        raise NoPrediction("expected a measured experiment to look around from, got none; give a point with `at`")
    return point


def _point(lab: Experiments, at: Mapping[str, Any]) -> Point:
    fields = fields_of(lab.space)
    point = completed(at, fields)
    if problems := objections(point, fields, 0):
        raise RejectedPoints(problems)
    return point
