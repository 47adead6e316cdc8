"""Which trials no other beats in all objectives, and which of those under way may be held against them."""

from __future__ import annotations

from collections.abc import Sequence

from matloop.orchestrator.report import statistics
from matloop.orchestrator.trial import Objective, Trial, goals, losses, rankable

WAITING = 24
"""Trials under way that are shown, the latest ones: more would hide what was measured."""

Pair = tuple[Objective, Objective]


def front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Non-dominated ones of the rankable trials, best in the first objective first."""
    ranked = rankable(trials, objectives)
    return [ranked[i] for i in statistics.front(losses(ranked, goals(objectives)))]


def expected(trials: Sequence[Trial], pair: Pair) -> list[tuple[Trial, tuple[float, float]]]:
    """Trials under way of which both values were predicted, the latest `WAITING`, with the predictions."""
    found = [
        (t, (t.prediction.mean[pair[0].name], t.prediction.mean[pair[1].name]))
        for t in trials
        if t.state == "running" and t.prediction and all(o.name in t.prediction.mean for o in pair)
    ]
    return found[-WAITING:]
