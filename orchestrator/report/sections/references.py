"""The winner of a search beside what people use today, in one table."""

from __future__ import annotations

from collections.abc import Sequence

from matloop.orchestrator.references import WINNER, led_to
from matloop.orchestrator.report import references, text
from matloop.orchestrator.report.content import Prose, Section, Table
from matloop.orchestrator.report.references import Mean, Standing
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective, Trial, seconds

NO_WINNER = "the search has found nothing that keeps all limits, so no network of its own stands here"


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
    best = study.best()
    rows = [_row(standing, best) for standing in found]
    said = NO_WINNER if best is None else references.verdict(found, objective)
    blocks = (Prose(f"{said[:1].upper()}{said[1:]}."),) if said else ()
    caption = _caption(found, study, studies, objective)
    return Section("Against references", (*blocks, Table(head, rows, "lrrrrr", caption, wide=True)))


def _row(standing: Standing, best: Trial | None) -> tuple[str, ...]:
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


def _caption(found: Sequence[Standing], study: Study, studies: Sequence[Study], objective: Objective) -> str:
    """What the figures are, and what was spent on the search and the studies that it was told of."""
    behind = led_to(study.name, {one.name: one.config.get("strategy", {}) for one in studies})
    searched = [trial for one in studies if one.name in behind for trial in one.finished]
    took = sum(map(seconds, searched))
    parts = [
        f"All were trained by the same driver, on the same rows, within the budget of {_budget(study)}; an estimator "
        "may need less. Mean and half of its 95 % interval over seeds (Student's t)." + _rows(found, objective),
        f"The search took {text.duration(took)} of its workers for {text.plural(len(searched), 'trial')}.",
    ]
    if any(s.purpose == "tuned" for s in found):
        parts.append(
            f"The reference with the best {text.name(objective)} was given as long: random settings, the best of them "
            "by validation rows trained anew by every seed."
        )
    return " ".join(parts)
