"""Where the best is: what was measured, what the model makes of it, and where the model expects it to be.

The best measured value of many is partly luck. Where measurements are noisy, the model's expectation at the measured
points says better which of them is the best, and by how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from matloop.orchestrator.errors import MatloopError, MissingExtra, NoPrediction
from matloop.orchestrator.lab.experiments import Experiments
from matloop.orchestrator.lab.fields import shown
from matloop.orchestrator.lab.results import same
from matloop.orchestrator.protocols import Predicting
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.report import text
from matloop.orchestrator.report.forecast import Forecast, forecasts
from matloop.orchestrator.report.inputs import inputs_of
from matloop.orchestrator.report.order import Order
from matloop.orchestrator.trial import Objective, Point, Trial, goals, limited, rankable

if TYPE_CHECKING:
    from pandas import DataFrame

MEASURED, LIKELY, EXPECTED = "measured", "by the model", "expected"
"""What a row of the table says where the best is."""


CERTAIN = 0.95
"""Probability that an experiment works above which nothing is said of it."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """Where the best is.

    Attributes:
        objectives: what is measured.
        target: lowest and highest value wanted, by objective; empty where the best values are sought.
        measured: trials with the best measured values, best first; of several objectives all that no other beats; with
            a target those nearest to it.
        likely: the same by what the model expects of the measured points, each with that; empty without a model.
        expected: where the model expects the best in the whole space, with what it expects there: one point, or of
            several objectives a front; empty without a model.
        reason: why there is nothing from the model; empty if there is.
        units: of the inputs.
        within: objectives whose limits are kept by all of these.
    """

    objectives: tuple[Objective, ...]
    target: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    measured: tuple[Trial, ...] = ()
    likely: tuple[tuple[Trial, Forecast], ...] = ()
    expected: tuple[Forecast, ...] = ()
    reason: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    within: tuple[Objective, ...] = ()

    @property
    def text(self) -> str:
        """All of it in sentences."""
        return "\n".join(sentences(self))

    def as_json(self) -> dict[str, Any]:
        """Plain values, by the names above."""
        return {
            "target": {name: list(span) for name, span in self.target.items()},
            "measured": [
                {"trial": t.id, "point": dict(t.point), "values": dict(t.values or {})} for t in self.measured
            ],
            "likely": [{"trial": t.id, **one.as_json()} for t, one in self.likely],
            "expected": [one.as_json() for one in self.expected],
            "reason": self.reason,
            "text": self.text,
        }

    def frame(self) -> DataFrame:
        """A row for each, with `where` (measured, by the model, expected) as index.

        Columns are `trial`, the inputs, and for every objective `NAME`, `NAME predicted`, `NAME low` and `NAME high`.

        Raises:
            MissingExtra: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra("pandas") from error
        rows = [_row(MEASURED, self.objectives, trial=t) for t in self.measured]
        rows += [_row(LIKELY, self.objectives, trial=t, one=one) for t, one in self.likely]
        rows += [_row(EXPECTED, self.objectives, one=one) for one in self.expected]
        names = ["where", "trial", *dict.fromkeys(name for row in rows for name in row["point"])]
        names += [f"{o.name}{what}" for o in self.objectives for what in ("", " predicted", " low", " high")]
        cells = [{**row, **row["point"]} for row in rows]
        found = pandas.DataFrame([[row.get(name) for name in names] for row in cells], columns=names)
        return found.astype({"trial": "Int64"}).set_index("where")

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        from markupsafe import escape

        return f"<p>{'<br>'.join(str(escape(line)) for line in sentences(self))}</p>{self.frame().to_html()}"


def best(lab: Experiments, n: int = 1) -> Best:
    """Find it; may take seconds.

    Args:
        lab: open.
        n: how many of the measured ones, >= 1; of several objectives all that no other beats are given.

    Raises:
        MatloopError: n is not such a number.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise MatloopError(f"expected n, a whole number >= 1, got {n!r}")
    objectives, trials = lab.objectives, lab.trials()
    measured = rankable(trials, objectives)
    strategy = lab.study.strategy
    order = Order(goals(objectives), strategy.target if isinstance(strategy, Predicting) else {}, n)
    leading = order([t.values or {} for t in measured])
    found = Best(
        objectives=objectives,
        target=order.target,
        measured=tuple(measured[i] for i in leading),
        within=limited(objectives),
        units={one.name: one.unit for one in inputs_of(lab.space)},
    )
    rng = derive(lab.config.seed, lab.parts.study, "best", len(measured))

    def ask(strategy: Predicting) -> tuple[list[Forecast], list[Forecast]]:
        points = [t.point for t in measured]
        known = forecasts(strategy, points, objectives, lab.space)
        return known, forecasts(strategy, strategy.optimum(rng), objectives, lab.space)

    try:
        known, expected = lab.foresee(ask)
    except NoPrediction as error:
        return replace(found, reason=str(error))
    once = [i for i, t in enumerate(measured) if not any(same(t.point, u.point) for u in measured[:i])]
    likely = [once[i] for i in order([known[i].mean for i in once])]
    return replace(found, likely=tuple((measured[i], known[i]) for i in likely), expected=tuple(expected))


def sentences(found: Best) -> list[str]:
    """What is to be said, a line each."""
    limits = " and ".join(f"{text.name(o)} {o.limits}" for o in found.within)
    if not found.measured and not limits:
        return ["nothing has been measured yet"]
    lines = [f"within the limits: {limits}"] if found.measured and limits else []
    if not found.measured:
        lines.append(f"no experiment is known to have {limits}")
    elif len(goals(found.objectives)) > 1 and not found.target:
        ids = ", ".join(str(t.id) for t in found.measured)
        lines.append(f"no other experiment beats these in all objectives: {ids}")
    else:
        noun = "nearest to the target" if found.target else "best measured"
        lines += [f"{noun}: {_values(found, t)} (trial {t.id}: {_point(found, t.point)})" for t in found.measured]
    if found.likely and [t.id for t, _ in found.likely] != [t.id for t in found.measured]:
        what = ", ".join(f"trial {t.id} ({_forecast(found, one)})" for t, one in found.likely)
        lines.append(f"by the model, which allows for noise: {what}")
    for one in found.expected:
        lines.append(f"the model expects {_forecast(found, one)} at {_point(found, one.point)}{_caution(one)}")
    return lines + ([f"nothing from the model: {found.reason}"] if found.reason else [])


def _values(found: Best, trial: Trial) -> str:
    told = [(o, text.measured(o, trial)) for o in found.objectives]
    return ", ".join(f"{text.name(o)} {written}" for o, written in told if written)


def _forecast(found: Best, one: Forecast) -> str:
    parts = []
    for o in found.objectives:
        span = one.interval.get(o.name)
        within = f" (90 %: {text.number(span[0])} to {text.number(span[1])})" if span else ""
        parts.append(f"{text.name(o)} {text.value(o, one.mean[o.name])}{within}")
    return ", ".join(parts)


def _caution(one: Forecast) -> str:
    if one.works is None or one.works > CERTAIN:
        return ""
    return f"; that works with a probability of {100 * one.works:.0f} %"


def _point(found: Best, point: Point) -> str:
    units = found.units
    shares = {name: value for name, value in point.items() if value != 0 or name not in units}
    named = shares or point
    return ", ".join(f"{name} {shown(value)} {units.get(name, '')}".rstrip() for name, value in named.items())


def _row(
    where: str, objectives: Sequence[Objective], *, trial: Trial | None = None, one: Forecast | None = None
) -> dict[str, Any]:
    point = trial.point if trial is not None else one.point if one is not None else {}
    row: dict[str, Any] = {"where": where, "trial": None if trial is None else trial.id, "point": dict(point)}
    for o in objectives:
        row[o.name] = (trial.values or {}).get(o.name) if trial is not None else None
        if one is not None:
            low, high = one.interval.get(o.name, (None, None))
            row |= {f"{o.name} predicted": one.mean.get(o.name), f"{o.name} low": low, f"{o.name} high": high}
    return row
