"""The best of earlier studies measured again: what stood in the record before, and what stands there now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import text
from matloop.orchestrator.report.content import Figure, Section, Table
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective, Trial, rankable


def section(history: History, study: Study) -> Section | None:
    """A table, the best first by the closest measurement; None for a study that confirms nothing."""
    if study.kind("strategy") != "confirmation" or not study.objectives or not (ranked := ranking(study)):
        return None
    objective, closer = study.objectives[0], closer_values(study)
    unit = f" ({objective.unit})" if objective.unit else ""
    head = ("", f"before{unit}", f"now{unit}", *(label(objective, name) for name in closer))
    rows = [
        (
            _name(history, trial),
            _before(history, trial, objective),
            *(text.number((trial.values or {})[name]) for name in (objective.name, *closer)),
        )
        for trial in ranked
    ]
    by = label(objective, closer[-1]) if closer else "now"
    caption = f"{text.name(objective).capitalize()} of the best of earlier studies, best first by “{by}”."
    table = Table(head, rows, "l" + "r" * (len(head) - 1), caption)
    return Section("Measured again", (*_figure(study, ranked, objective, closer), table))


def winner(study: Study) -> Trial | None:
    """The best by the closest measurement; where there is only one, the best as any study has it."""
    if study.objectives and closer_values(study) and (ranked := ranking(study)):
        return ranked[0]
    return study.best()


def line(study: Study) -> str | None:
    """What became of the best under the closest measurement; None where there was none beside the usual one."""
    if not study.objectives or not (closer := closer_values(study)) or not (ranked := ranking(study)):
        return None
    objective, name = study.objectives[0], closer[-1]
    first = min(ranked, key=lambda t: objective.loss((t.values or {})[objective.name]))
    value, held = ((first.values or {})[of] for of in (objective.name, name))
    how = label(objective, name)
    found = f"best {text.name(objective)} {text.number(value)} is {text.number(held)} {how}"
    if ranked[0] is first:
        return f"{found}, and still the best of {len(ranked)}"
    best = text.number((ranked[0].values or {})[name])
    return f"{found}, where trial {ranked[0].id} is the best of {len(ranked)} with {best}"


def closer_values(study: Study) -> list[str]:
    """Names of the values that are the first objective measured otherwise, `NAME_at_…`, where all trials have them."""
    prefix = f"{study.objectives[0].name}_at_"
    measured = [t.values or {} for t in study.answered]
    shared = set.intersection(*map(set, measured)) if measured else set()
    return sorted((n for n in shared if n.startswith(prefix)), key=lambda n: (len(n), n))  # order 10 comes after 9


def ranking(study: Study) -> Sequence[Trial]:
    """The trials, best first, by the last of the closer values or, where there is none, by the objective."""
    objective, closer = study.objectives[0], closer_values(study)
    name = closer[-1] if closer else objective.name
    return sorted(rankable(study.answered, study.objectives), key=lambda t: objective.loss((t.values or {})[name]))


def label(objective: Objective, name: str) -> str:
    """ "at order 5" of "absorption_at_order_5"."""
    return name.removeprefix(f"{objective.name}_").replace("_", " ")


def _figure(study: Study, ranked: Sequence[Trial], objective: Objective, closer: Sequence[str]) -> list[Figure]:
    """A line for each trial from the usual measurement to the closest one; nothing where there is only one."""
    if not closer or len(ranked) < 2:
        return []
    names = [objective.name, *closer]
    values = np.array([[(t.values or {})[name] for name in names] for t in ranked])

    def paint(axes: Axes) -> None:
        places = _apart(values[:, -1], 0.05 * float(np.ptp(values)))
        for i, (trial, row, place) in enumerate(zip(ranked, values, places, strict=True)):
            colour, width = (fig.BLUE, 2.2) if i == 0 else (fig.MUTED, 1.2)
            axes.plot(range(len(names)), row, "o-", markersize=5, color=colour, linewidth=width, zorder=5 - (i > 0))
            axes.text(len(names) - 0.96, place, str(trial.id), color=colour, va="center", fontsize=10)
        axes.set_xlim(-0.15, len(names) - 0.75)
        axes.set_xticks(range(len(names)), [_usual(ranked), *(label(objective, name) for name in closer)])
        axes.set_ylabel(text.axis(objective))
        fig.ticks(axes.yaxis, logarithmic=False)

    svg = fig.draw(f"{study.name}: {text.name(objective)} measured more closely", paint, height=300)
    return [Figure(svg, f"Each line is one of the best, with the number of its trial. {_moved(values, objective)}")]


def _apart(values: npt.NDArray[np.float64], least: float) -> npt.NDArray[np.float64]:
    """(n,) where to write labels, at the values but not closer together than `least`."""
    order = np.argsort(values, kind="stable")
    steps = least * np.arange(len(values))
    lifted = np.maximum.accumulate(values[order] - steps) + steps
    places = np.empty(len(values))
    places[order] = lifted
    return places


def _usual(ranked: Sequence[Trial]) -> str:
    """ "at order 3", where drivers noted the order that they measured by."""
    orders = [t.info.get("order") for t in ranked]
    return f"at order {orders[0]}" if isinstance(orders[0], int) and orders.count(orders[0]) == len(orders) else "now"


def _moved(values: npt.NDArray[np.float64], objective: Objective) -> str:
    """How far the values moved on average, and whether the order of the trials is the same."""
    by = float(np.mean(values[:, -1] - values[:, 0]))
    losses = objective.loss(1.0) * values
    before, after = (np.argsort(losses[:, column], kind="stable") for column in (0, -1))
    order = "their order is the same" if (before == after).all() else "their order is another one"
    if before[0] != after[0]:
        order += ", and so is the best (blue)"
    return (
        f"Measured more closely they are {text.number(abs(by))} {'lower' if by < 0 else 'higher'} on average; {order}."
    )


def _earlier(history: History, trial: Trial) -> Trial | None:
    number = trial.parents[0] if trial.parents else -1
    return history.trials[number] if 0 <= number < len(history.trials) else None


def _name(history: History, trial: Trial) -> str:
    earlier = _earlier(history, trial)
    return f"trial {trial.id}" + (f", {earlier.id} of {earlier.study}" if earlier else "")


def _before(history: History, trial: Trial, objective: Objective) -> str:
    earlier = _earlier(history, trial)
    value = (earlier.values or {}).get(objective.name) if earlier else None
    return "–" if value is None else text.number(value)
