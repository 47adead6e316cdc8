"""What happened, first: the campaign's state, its counts, and one plain sentence for each study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.references import is_of_references
from matloop.orchestrator.report import text
from matloop.orchestrator.report.sections import predictions
from matloop.orchestrator.report.sections.occupancy import occupancy
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import in_full, limited

State = Literal["empty", "open", "interrupted", "finished"]

WAITING = "waiting for results"
"""How a session of a lab ends: people have work to do."""

DEEDS = {
    "random": ("{n} was drawn at random", "{n} were drawn at random"),
    "space_filling": ("{n} was placed evenly over the space", "{n} were placed evenly over the space"),
    "evolution": ("evolution bred {n}", "evolution bred {n}"),
    "successive_halving": ("{n} was measured with rising effort", "{n} were measured with rising effort"),
    "active_learning": ("active learning chose {n}", "active learning chose {n}"),
    "gp_hedge": ("GP-Hedge chose {n}", "GP-Hedge chose {n}"),
    "bayesian": ("Bayesian optimisation chose {n}", "Bayesian optimisation chose {n}"),
    "confirmation": ("{n} was measured again", "{n} were measured again"),
    "references": ("{n} was trained as a reference", "{n} were trained as references"),
    "inverse_design": ("inverse design chose {n}", "inverse design chose {n}"),
    "gradient_ascent": ("gradient ascent chose {n}", "gradient ascent chose {n}"),
    "image_model": ("a model of the image chose {n}", "a model of the image chose {n}"),
    "trust_region": ("a trust region chose {n}", "a trust region chose {n}"),
    "topology_optimisation": ("every pixel of {n} was optimised", "every pixel of {n} was optimised"),
    "optuna": ("an Optuna sampler chose {n}", "an Optuna sampler chose {n}"),
}


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the headline and what it counts."""

    value: str
    label: str


def state(history: History, studies: list[Study]) -> State:
    """Where the campaign stands, as far as its ledger can tell."""
    if not history.sessions:
        return "empty"
    if studies and all(s.ended is not None for s in studies):
        return "finished"
    return "open" if history.sessions[-1].ended is None else "interrupted"


def state_sentence(history: History, studies: list[Study]) -> str:
    """The state in words, and whether the record is whole."""
    damage = (
        f" The ledger is damaged ({history.damage}): only the {history.last_seq} events before that are shown. "
        "`matloop repair` makes a copy with all that can be read."
    )
    return _state_sentence(history, studies) + (damage if history.damage else "")


def _state_sentence(history: History, studies: list[Study]) -> str:
    at = text.moment(history.sessions[-1].last_at) if history.sessions else ""
    reason = history.sessions[-1].ended if history.sessions else ""
    waiting = sum(len(s.running) for s in studies)
    if reason == WAITING and waiting:
        return f"Waiting for {text.plural(waiting, 'result')} since {at}."
    if reason in ("nothing answered", "failures in a row"):
        return f"Ended {at} without success: {reason}. Put the cause right, and the same command goes on."
    return {
        "empty": "Nothing has been run yet.",
        "finished": f"Finished {at}.",
        "interrupted": f"Stopped {at} ({reason}) before all studies ended; the same command resumes it.",
        "open": f"Running, or killed: the last record is of {at}.",
    }[state(history, studies)]


def tiles(history: History) -> list[Tile]:
    """Counts and times of the whole campaign."""
    answered = sum(t.state == "answered" for t in history.trials)
    failed = sum(t.state == "failed" for t in history.trials)
    running = sum(t.state == "running" for t in history.trials)
    found = [Tile(f"{answered:,}", "measured"), Tile(f"{failed:,}", "failed")]
    if running:
        found.append(Tile(f"{running:,}", "open"))
    if history.lost:
        found.append(Tile(f"{len(history.lost):,}", "attempts lost"))
    found.append(Tile(text.duration(sum(max(0.0, s.last_at - s.opened_at) for s in history.sessions)), "running time"))
    slots = occupancy(history)
    if slots.lanes:
        found.append(Tile(text.percent(slots.busy), f"of {text.plural(slots.lanes, 'slot')} busy"))
    if len(history.sessions) > 1:
        found.append(Tile(str(len(history.sessions) - 1), "resumed" if len(history.sessions) > 2 else "resume"))
    return found


def sentence(study: Study) -> str:
    """What happened in a study."""
    if not study.finished:
        return f"{text.plural(len(study.running), 'trial').capitalize()} proposed, none finished yet."
    one, many = DEEDS.get(study.kind("strategy"), ("{n} was tried", "{n} were tried"))
    own = sum(t.extra.get("origin") == "reported" for t in study.finished)
    n = sum(t.extra.get("origin") != "promotion" for t in study.finished) - own
    deed = (one if n == 1 else many).format(n=text.plural(n, *study.noun))
    if own:
        deed += f", people added {own:,} of their own"
    failed = f"; {len(study.failed):,} failed" if study.failed and study.answered else ""
    if not study.answered:
        return _capital(f"{deed}; {'it' if n == 1 else 'every one'} failed.")
    if study.kind("strategy") == "successive_halving":
        failed = f", {sum(map(in_full, study.answered)):,} of them in full{failed}"
    return _capital(f"{deed}{failed}. {_outcome(study)}".strip())


def _outcome(study: Study) -> str:
    if is_of_references(study.config):
        return "How they did stands with the search."
    best = study.best()
    if best is None or best.values is None:
        told = " and ".join(f"{text.name(o)} {o.limits}" for o in limited(study.objectives))
        return f"None of them is known to have {told} yet." if told else ""
    objective = study.objectives[0]
    value = best.values[objective.name]
    said = text.measured(objective, best)
    if study.kind("strategy") == "active_learning" and (learnt := _learnt(study)):
        return learnt
    values = study.values(objective)
    word = text.name(objective)
    if study.kind("strategy") in ("random", "space_filling") and len(values) > 1:
        unit = f" {objective.unit}" if objective.unit else ""
        return (
            f"Their {word} is {text.spread(float(values.mean()), float(values.std(ddof=1)))}{unit} (mean ± standard "
            f"deviation), the best {said}."
        )
    first = values[0]
    share = (value - first) / abs(first) if first else np.nan
    came = ", the first to be measured" if value == first and len(values) > 1 else ""
    if not came and len(values) > 1 and np.isfinite(share):
        came = f" ({text.percent(share, sign=True)} against the first)"
    kept = [f"{text.name(o)} {text.measured(o, best)}" for o in limited(study.objectives) if o is not objective]
    within = f" and keeps the limits ({', '.join(kept)})" if kept else ""
    partial = "" if in_full(best) else ", but none was measured in full yet; a larger budget gets there"
    return f"The best, trial {best.id}, has {word} {said}{came}{within}{partial}."


def _learnt(study: Study) -> str:
    pairs = predictions.pairs(study, study.objectives[0])
    error = np.abs(pairs.measured - pairs.mean)
    if len(error) < 8:
        return ""
    half = len(error) // 2
    early, late = float(error[:half].mean()), float(error[half:].mean())
    verb = "fell" if late < early else "rose"
    return (
        f"The mean error of its predictions, each made before the measurement, {verb} from {text.number(early)} in the "
        f"first half to {text.number(late)} in the second."
    )


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
