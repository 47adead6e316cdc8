"""The winner of a search beside what people use today, in one table."""

from __future__ import annotations

from collections.abc import Sequence

from matloop.orchestrator.references import WINNER
from matloop.orchestrator.report import references, text
from matloop.orchestrator.report.content import Prose, Section, Table
from matloop.orchestrator.report.references import Mean, Standing
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective, seconds


def section(study: Study, studies: Sequence[Study]) -> Section | None:
    """Table of the winner and the references; None where none were trained."""
    trained = references.referring(study, studies)
    found = references.standings(study, trained) if trained else []
    if trained is None or not found:
        return None
    objective = trained.objectives[0]
    unit = f" ({objective.unit})" if objective.unit else ""
    test = text.name(references.on_test(objective))
    head = ("", f"{text.name(objective)}{unit}", f"{test}{unit}", "seeds", "each took", "parameters")
    rows = [_row(standing, study) for standing in found]
    verdict = references.verdict(found, objective)
    blocks = (Prose(f"{verdict[:1].upper()}{verdict[1:]}."),) if verdict else ()
    return Section(
        "Against references", (*blocks, Table(head, rows, "lrrrrr", _caption(found, study, objective), wide=True))
    )


def _row(standing: Standing, study: Study) -> tuple[str, ...]:
    best = study.best()
    name = standing.name
    if name == WINNER and best is not None:
        name = f"winner of the search, trial {best.id}, trained anew"
    elif standing.purpose == "tuned":
        name = f"{name}, best of {text.plural(standing.draws, 'random setting')} in {text.duration(standing.spent_s)}"
    seeds = f"{len(standing.trials)}" + (f", {standing.failed} failed" if standing.failed else "")
    sizes = {(t.values or {}).get("parameters") for t in standing.trials}
    size = next(iter(sizes)) if len(sizes) == 1 else None
    return (
        name,
        _shown(standing.validation),
        _shown(standing.test),
        seeds,
        text.duration(standing.each_s) if standing.trials else "–",
        "–" if size is None else text.number(size),
    )


def _rows(found: Sequence[Standing], objective: Objective) -> str:
    """What the choice of test rows adds, by the driver's own account; nothing where it does not say."""
    winner = next((trial for standing in found if standing.name == WINNER for trial in standing.trials), None)
    name = references.on_test(objective).name.removeprefix("test_")
    error = (winner.info.get("test_standard_errors") or {}).get(name) if winner else None
    if not isinstance(error, int | float):
        return " Which rows are tested is part of none."
    return f" With other test rows the winner's figure might be {text.number(1.96 * error)} higher or lower."


def _budget(study: Study) -> str:
    own = (study.config.get("reference") or {}).get("budget")
    return "one trial" if not own else " and ".join(f"{amount:g} {kind}" for kind, amount in own.items())


def _shown(mean: Mean | None) -> str:
    return "–" if mean is None else str(mean)


def _caption(found: Sequence[Standing], study: Study, objective: Objective) -> str:
    took = sum(map(seconds, study.finished))
    parts = [
        f"All were trained by the same driver, on the same rows, within the budget of {_budget(study)}; an estimator "
        "may need less. Mean and half of its 95 % interval over seeds (Student's t)." + _rows(found, objective),
        f"The search took {text.duration(took)} of its workers for {text.plural(len(study.finished), 'trial')}.",
    ]
    if any(s.purpose == "tuned" for s in found):
        parts.append(
            f"The reference with the best {text.name(objective)} was given as long: random settings, the best of them "
            "by validation rows trained anew by every seed."
        )
    return " ".join(parts)
