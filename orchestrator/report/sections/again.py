"""The best of earlier studies measured again: what stood in the record before, and what stands there now."""

from __future__ import annotations

from collections.abc import Sequence

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import text
from matloop.orchestrator.report.content import Section, Table
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
    return Section("Measured again", (Table(head, rows, "l" + "r" * (len(head) - 1), caption),))


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
    return sorted(name for name in shared if name.startswith(prefix))


def ranking(study: Study) -> Sequence[Trial]:
    """The trials, best first, by the last of the closer values or, where there is none, by the objective."""
    objective, closer = study.objectives[0], closer_values(study)
    name = closer[-1] if closer else objective.name
    return sorted(rankable(study.answered, study.objectives), key=lambda t: objective.loss((t.values or {})[name]))


def label(objective: Objective, name: str) -> str:
    """ "at order 5" of "absorption_at_order_5"."""
    return name.removeprefix(f"{objective.name}_").replace("_", " ")


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
