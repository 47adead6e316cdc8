"""An experiment as the page shows it: what to do, what is expected, why, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from matloop.orchestrator.lab.fields import Field, shown
from matloop.orchestrator.ledger.history import Amendment
from matloop.orchestrator.report import text
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.trial import Objective, Point, Trial, missing
from matloop.orchestrator.web import plots


@dataclass(frozen=True, slots=True)
class Input:
    """One input: what was done, and what had been recommended if that differs."""

    name: str
    value: str
    unit: str
    planned: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One objective of one experiment: expected, measured, or both."""

    objective: Objective
    expected: str
    interval: str
    measured: str
    strip: Markup | None
    surprising: bool


@dataclass(frozen=True, slots=True)
class Driver:
    """How much one input moves a prediction; `share` of the largest effect, in percent of a bar's half."""

    parameter: str
    effect: str
    share: int
    better: bool


@dataclass(frozen=True, slots=True)
class Why:
    """What was recorded about the choice."""

    novelty: str
    acquisition: str
    runner_up: str
    feasible: str
    drivers: list[tuple[str, list[Driver]]]
    nearest: list[tuple[int, str, str]]


@dataclass(frozen=True, slots=True)
class Card:
    """All of it."""

    trial: Trial
    inputs: list[Input]
    outcomes: list[Outcome]
    why: Why | None
    marks: list[tuple[str, str]]
    proposed: datetime
    finished: datetime | None

    @property
    def own(self) -> bool:
        """Whether it was reported without having been recommended."""
        return self.trial.extra.get("origin") == "reported"


class Cards:
    """Makes cards of one study's trials.

    Args:
        fields: the inputs of an experiment, in order.
        objectives: what is measured.
        trials: all of the study, which intervals are drawn over and neighbours are looked up in.
        amendments: of the study.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        objectives: Sequence[Objective],
        trials: Sequence[Trial],
        amendments: Iterable[Amendment],
    ) -> None:
        self.fields = fields
        self.objectives = objectives
        self.units = {field.name: field.unit for field in fields}
        self.by_id = {trial.id: trial for trial in trials}
        self.amended = {amendment.trial for amendment in amendments}
        self.known = {o.name: [t.values[o.name] for t in trials if t.values and o.name in t.values] for o in objectives}

    def card(self, trial: Trial, *, strips: bool = True) -> Card:
        """One experiment; without `strips` it has no drawings, for long lists."""
        return Card(
            trial=trial,
            inputs=self.inputs({**trial.point, **trial.conditions}, _situated(trial.planned, trial)),
            outcomes=[self._outcome(trial, objective, strips) for objective in self.objectives],
            why=self._why(trial.extra.get("explanation")),
            marks=self.marks(trial),
            proposed=moment(trial.proposed_at),
            finished=moment(trial.finished_at) if trial.finished_at is not None else None,
        )

    def inputs(self, point: Point, planned: Point | None = None) -> list[Input]:
        """Inputs in the order of the space, and others after them."""
        before: Mapping[str, Any] = planned if planned is not None else point
        usual = {f.name: f.default for f in self.fields if f.default is not None}  # absent components say nothing
        names = [
            f.name
            for f in self.fields
            if (f.name in point or f.name in before)
            and not (f.name in usual and point.get(f.name) == before.get(f.name) == usual[f.name])
        ]
        names += [name for name in point if name not in self.units]
        return [
            Input(
                name=name.replace("_", " "),
                value=shown(point[name]) if name in point else "–",
                unit=self.units.get(name, "") if name in point else "",
                planned=(shown(before[name]) if name in before else "none")
                if point.get(name) != before.get(name)
                else "",
            )
            for name in names
        ]

    def line(self, point: Point) -> str:
        """A point in one line."""
        return ", ".join(f"{i.name} {i.value} {i.unit}".rstrip() for i in self.inputs(point))

    def marks(self, trial: Trial) -> list[tuple[str, str]]:
        """Words for what is unusual about it, each with a class for its colour."""
        found = []
        if trial.extra.get("origin") == "reported":
            found.append(("own", "not recommended"))
        if trial.planned is not None:
            found.append(("deviated", "done differently"))
        if trial.id in self.amended and trial.state != "cancelled":
            found.append(("amended", "corrected"))
        found += [("partial", f"{text.name(o)} still to come") for o in self._missing(trial)]
        broken = [o for o in self.objectives if self._breaks(trial, o)]
        found += [("limit", f"{text.name(o)} is not {o.limits}") for o in broken]
        if trial.state == "failed":
            found.append(("failed", "failed"))
        if trial.state == "cancelled":
            found.append(("cancelled", "set aside" if trial.was_done else "not done"))
        if any(self._surprising(trial, objective) for objective in self.objectives):
            found.append(("surprise", "outside its interval"))
        return found

    def _missing(self, trial: Trial) -> list[Objective]:
        names = missing(trial, self.objectives)
        return [o for o in self.objectives if o.name in names]

    @staticmethod
    def _breaks(trial: Trial, objective: Objective) -> bool:
        value = (trial.values or {}).get(objective.name)
        return value is not None and objective.kept(value, trial.censored.get(objective.name)) is False

    def _outcome(self, trial: Trial, objective: Objective, strips: bool) -> Outcome:
        span = interval(trial, objective.name)
        mean = trial.prediction.mean.get(objective.name) if trial.prediction else None
        return Outcome(
            objective=objective,
            expected=text.number(mean) if mean is not None else "",
            interval=f"{text.number(span[0])} to {text.number(span[1])}" if span else "",
            measured=self._measured(trial, objective),
            strip=plots.strip(trial, objective, self.known[objective.name]) if strips else None,
            surprising=self._surprising(trial, objective),
        )

    @staticmethod
    def _measured(trial: Trial, objective: Objective) -> str:
        if trial.values is None or objective.name not in trial.values:
            return ""
        noise, sign = trial.noise.get(objective.name), text.SIGNS.get(trial.censored.get(objective.name, ""), "")
        value = f"{sign} {shown(trial.values[objective.name])}".strip()
        return f"{value} ± {shown(noise)}" if noise is not None else value

    @staticmethod
    def _surprising(trial: Trial, objective: Objective) -> bool:
        span = interval(trial, objective.name)
        if trial.values is None or span is None or trial.planned is not None or objective.name in trial.censored:
            return False
        return objective.name in trial.values and not span[0] <= trial.values[objective.name] <= span[1]

    def _why(self, explanation: Mapping[str, Any] | None) -> Why | None:
        if not explanation:
            return None
        acquisition = explanation.get("acquisition") or {}
        second = acquisition.get("runner_up")
        feasible = explanation.get("feasible")
        return Why(
            novelty=(explanation.get("novelty") or {}).get("text", ""),
            acquisition=acquisition.get("text", ""),
            runner_up=self.line(second["point"]) if second else "",
            feasible=text.percent(feasible) if feasible is not None else "",
            drivers=[(o.name, found) for o in self.objectives if (found := self._drivers(explanation, o))],
            nearest=[self._neighbour(one) for one in explanation.get("nearest") or []],
        )

    @staticmethod
    def _drivers(explanation: Mapping[str, Any], objective: Objective) -> list[Driver]:
        found = [d for d in explanation.get("drivers") or [] if d["objective"] == objective.name]
        largest = max((abs(d["effect"]) for d in found), default=0.0) or 1.0
        return [
            Driver(
                parameter=d["parameter"].replace("_", " "),
                effect=f"{'+' if d['effect'] > 0 else ''}{text.number(d['effect'])} {objective.unit}".rstrip(),
                share=round(100 * abs(d["effect"]) / largest),
                better=objective.loss(d["effect"]) < 0,
            )
            for d in found
        ]

    def _neighbour(self, one: Mapping[str, Any]) -> tuple[int, str, str]:
        values = ", ".join(
            f"{text.number(one['values'][o.name])} {o.unit}".rstrip()
            for o in self.objectives
            if o.name in one["values"]
        )
        trial = self.by_id.get(one["trial"])
        return one["trial"], values, self.line(trial.point) if trial else ""


def moment(unix_s: float) -> datetime:
    """Unix time in s as UTC."""
    return datetime.fromtimestamp(unix_s, tz=UTC)


def _situated(point: Point | None, trial: Trial) -> Point | None:
    """A point with the conditions that it was measured under."""
    return point if point is None else {**point, **trial.conditions}
