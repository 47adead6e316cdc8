"""What a campaign was worth, in a line for each study that has something to be held against; losses are said too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.report import comparison, references, text
from matloop.orchestrator.report.guard import guarded, said
from matloop.orchestrator.report.sections import again
from matloop.orchestrator.report.study import RANDOM, Study, bound_of, studies
from matloop.orchestrator.trial import Objective, Trial


def lines(directory: Path) -> list[str]:
    """Comparison lines of the campaign in that folder, in the order of its studies.

    Fits surrogates on first use if a study of active learning has a baseline; the result is kept beside the ledger.

    Raises:
        LedgerError: there is no readable ledger.
    """
    directory = Path(directory)
    return of(directory, read(directory / "ledger.db"))


def of(directory: Path, history: History) -> list[str]:
    """Comparison lines of a history; the folder is where fits are kept."""
    by_name = {study.name: study for study in studies(history)}
    found = []
    for study in by_name.values():
        if study.answered and study.objectives:
            found += guarded(
                f"{study.name}, comparison",
                lambda study=study: _of_study(directory, history, study, by_name),  # type: ignore[misc]
                lambda error, study=study: [f"{study.name}: no comparison ({said(error)})"],  # type: ignore[misc]
            )
    return found


def _of_study(directory: Path, history: History, study: Study, by_name: Mapping[str, Study]) -> list[str]:
    found = []
    if line := _line(directory, history, study, by_name):
        found.append(f"{study.name}: {line}")
    if against := references.against(study, list(by_name.values())):
        found.append(f"{study.name} against references: {against}")
    return found


def _line(directory: Path, history: History, study: Study, by_name: Mapping[str, Study]) -> str | None:
    """The study against what it began with, what it measures again, or its baseline."""
    objective, baseline = study.objectives[0], by_name.get(study.baseline or "")
    if study.kind("strategy") == "evolution":
        return evolution(study)
    if study.kind("strategy") == "confirmation":
        return again.line(study)
    if not (baseline and objective in baseline.objectives and baseline.measured(objective)):
        return None
    if study.kind("strategy") == "active_learning":
        return learning(directory, history, study, baseline)
    if len(study.objectives) > 1:
        return None
    return optimisation(study, baseline, bound_of(study, objective, [*by_name.values()]))


def evolution(study: Study) -> str | None:
    """Best of the study against the random points, and the recipe, that evolution started from."""
    objective, best = study.objectives[0], study.best()
    random, recipes = (_from(study, origin, objective) for origin in ("random", "recipe"))
    if best is None or best.values is None or not random:
        return None
    value, median = best.values[objective.name], float(np.median(_values(random, objective)))
    noun, unit = study.noun[0], f" {objective.unit}" if objective.unit else ""
    if best in [*random, *recipes]:
        first = "its recipe" if best in recipes else f"the best of {text.plural(len(random), f'random {noun}')}"
        others = f" of {text.plural(len(random), f'random {noun}')}" if best in recipes else ""
        return (
            f"evolution found nothing better than {first}, {text.number(value)}{unit} {text.name(objective)} "
            f"(median{others} {text.number(median)})"
        )
    line = (
        f"evolved {noun} {text.number(value)}{unit} {text.name(objective)} against {text.number(median)} of the median "
        f"random {noun}{_change(value, median)}, best of {text.plural(len(random), 'random one')} "
        f"{_best(random, objective)}"
    )
    if recipes:
        line += f", the recipe that it began with {_best(recipes, objective)}"
    return line + _test(objective, best, random)


def _from(study: Study, origin: str, objective: Objective) -> list[Trial]:
    """Trials of that origin with a value."""
    of_it = [t for t in study.answered if t.extra.get("origin") == origin]
    return [t for t in of_it if objective.name in (t.values or {})]


def _values(trials: Sequence[Trial], objective: Objective) -> list[float]:
    return [(t.values or {})[objective.name] for t in trials]


def _best(trials: Sequence[Trial], objective: Objective) -> str:
    return text.number(min(_values(trials, objective), key=objective.loss))


def _test(objective: Objective, best: Trial, random: list[Trial]) -> str:
    """The same comparison on data that chose nothing, where the driver measured it."""
    head, _, tail = objective.name.partition("_")
    key = f"test_{tail}" if head == "validation" else "test_mae"
    values = [t.values[key] for t in random if t.values and key in t.values]
    if not best.values or key not in best.values or not values:
        return ""
    value, median = best.values[key], float(np.median(values))
    lost = "" if objective.loss(value) < objective.loss(median) else " (no better on test data)"
    return f"; test {text.number(value)} against {text.number(median)}{lost}"


def optimisation(study: Study, baseline: Study, bound: float | None = None) -> str | None:
    """Best of the study against the baseline's mean and best, and how much it gains of what the bound gains."""
    objective, best = study.objectives[0], study.best()
    if best is None or best.values is None:
        return None
    values = baseline.values(objective)
    value, mean = best.values[objective.name], float(values.mean())
    std = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    best_random = objective.loss(float(np.min(objective.loss(1.0) * values)))
    beaten = objective.loss(value) < objective.loss(best_random)
    unit = f" {objective.unit}" if objective.unit else ""
    random = baseline.kind("strategy") in RANDOM
    whose, which = (f"random {baseline.noun[1]}", "best random") if random else (f"“{baseline.name}”", "its best")
    return (
        f"{text.name(objective)} {text.number(value)}{unit} against {text.spread(mean, std)}{unit} of {whose}"
        f"{_change(value, mean, decimals=1)}, {which} of {len(values):,}: "
        f"{text.number(best_random)}{'' if beaten else ' – not beaten'}"
        f"{_of_bound(study, value - mean, mean, bound)}"
    )


def _of_bound(study: Study, gain: float, mean: float, bound: float | None) -> str:
    if bound is None or bound == mean:
        return ""
    share = text.percent(gain / (bound - mean))
    return f"; {share} of what the bound “{study.bound}” gains ({text.number(bound)})"


def learning(directory: Path, history: History, study: Study, baseline: Study) -> str | None:
    """Error of a surrogate trained on chosen trials against one trained on random ones."""
    if study.ended is None:
        return None
    try:
        found = comparison.compare(directory, history, study, baseline)
    except Exception as error:  # a report after hours of measuring must not die of an afterthought
        return f"no comparison with random choice, because the surrogate could not be fitted ({error})"
    if found is None:
        return None
    unit = f" {study.objectives[0].unit}" if study.objectives[0].unit else ""
    chosen, random = (text.spread(float(np.mean(e)), float(np.std(e, ddof=1))) for e in (found.chosen, found.random))
    verdict = "" if found.gain > 0 else "; active learning loses here"
    if not found.clear:
        verdict = "; no clear difference"
    return (
        f"MAE {chosen}{unit} after {found.k} chosen simulations against {random}{unit} after {found.k} random ones "
        f"(tested on {found.tested} others){verdict}"
    )


def _change(value: float, reference: float, decimals: int = 0) -> str:
    if reference == 0:
        return ""
    return f" ({text.percent((value - reference) / abs(reference), sign=True, decimals=decimals)})"
