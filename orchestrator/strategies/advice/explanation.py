"""Why this one: what a model-based strategy can say about a proposal, in numbers and in words that a scientist reads.

It is worked out when the point is proposed and recorded with it, so that nobody can be wise after the event:

    text          the gist of what follows, in one sentence
    interval      90 % of measurements are expected within it, by objective; as in the prediction
    novelty       distance to the nearest measured point, beside the usual distance between neighbours
    nearest       the measured points that are closest, with their values
    drivers       how much each parameter moves the prediction away from the mean over measured points
    acquisition   the value that the point was chosen by, beside the next best candidate's
    limits        probability that each limit on an outcome is kept, by objective, if there are any
    feasible      probability that the experiment works, where a strategy learns that from failures
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from matloop.orchestrator.trial import Objective, Point, Trial
from matloop.search_spaces.columns import labels
from matloop.surrogates.attribution import background, predicted_mean, shapley
from matloop.surrogates.gaussian_process.metric import distances, usual_distance, weights

if TYPE_CHECKING:
    from botorch.models.model import Model

NEAREST = 3
DRIVERS = 5
PROBES = 16
DISTINCT = 0.5
"""A runner-up is at least this share of the usual distance away from the chosen point."""

VALUE_NAMES = {
    "log_ei": "expected improvement",
    "log_nei": "expected improvement",
    "log_nehvi": "expected gain in hypervolume",
    "ucb": "optimistic value",
    "thompson": "value in one function drawn from the model",
    "limits": "probability of keeping the limits",
    "target_range": "probability of lying in the target range",
    "integrated_variance": "reduction of the mean variance",
    "disagreement": "disagreement of the model's functions",
    "largest_cluster": "distance to what is known",
    "core_set": "distance to what is known",
    "variance": "variance",
    "bald": "information about the model",
}
"""What the value of each acquisition function is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a point was chosen from.

    Attributes:
        name: of the acquisition function, see `VALUE_NAMES`.
        points: c candidates.
        x: (c, d) float64, the same, encoded.
        values: (c,) float64 of the acquisition function, larger is better; -inf for what may not be chosen.
        chosen: index of the chosen candidate.
        logarithmic: whether the values are logarithms.
    """

    name: str
    points: Sequence[Point]
    x: torch.Tensor
    values: torch.Tensor
    chosen: int
    logarithmic: bool

    @property
    def worth(self) -> float:
        """Value of the chosen candidate, no logarithm: what it adds to the batch."""
        value = float(self.values[self.chosen])
        if self.logarithmic:
            return math.exp(min(value, 700.0))
        return value if math.isfinite(value) else 0.0


class Explainer:
    """Explains proposals of one model; what they share is worked out once."""

    def __init__(
        self,
        *,
        space: Any,
        model: Model,
        x: torch.Tensor,
        answered: Sequence[Trial],
        objectives: Sequence[Objective],
        gains: Callable[[torch.Tensor], torch.Tensor] = lambda units: units,
    ) -> None:
        """Set it up.

        Args:
            space: where the points come from; if it is `Labelled`, its columns name their parameters.
            model: of gains, i.e. of values with the sign that makes larger better, or of what `gains` turns into them.
            x: (n, d) float64, the answered trials' points, encoded; n >= 1.
            answered: n trials with values of at least one objective.
            objectives: m, in the order of the model's outputs.
            gains: (..., m) of the model's units to gains.
        """
        self.model = model
        self.gains = gains
        self.x = x
        self.answered = answered
        self.objectives = objectives
        self.weight = weights(model, x)
        self.usual = usual_distance(x, self.weight)
        self._names = parameter_names(space, [t.point for t in answered], x.shape[1])

    def __call__(
        self, point: Point, place: torch.Tensor, choice: Choice | None = None, feasible: float | None = None
    ) -> dict[str, Any]:
        """Explain one proposal.

        Args:
            point: what is proposed.
            place: (d,) float64, the same, encoded.
            choice: what it was chosen from; None leaves that out.
            feasible: probability that the experiment works; None if nobody knows.

        Returns:
            JSON-able; see the top of the file and docs/explanations.md.
        """
        found = {
            **self._past(point, place),
            "drivers": self._drivers(place),
            "acquisition": self._acquisition(choice) if choice else None,
            "feasible": feasible,
        }
        return {"text": sentence(found, self.objectives), **found}

    def _past(self, point: Point, place: torch.Tensor) -> dict[str, Any]:
        apart = distances(place[None], self.x, self.weight)[0]
        order = apart.argsort(stable=True)[:NEAREST].tolist()
        nearest = [
            {
                "trial": self.answered[i].id,
                "distance": float(apart[i]),
                "values": dict(self._values(self.answered[i])),
            }
            for i in order
        ]
        distance = float(apart[order[0]])
        text = novelty(distance, self.usual, self.answered[order[0]].id) + self._outside(point)
        return {"novelty": {"distance": distance, "typical": self.usual, "text": text}, "nearest": nearest}

    def _values(self, trial: Trial) -> Iterator[tuple[str, float]]:
        """Of the objectives; some may be still to come."""
        return ((o.name, trial.values[o.name]) for o in self.objectives if trial.values and o.name in trial.values)

    def _outside(self, point: Point) -> str:
        """Which numbers lie beyond all that were tried."""
        found = []
        for name, value in point.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            tried = [v for t in self.answered if isinstance(v := t.point.get(name), int | float)]
            if tried and not min(tried) <= value <= max(tried):
                side = "above" if value > max(tried) else "below"
                found.append(f"{name} {side} all that were tried ({min(tried):.4g} to {max(tried):.4g})")
        return "".join(f"; {text}" for text in found[:2])

    def _drivers(self, place: torch.Tensor) -> list[dict[str, Any]]:
        """The largest shares, by the spread of what was measured; none if there is a single parameter."""
        parameters = list(dict.fromkeys(self._names))
        if len(set(parameters) - {""}) < 2:
            return []
        groups = [parameters.index(name) for name in self._names]
        against = background(self.x, len(parameters))
        mean = predicted_mean(self.model)
        shares = shapley(lambda x: self.gains(mean(x)), place, against, groups)
        found = []
        for o, row in zip(self.objectives, shares, strict=True):
            known = [t.values[o.name] for t in self.answered if t.values and o.name in t.values]
            spread = float(torch.tensor(known, dtype=torch.float64).std(correction=0)) or 1.0
            found += [
                (abs(effect) / spread, {"parameter": name, "effect": -o.loss(effect), "objective": o.name})
                for name, effect in zip(parameters, row.tolist(), strict=True)
                if name
            ]
        found.sort(key=lambda pair: -pair[0])
        return [driver for size, driver in found[:DRIVERS] if size > 1e-9]

    def _acquisition(self, choice: Choice) -> dict[str, Any] | None:
        value = float(choice.values[choice.chosen])
        apart = distances(choice.x[choice.chosen][None], choice.x, self.weight)[0]
        others = torch.where(apart > DISTINCT * self.usual, choice.values, -torch.inf)
        others[choice.chosen] = -torch.inf
        runner_up = None
        if math.isfinite(second := float(others.max())):
            runner_up = {"point": choice.points[int(others.argmax())], "value": second}
        if not math.isfinite(value):
            return None
        text = preference(choice, value, second if runner_up else None)
        return {"name": choice.name, "value": value, "text": text, "runner_up": runner_up}


def parameter_names(space: Any, points: Sequence[Point], d: int) -> list[str]:
    """Parameter that each of the d columns of an encoded point belongs to.

    A space that is `Labelled` says so. Of any other it is found by trying: what changes when a point takes over one
    entry of another belongs to that entry. A column that nothing changed gets an empty name.
    """
    columns = labels(space)
    if columns is not None and len(columns) == d:
        return [column.parameter for column in columns]
    names = [""] * d
    for name in dict.fromkeys(name for point in points for name in point):
        base, *others = {json.dumps(p[name]): p for p in points if name in p}.values()
        try:
            rows = space.encode([base, *({**base, name: other[name]} for other in others[:PROBES])])
        except (KeyError, TypeError, ValueError):  # a mixture of two points need not be a point
            return [""] * d
        for column in (rows != rows[0]).any(axis=0).nonzero()[0]:
            names[column] = name
    return names


def novelty(distance: float, usual: float, nearest: int) -> str:
    """How far a point is from what was measured, in words.

    Args:
        distance: to the nearest measured point.
        usual: between neighbours among the measured points; 0 if there is only one.
        nearest: id of the nearest trial.
    """
    if distance <= 1e-9:
        return f"repeats trial {nearest}"
    if usual <= 0:
        return f"the only measured point so far is trial {nearest}"
    ratio = distance / usual
    times = f"{ratio:.2g} times the usual distance between neighbours"
    if ratio <= 1.5:
        return f"among known experiments: {times}"
    if ratio <= 3:
        return f"somewhat beyond what was tried: {times}"
    return f"well beyond anything tried: {times}"


def preference(choice: Choice, value: float, second: float | None) -> str:
    """The chosen point's acquisition value against the runner-up's, in words."""
    noun = VALUE_NAMES.get(choice.name, "score")
    if second is None:
        return f"the only candidate by its {noun}"
    if choice.logarithmic:
        ratio = math.exp(min(value - second, 700.0))
        if ratio < 1.05:
            return f"its {noun} is level with the next best candidate's"
        return f"its {noun} is {f'{ratio:.2g} times' if ratio < 100 else 'over 100 times'} the next best candidate's"
    finite = choice.values[choice.values.isfinite()]
    span = float(finite.max() - finite.min())
    share = (value - second) / span if span > 0 else 0.0
    if share < 0.005:
        return f"its {noun} is level with the next best candidate's"
    return f"its {noun} leads the next best candidate's by {100 * share:.2g} % of the range over all candidates"


def sentence(explanation: Mapping[str, Any], objectives: Sequence[Objective]) -> str:
    """The gist of an explanation, to follow a strategy's own reason."""
    units = {o.name: o.unit for o in objectives}
    parts = [explanation["novelty"]["text"]]
    if drivers := explanation["drivers"][:2]:
        effects = [
            f"{d['parameter']} ("
            + f"{d['effect']:+.2g}".replace("-", "−")
            + (f" {units[d['objective']]}" if units[d["objective"]] else "")
            + (f" in {d['objective']})" if len(objectives) > 1 else ")")
            for d in drivers
        ]
        parts.append(f"mostly because of {' and '.join(effects)}")
    return "; ".join(parts)
