"""What is tried and what came of it: frozen records that pass between strategy, ledger, executor and driver."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.workplace import Workplace

Z90 = 1.6448536269514722
"""Standard deviations about the mean that hold 90 % of a normal variable."""

FARTHEST = 40.0
"""Standard deviations that a measurement is said to be off, at most."""

Point = Mapping[str, Any]
"""What may be tried: a JSON-able mapping (a genome, a composition, a latent vector, a scan position)."""

Scale = Literal["auto", "linear", "log"]

State = Literal["running", "answered", "failed", "cancelled"]

Side = Literal["below", "above"]
"""Where the true value lies of one that is censored: below the limit that stands in its place, or above it."""

Cause = Literal["exception", "invalid_result", "timeout", "memory", "crash", "lost", "uncertain", "experiment"]
"""Why an evaluation failed. `crash` and `lost` say nothing about the point and are retried; the rest are final.
`uncertain` says nothing either: it may have happened, gave no answer and must not be repeated, so a person decides.
`experiment` is what a person or an instrument says of the experiment itself: it cracked, leaked, did not form."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One measured quantity and the direction in which it is better.

    Attributes:
        name: key of the value in `Trial.values`.
        direction: said here once; everything that compares trials uses `loss`.
        unit: for people, e.g. "eV/atom"; empty if dimensionless.
        scale: on which models see its values: as they are, by their logarithm, or whichever scale the values bear out.
        at_least, at_most: limits that its value has to keep for a trial to count as a success; None where there is
            none.
        sought: whether better values are sought. If not, it only has to keep its limits, and `direction` is the one
            that leads into them.
    """

    name: str
    direction: Literal["minimise", "maximise"] = "minimise"
    unit: str = ""
    scale: Scale = "auto"
    at_least: float | None = None
    at_most: float | None = None
    sought: bool = True

    def loss(self, value: float) -> float:
        """Value with the sign that makes smaller better."""
        return value if self.direction == "minimise" else -value

    @property
    def limited(self) -> bool:
        """Whether its value has a limit to keep."""
        return self.at_least is not None or self.at_most is not None

    def kept(self, value: float, censored: Side | None = None) -> bool | None:
        """Whether a measured value keeps the limits; None where a censored one does not tell."""
        low, high = (-math.inf, value) if censored == "below" else (value, math.inf if censored else value)
        least = -math.inf if self.at_least is None else self.at_least
        most = math.inf if self.at_most is None else self.at_most
        if least <= low and high <= most:
            return True
        return False if high < least or low > most else None

    def __str__(self) -> str:
        """What is wanted of it: "maximise yield (%)", "purity at least 95 %"."""
        unit = f" ({self.unit})" if self.unit else ""
        wish = f"{self.direction} {self.name}{unit}" if self.sought else self.name
        return f"{wish}{',' if self.sought and self.limited else ''} {self.limits}".rstrip()

    @property
    def limits(self) -> str:
        """Its limits in words, such as "at least 95 %"; empty if it has none."""
        unit = f" {self.unit}" if self.unit else ""
        named = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{word} {limit:g}{unit}" for word, limit in named if limit is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model expected of a point, recorded before the point was measured.

    Attributes:
        mean: expected value by objective name, in the objective's unit; where values are modelled on another scale, the
            median, which does not depend on the scale.
        std: standard deviation by objective name, same unit, > 0; empty if the model gives none. Where the two sides
            differ, half the width that holds 68 % of measurements.
        interval: lowest and highest value between which 90 % of measurements are expected, by objective name, same
            unit, as much being left out below as above; empty if it is the normal one about the mean.
    """

    mean: Mapping[str, float]
    std: Mapping[str, float] = field(default_factory=dict)
    interval: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def bounds(self, name: str) -> tuple[float, float] | None:
        """Between which 90 % of measurements of that objective are expected; None if the model did not say."""
        if name in self.interval:
            return self.interval[name]
        if name not in self.std or name not in self.mean:
            return None
        return self.mean[name] - Z90 * self.std[name], self.mean[name] + Z90 * self.std[name]

    def deviation(self, name: str, value: float) -> float | None:
        """How far off a measured value is, in standard deviations; None if the model did not say how sure it was.

        It is ±1.645 exactly at the bounds, 0 at the mean, and in between and beyond what a normal variable on a shifted
        logarithmic scale through these three would be, within ±`FARTHEST`.
        """
        bounds = self.bounds(name)
        if bounds is None:
            return None
        above, below, off = bounds[1] - self.mean[name], self.mean[name] - bounds[0], value - self.mean[name]
        if name not in self.interval and self.std[name] > 0:
            return max(-FARTHEST, min(FARTHEST, off / self.std[name]))
        if not (above > 0 and below > 0):
            return 0.0 if off == 0 else math.copysign(FARTHEST, off)
        bend = math.log(above / below)
        if abs(bend) < 1e-6:
            found = Z90 * off / above
        else:
            share = off * math.expm1(bend) / above
            found = Z90 * math.log1p(share) / bend if share > -1 else math.copysign(math.inf, off)
        return max(-FARTHEST, min(FARTHEST, found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A strategy's answer to `ask`: a point, and why.

    Attributes:
        point: JSON-able.
        prediction: what the strategy's model expects there.
        reason: one sentence that a scientist can read.
        parents: ids of the trials that this one descends from.
        fidelity: share of the full effort in (0, 1]; None means full.
        extra: JSON-able notes of the strategy's own, recorded with the trial and handed back in `tell`.
        inputs: artifacts of earlier trials that the driver is to start from, name to sha256 (`Trial.artifacts` has it).
    """

    point: Point
    prediction: Prediction | None = None
    reason: str = ""
    parents: tuple[int, ...] = ()
    fidelity: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a driver returns; docs/extending.md says what is accepted in place of these types.

    Attributes:
        values: measured value by name, finite and within ±1e100: every objective of the study, and what else is worth
            keeping. What is no number besides the objectives goes to `info`, what is not sound is left out;
            `info["not_recorded"]` then says why.
        noise: standard deviation of the measurement by name of a value, finite, >= 0, where the driver knows it.
        info: details worth keeping (epochs run, parameters, files read) by name, at most 1 MiB as JSON.
        artifacts: large results by name (arrays or bytes); stored in files by content hash.
        cost: in the study's own unit of cost (money, beam time, kWh), finite, >= 0; None counts as 1 per trial.
    """

    values: Mapping[str, float]
    noise: Mapping[str, float] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, npt.NDArray[Any] | bytes] = field(default_factory=dict)
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an evaluation gave no values.

    Attributes:
        cause: see `Cause`.
        message: one line, groups equal failures in the report.
        traceback: the worker's full traceback, empty where there was none.
    """

    cause: Cause
    message: str
    traceback: str = ""

    @property
    def retriable(self) -> bool:
        """Whether the failure may be the machine's rather than the point's."""
        return self.cause in ("crash", "lost")

    @property
    def informative(self) -> bool:
        """Whether the failure says something about the point."""
        return self.cause not in ("crash", "lost", "uncertain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What comes back from a worker: a measurement or a failure, with when and where.

    Attributes:
        values: None exactly if `failure` is set. People may tell some objectives now and the others later.
        censored: on which side of what stands in `values` the true value lies, by name, where only a limit is known,
            as in "< 0.1".
        artifacts: name to sha256 of the stored file.
        started_at, finished_at: Unix time, s, by the worker's clock.
        worker: host and process that did the work.
        leaves_folder: whether there is something in the trial's folder; not recorded.
    """

    values: Mapping[str, float] | None = None
    failure: Failure | None = None
    noise: Mapping[str, float] = field(default_factory=dict)
    censored: Mapping[str, Side] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    cost: float | None = None
    started_at: float
    finished_at: float
    worker: str = ""
    leaves_folder: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One point's whole story; built by the ledger, never changed.

    Attributes:
        id: unique in the campaign, from 0 in order of proposal.
        study: name of the study it belongs to.
        number: place within its study, from 0 in order of proposal.
        seed: non-negative 63-bit integer, the same on every attempt; a driver takes all its randomness from it.
        attempt: from 1; above 1 only after a crash or a lost worker.
        ask: number of the `ask` call that proposed it, within its study, from 0; -1 if it was reported unasked.
        point: what was really done, or is to be done while it runs.
        planned: the point that was proposed, where a person did something else; `prediction` and `reason` are for that
            one. None where there was no deviation.
        values: measured values by objective name, None until answered or if it failed. Where people measure, some
            objectives may still be to come; see `missing`.
        censored: as `Answer.censored`.
        proposed_at, started_at, finished_at: Unix time, s.
        worker: who measured it: host and process, or a person.
        workplace: while it is being measured; not recorded.
    Other fields are those of `Proposal` and `Answer`.
    """

    id: int
    study: str
    number: int
    point: Point
    seed: int
    planned: Point | None = None
    attempt: int = 1
    ask: int = 0
    state: State = "running"
    prediction: Prediction | None = None
    reason: str = ""
    parents: tuple[int, ...] = ()
    fidelity: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, float] | None = None
    failure: Failure | None = None
    noise: Mapping[str, float] = field(default_factory=dict)
    censored: Mapping[str, Side] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    cost: float | None = None
    proposed_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    worker: str = ""
    workplace: Workplace | None = field(default=None, compare=False, repr=False)

    @property
    def folder(self) -> Path | None:
        """A folder of its own under the run, the same in every attempt, with what earlier ones left there.

        It is removed once the trial is answered, unless the driver wants it kept. None unless it is being measured.
        """
        return None if self.workplace is None else self.workplace.folder

    @property
    def conditions(self) -> Mapping[str, float]:
        """What nobody sets and somebody has read, such as the humidity, by name: `info["conditions"]`."""
        found = self.info.get("conditions", {})
        return found if isinstance(found, Mapping) else {}

    @property
    def was_done(self) -> bool:
        """Whether it has been evaluated, and has had its cost, even if its result was set aside later."""
        return self.state != "running" and self.started_at is not None


Unanswered = Trial | Proposal
"""What was proposed and has no result yet: a trial or, where a strategy is asked ahead of demand, a proposal that is
held ready until there is room for it."""


def seconds(trial: Trial) -> float:
    """How long its last attempt took, s; 0 before it is finished."""
    return max((trial.finished_at or 0.0) - trial.started_at, 0.0) if trial.started_at is not None else 0.0


def missing(trial: Trial, objectives: Sequence[Objective]) -> list[str]:
    """Names of the objectives that an answered trial has no value of yet; none of any other trial."""
    return [] if trial.values is None else [o.name for o in objectives if o.name not in trial.values]


def complete(trial: Trial, objectives: Sequence[Objective]) -> bool:
    """Whether it was answered and has values of all the objectives."""
    return trial.values is not None and all(o.name in trial.values for o in objectives)


def goals(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """Those of which better values are sought; of the others only limits are to be kept."""
    return tuple(o for o in objectives if o.sought)


def limited(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """Those that have limits to keep."""
    return tuple(o for o in objectives if o.limited)


def keeps_limits(trial: Trial, objectives: Sequence[Objective]) -> bool | None:
    """Whether an answered trial keeps all limits of the objectives; None where that is not known yet."""
    values = trial.values or {}
    told = [
        o.kept(values[o.name], trial.censored.get(o.name)) if o.name in values else None
        for o in objectives
        if o.limited
    ]
    return False if False in told else None if None in told else True


def losses(trials: Sequence[Trial], objectives: Sequence[Objective]) -> npt.NDArray[np.float64]:
    """Losses of answered trials, smaller is better; of a censored value that of its limit.

    Returns:
        (n, m) float64 in the order given; a row of inf for a trial without values, NaN for a value that is missing.
    """
    rows = [
        [o.loss(t.values.get(o.name, math.nan)) for o in objectives]
        if t.values is not None
        else [np.inf] * len(objectives)
        for t in trials
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(objectives))


def in_full(trial: Trial) -> bool:
    """Whether it was measured with the full effort."""
    return trial.fidelity is None or trial.fidelity >= 1.0


def comparable(trials: Sequence[Trial]) -> list[Trial]:
    """Answered trials of the highest fidelity that there is among them: values of different fidelities mean
    different things."""
    answered = [t for t in trials if t.values is not None]
    shares = [1.0 if t.fidelity is None else t.fidelity for t in answered]
    highest = max(shares, default=1.0)
    return [t for t, share in zip(answered, shares, strict=True) if share == highest]


def only_worse(trial: Trial, objective: Objective) -> bool:
    """Whether all that is known of its value is that it is worse than the limit that stands in its place."""
    return trial.censored.get(objective.name) == ("below" if objective.direction == "maximise" else "above")


def rankable(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Of the `comparable` trials those of which one can be better than another in all the goals: complete, within all
    limits, and not censored on the worse side."""
    sought = goals(objectives)
    return [
        t
        for t in comparable(trials)
        if complete(t, sought) and keeps_limits(t, objectives) and not any(only_worse(t, o) for o in sought)
    ]


def best(trials: Sequence[Trial], objective: Objective, limits: Sequence[Objective] = ()) -> Trial | None:
    """Of the `comparable` trials the one with the smallest loss, and of equals the earliest.

    What is known to be better than a limit counts as that limit, and goes before a value that equals it; what is only
    known to be worse than one is never the best. A point that was measured several times is judged by the mean, not by
    its luckiest measurement; it is represented by the trial that came closest to that.

    Args:
        trials: any.
        objective: by which they are compared.
        limits: objectives whose limits have to be kept, too.

    Returns:
        None if there is none.
    """
    ranked = [t for t in rankable(trials, (objective,)) if keeps_limits(t, limits)]
    ranked.sort(key=lambda t: _rank(t, objective))
    found: tuple[tuple[float, bool], Trial] | None = None
    judged: list[Point] = []
    for trial in ranked:
        if found is not None and _rank(trial, objective) >= found[0]:
            break  # so are all measurements of the points that come from here on
        rank, nearest = _rank(trial, objective), trial
        if objective.name not in trial.censored:
            if any(trial.point == point for point in judged):
                continue
            judged.append(trial.point)
            repeats = [t for t in ranked if t.point == trial.point and objective.name not in t.censored]
            mean, nearest = _mean_loss(repeats, objective)
            rank = mean, True
        if found is None or rank < found[0]:
            found = rank, nearest
    return None if found is None else found[1]


def _rank(trial: Trial, objective: Objective) -> tuple[float, bool]:
    return objective.loss((trial.values or {})[objective.name]), objective.name not in trial.censored


def _mean_loss(repeats: Sequence[Trial], objective: Objective) -> tuple[float, Trial]:
    """Mean loss of measurements at one point, each by one over its variance if all are known; and the closest one."""
    found = [objective.loss((t.values or {})[objective.name]) for t in repeats]
    noises = [t.noise.get(objective.name, 0.0) for t in repeats]
    weights = [1 / noise**2 if all(noises) else 1.0 for noise in noises]
    mean = math.fsum(w * loss for w, loss in zip(weights, found, strict=True)) / math.fsum(weights)
    return mean, min(zip(found, repeats, strict=True), key=lambda pair: abs(pair[0] - mean))[1]
