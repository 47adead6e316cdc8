"""One study of a campaign, as the report's sections want to see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.ledger.history import History, objective
from matloop.orchestrator.trial import Objective, Trial, best, comparable, in_full

NETWORKS = ("conv_network", "dense_network", "field_network", "graph_network", "segmentation_network")
NOUNS = dict.fromkeys((*NETWORKS, "references"), ("network", "networks")) | {
    "latent": ("microstructure", "microstructures"),
    "density": ("film", "films"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study's configuration and trials.

    Attributes:
        finished: answered and failed trials, in the order in which their results were recorded.
        running: trials proposed and not finished.
        ended: what was noted when it ended, None if it has not.
        config: its part of the resolved campaign file.
        cancelled: recommendations that were not done.
    """

    name: str
    config: Mapping[str, Any]
    objectives: tuple[Objective, ...]
    finished: list[Trial]
    running: list[Trial]
    ended: Mapping[str, Any] | None
    cancelled: list[Trial] = field(default_factory=list)

    @property
    def answered(self) -> list[Trial]:
        """Trials with values that may be compared: of the highest fidelity, if there are several."""
        return comparable(self.finished)

    @property
    def failed(self) -> list[Trial]:
        """Trials that gave no values."""
        return [t for t in self.finished if t.values is None]

    @property
    def baseline(self) -> str | None:
        """Name of the study that this one is to be compared with."""
        name = self.config.get("baseline")
        return str(name) if name else None

    @property
    def bound(self) -> str | None:
        """Name of the study whose best is drawn as what can be reached at most."""
        name = self.config.get("bound")
        return str(name) if name else None

    @property
    def marks(self) -> Mapping[str, float]:
        """Values to be drawn beside the best so far, by what they are."""
        found = self.config.get("marks")
        return found if isinstance(found, Mapping) else {}

    @property
    def noun(self) -> tuple[str, str]:
        """What a point is called, singular and plural."""
        return NOUNS.get(self.kind("space"), ("point", "points"))

    def kind(self, part: str) -> str:
        """Kind of the space, driver or strategy."""
        component = self.config.get(part)
        return str(component.get("kind", "")) if isinstance(component, Mapping) else str(component or "")

    def best(self) -> Trial | None:
        """Best answered trial by the first objective, within all limits."""
        return best(self.answered, self.objectives[0], self.objectives) if self.objectives else None

    def measured(self, objective: Objective) -> list[Trial]:
        """Those of the answered trials that have a value of an objective; some may be still to come."""
        return [t for t in self.answered if t.values is not None and objective.name in t.values]

    def values(self, objective: Objective) -> npt.NDArray[np.float64]:
        """(n,) measured values of an objective, in the order of `measured`."""
        return np.array([(t.values or {})[objective.name] for t in self.measured(objective)], dtype=np.float64)


RANDOM = ("random", "space_filling")
"""Strategies that look at no results."""

NO_DESIGN = (*RANDOM, "active_learning")
"""Strategies that look for no best."""


def random_of(study: Study, found: Sequence[Study]) -> Study | None:
    """The study of random points that another is held against.

    Its baseline if that looked at no results, otherwise the first study with the same first objective that did not;
    None if there is none.

    Args:
        study: any.
        found: all of the campaign.
    """
    drawn = [s for s in found if s.kind("strategy") in RANDOM]
    named = [s for s in drawn if s.name == study.baseline]
    fits = (
        s for s in (named or drawn) if s is not study and study.objectives[:1] and study.objectives[0] in s.objectives
    )
    return next(fits, None)


def bound_of(study: Study, objective: Objective, found: Sequence[Study]) -> float | None:
    """Best value of the study that is named as the bound; None if there is none.

    Only what was measured in full counts: on its way, density optimisation measures films that do not exist.
    """
    bound = next((s for s in found if s.name == study.bound), None)
    if bound is None or objective.name not in {o.name for o in bound.objectives}:
        return None
    whole = best([t for t in bound.measured(objective) if in_full(t)], objective, bound.objectives)
    return None if whole is None else (whole.values or {})[objective.name]


def studies(history: History) -> list[Study]:
    """Studies in the order of the campaign file, as the last session had it."""
    if not history.sessions:
        return []
    finished: dict[str, list[Trial]] = {}
    running: dict[str, list[Trial]] = {}
    cancelled: dict[str, list[Trial]] = {}
    for i in history.finished:
        trial = history.trials[i]
        (cancelled if trial.state == "cancelled" else finished).setdefault(trial.study, []).append(trial)
    for trial in history.trials:
        if trial.state == "running":
            running.setdefault(trial.study, []).append(trial)
    config: Mapping[str, Mapping[str, Any]] = history.sessions[-1].config.get("studies") or {}
    return [
        Study(
            name=name,
            config=part,
            objectives=_objectives(part),
            finished=finished.get(name, []),
            running=running.get(name, []),
            ended=history.ended(name),
            cancelled=cancelled.get(name, []),
        )
        for name, part in config.items()
    ]


def _objectives(config: Mapping[str, Any]) -> tuple[Objective, ...]:
    return tuple(objective(name, part) for name, part in (config.get("objectives") or {}).items())
