"""What a search was worth against references: means over seeds with their intervals, on validation and test rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from matloop.orchestrator.references import WINNER, name
from matloop.orchestrator.report import text
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective, Trial, seconds


@dataclass(frozen=True, slots=True)
class Mean:
    """Of a figure over seeds.

    Attributes:
        value: the mean.
        error: its standard error; NaN of a single value.
        n: seeds.
    """

    value: float
    error: float
    n: int

    @property
    def half(self) -> float:
        """Half of the width of its 95 % interval; NaN of a single value."""
        return quantile(self.n - 1) * self.error if self.n > 1 else math.nan

    def __str__(self) -> str:
        return text.spread(self.value, self.half)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one competitor has done.

    Attributes:
        name: of the reference, or "winner".
        purpose: "usual", or "tuned" where it had the search's time as well.
        trials: answered, one for each seed.
        failed: how many trainings failed.
        validation, test: of the objective and of the same figure on test rows; None where there is none.
        draws: settings that were tried before.
        spent_s: what that took, s.
    """

    name: str
    purpose: str
    trials: tuple[Trial, ...]
    failed: int
    validation: Mean | None
    test: Mean | None
    draws: int = 0
    spent_s: float = 0.0

    @property
    def each_s(self) -> float:
        """Mean duration of a training, s."""
        return float(np.mean([seconds(t) for t in self.trials])) if self.trials else 0.0


def quantile(freedom: float) -> float:
    """Of Student's distribution, 97.5 %: between ± so many standard errors lie 95 % of means."""
    from scipy.special import stdtrit  # slow to import, and only references have a use for it

    return float(stdtrit(freedom, 0.975))


def mean(values: Sequence[float]) -> Mean | None:
    """Of values by different seeds; None of none."""
    if not values:
        return None
    n = len(values)
    middle, std = float(np.mean(values)), float(np.std(values, ddof=1)) if n > 1 else math.nan
    if std < 1e-9 * abs(middle):  # equal but for rounding: seeds change nothing
        std = 0.0
    return Mean(middle, std / math.sqrt(n), n)


def referring(study: Study, studies: Sequence[Study]) -> Study | None:
    """The study that trained the references of a search; None if it names none or none was begun."""
    if not study.config.get("reference"):
        return None
    return next((s for s in studies if s.name == f"{study.name}-references" and s.objectives and s.finished), None)


def on_test(objective: Objective) -> Objective:
    """An objective's figure on test rows."""
    return replace(objective, name=f"test_{objective.name.removeprefix('validation_')}")


def standings(search: Study, references: Study) -> list[Standing]:
    """The winner of the search first, then the references, the best on validation rows first.

    Trainings of an earlier winner, from before the search went on, of what is no longer named, and with another budget
    than is asked for now are left out.
    """
    objective, winner = references.objectives[0], search.best()
    asked = search.config.get("reference") or {}
    named = [name(given) for given in asked.get("kinds", [])]
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in references.finished:
        who = str(trial.point["reference"])
        wins = winner is not None and who == WINNER and trial.point["network"] == winner.point
        if (wins or who in named) and trial.point.get("budget") == asked.get("budget"):
            groups.setdefault((who, str(trial.point["purpose"])), []).append(trial)
    found = []
    for (who, purpose), trials in groups.items():
        if purpose == "usual":
            found.append(_standing(who, purpose, trials, objective, []))
        elif purpose == "tuned":
            found.append(_standing(who, purpose, _latest(trials), objective, groups.get((who, "draw"), [])))
    sign = objective.loss(1.0)

    def order(standing: Standing) -> tuple[bool, float]:
        return standing.name != WINNER, sign * standing.validation.value if standing.validation else math.inf

    return sorted(found, key=order)


def _latest(trials: list[Trial]) -> list[Trial]:
    """Those of the settings that were chosen last."""
    return [t for t in trials if t.point["settings"] == trials[-1].point["settings"]]


def _standing(name: str, purpose: str, trials: list[Trial], objective: Objective, draws: list[Trial]) -> Standing:
    answered = tuple(t for t in trials if t.values is not None)

    def figure(key: str) -> Mean | None:
        return mean([t.values[key] for t in answered if t.values and key in t.values])

    return Standing(
        name=name,
        purpose=purpose,
        trials=answered,
        failed=len(trials) - len(answered),
        validation=figure(objective.name),
        test=figure(on_test(objective).name),
        draws=len(draws),
        spent_s=sum(map(seconds, draws)),
    )


def verdict(found: Sequence[Standing], objective: Objective) -> str | None:
    """One sentence: the winner against the best reference at equal budgets and against the one with more time.

    The references are ranked by their validation rows, and compared on test rows where there are such figures.
    """
    winner = next((s for s in found if s.name == WINNER), None)
    others = [s for s in found if s.name != WINNER and s.validation]
    if winner is None or winner.validation is None or not others:
        return None
    usual = next((s for s in others if s.purpose == "usual"), None)
    tuned = next((s for s in others if s.purpose == "tuned"), None)
    tested = all(s.test for s in (winner, usual, tuned) if s)
    shown = on_test(objective) if tested else objective

    def of(standing: Standing) -> Mean:
        chosen = standing.test if tested else standing.validation
        assert chosen is not None
        return chosen

    def compared(standing: Standing) -> str:
        return f"{of(standing)} ({_compared(of(winner), of(standing), objective)})"

    parts = [f"the winner has {text.name(shown)} {of(winner)}{f' {objective.unit}' if objective.unit else ''}"]
    if usual:
        parts.append(f"{usual.name}, the best reference, {compared(usual)}")
    if tuned:
        took = text.duration(tuned.spent_s)
        parts.append(f"{tuned.name} given as long as the whole search, {took} of trials, {compared(tuned)}")
    return "; ".join(parts)


def against(search: Study, studies: Sequence[Study]) -> str | None:
    """The verdict on a search; None where no references were trained."""
    trained = referring(search, studies)
    return verdict(standings(search, trained), trained.objectives[0]) if trained else None


def _compared(winner: Mean, other: Mean, objective: Objective) -> str:
    """Whether the winner is better, and whether that is more than chance (Welch, 95 %)."""
    gain = objective.loss(other.value) - objective.loss(winner.value)
    share = f" by {text.percent(abs(gain) / abs(other.value))}" if other.value else ""
    if abs(gain) <= 1e-9 * abs(other.value):
        return "the same"
    word = f"the winner is {'better' if gain > 0 else 'worse'}{share}"
    if min(winner.n, other.n) < 2:
        return f"{word}, one seed says little"
    return word if abs(gain) > _by_chance(winner, other) else f"{word}, within chance"


def _by_chance(one: Mean, other: Mean) -> float:
    """How far two means lie apart by chance, in 95 % of cases (Welch, with the degrees of freedom of Satterthwaite)."""
    squares = one.error**2, other.error**2
    if not sum(squares):
        return 0.0
    freedom = sum(squares) ** 2 / (squares[0] ** 2 / (one.n - 1) + squares[1] ** 2 / (other.n - 1))
    return quantile(freedom) * math.sqrt(sum(squares))
