"""What the report tells of a lab: why each was proposed, whether to go on, who overrode what, what failed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.report import headline
from matloop.orchestrator.report.content import Account, Figure, Prose, Table
from matloop.orchestrator.report.sections import failures, occupancy, overrides, predictions, prospects, reasons
from matloop.orchestrator.report.study import Study, studies
from matloop.orchestrator.trial import Answer, Failure, Objective, Prediction, Proposal, Trial
from tests.orchestrator.report.test_report_page import HOSTILE, parse, render

CONFIG: dict[str, Any] = {
    "name": "bench",
    "studies": {
        "bench": {
            "space": {"kind": "box"},
            "driver": {"kind": "manual"},
            "strategy": {"kind": "bayesian"},
            "objectives": {"yield": {"direction": "maximise", "unit": "%"}},
        }
    },
}
POINT = {"temperature": 870.0, "solvent": "DMF"}


def explained(n: int, feasible: float | None = None, probability: float = 0.5) -> Proposal:
    """A proposal as a model-based strategy makes it."""
    return Proposal(
        point={**POINT, "temperature": 870.0 + n},
        prediction=Prediction(mean={"yield": 50.0}, std={"yield": 2.0}),
        reason="predicted 50 ± 2 %",
        extra={
            "explanation": {
                "text": "among known experiments",
                "interval": {"yield": [46.7, 53.3]},
                "novelty": {"distance": 0.5, "typical": 0.25, "text": "somewhat beyond what was tried"},
                "nearest": [{"trial": 3, "distance": 0.5, "values": {"yield": 48.0}}],
                "drivers": [
                    {"parameter": "temperature", "effect": 4.0, "objective": "yield"},
                    {"parameter": "solvent", "effect": -1.0, "objective": "yield"},
                ],
                "acquisition": {
                    "name": "log_ei",
                    "value": -1.0,
                    "text": "its expected improvement is 2 times the next best candidate's",
                    "runner_up": {"point": {**POINT, "temperature": 900.0}, "value": -1.7},
                },
                "feasible": feasible,
            },
            "outlook": {
                "probability_better": probability,
                "delta": 1.0,
                "expected_gain": 3 * probability,
                "q": 1,
                "expected_gain_per_cost": 3 * probability,
                "objective": "yield",
                "text": f"the chance is {100 * probability:.0f} %",
            },
        },
    )


@pytest.fixture
def bench(tmp_path: Path) -> History:
    """A day: three as recommended, one deviation, one failure, one cancelled, one corrected, one of their own."""
    ledger = Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={}, clock=lambda: 1000.0)

    def answer(value: float | None, by: str, at: float, failure: Failure | None = None) -> Answer:
        values = None if value is None else {"yield": value}
        return Answer(values=values, failure=failure, started_at=at - 5, finished_at=at, worker=by)

    for n in range(6):
        ledger.propose("bench", explained(n, feasible=0.9, probability=0.9 - 0.15 * n), seed=n, ask=n)
    trials = list(ledger.history.trials)
    ledger.answer(trials[0], answer(50.0, "Ana", 10.0))
    ledger.answer(trials[1], answer(60.0, "Ben", 20.0))
    ledger.answer(trials[2], answer(None, "Ana", 30.0, Failure(cause="experiment", message="pellet cracked")))
    done = {"temperature": 850.0, "solvent": "DMF"}
    ledger.answer(trials[3], answer(44.0, "Chen", 40.0), point=done)
    ledger.cancel(trials[4], at=50.0, worker="Ana", reason=HOSTILE)
    own = ledger.report("bench", {**POINT, "solvent": "water"}, seed=9, extra={"origin": "reported"})
    ledger.answer(own, answer(30.0, "Ben", 60.0))
    ledger.amend(ledger.history.trials[0], answer(52.0, "Chen", 10.0))
    ledger.close("waiting for results")
    return read(tmp_path / "ledger.db")


def only(history: History) -> Study:
    (study,) = studies(history)
    return study


def test_every_explained_trial_has_an_account_with_its_outcome(bench: History) -> None:
    section = reasons.section(only(bench))
    assert section is not None
    accounts = {b.title: b for b in section.blocks if isinstance(b, Account)}
    assert list(accounts) == ["Trial 5", "Trial 4", "Trial 3", "Trial 2", "Trial 1, the best", "Trial 0"]
    outcomes = {title: account.outcome for title, account in accounts.items()}
    assert outcomes == {
        "Trial 5": "waiting for its result",
        "Trial 4": "not done",
        "Trial 3": "measured 44 %, done differently",
        "Trial 2": "failed: pellet cracked",
        "Trial 1, the best": "measured 60 % (outside its interval)",
        "Trial 0": "measured 52 % (as expected)",
    }
    facts = dict(accounts["Trial 0"].facts)
    assert facts["Expected"] == "yield 50 %, 90\u202f% between 46.7 and 53.3"
    assert facts["Nearest"] == "trial 3 (48 %, 2 usual distances away)"
    assert facts["Feasible"] == "90\u202f% chance to work"
    assert "temperature = 900" in facts["Choice"]
    assert [(b.label, b.value, b.share) for b in accounts["Trial 0"].bars] == [
        ("temperature", "+4 %", 1.0),
        ("solvent", "−1 %", -0.25),
    ]
    assert dict(accounts["Trial 3"].facts)["Done instead"] == "temperature = 850, solvent = DMF"
    assert accounts["Trial 3"].where == "temperature = 873, solvent = DMF"


def test_of_many_the_latest_and_the_best_are_shown() -> None:
    objective = Objective("yield", "maximise", "%")
    proposal = explained(0)
    trials = [
        Trial(id=i, study="s", number=i, point={"temperature": 600.0 + i}, seed=0, state="answered",
              values={"yield": float(-i)}, prediction=proposal.prediction, extra=proposal.extra)
        for i in range(100)
    ]  # fmt: skip
    study = Study(name="s", config={}, objectives=(objective,), finished=trials, running=[], ended=None)
    section = reasons.section(study)
    assert section is not None
    assert isinstance(section.blocks[0], Prose) and "The latest 40 of 100 and the best." in section.blocks[0].text
    titles = [b.title for b in section.blocks if isinstance(b, Account)]
    assert len(titles) == 40 and titles[0] == "Trial 99" and titles[-1] == "Trial 0, the best"


def test_trials_without_an_explanation_are_passed_over() -> None:
    plain = [Trial(id=0, study="s", number=0, point=POINT, seed=0, extra={"explanation": "none"})]
    study = Study(name="s", config={}, objectives=(), finished=[], running=plain, ended=None)
    assert reasons.section(study) is None
    assert prospects.section(study) is None


def test_the_outlook_is_drawn_over_the_experiments(bench: History) -> None:
    study = only(bench)
    found = prospects.recorded(study)
    assert [n for n, _ in found] == [1, 2, 3, 4, 5, 6]
    assert [one["probability_better"] for _, one in found] == pytest.approx([0.9, 0.75, 0.6, 0.45, 0.3, 0.15])
    section = prospects.section(study)
    assert section is not None and isinstance(section.blocks[0], Figure)
    assert "the chance is 15 %" in section.blocks[0].caption


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"objective": "hypervolume", "probability_better": 0.2}, "of the hypervolume"),
        ({"objective": "target", "probability_better": 0.2}, "points in range"),
        ({"objective": "hardness", "uncertainty": 7.0}, "mean uncertainty"),
    ],
    ids=["front", "target", "learning"],
)
def test_other_aims_have_a_drawing_too(bench: History, about: dict[str, Any], expected: str) -> None:
    study = only(bench)
    ahead = {"expected_gain": 0.1, "expected_gain_per_cost": 0.1, "q": 1, "text": "so it goes", **about}
    finished = [replace(t, extra={**t.extra, "outlook": ahead}) for t in study.finished]
    section = prospects.section(replace(study, finished=finished, running=[], cancelled=[]))
    assert section is not None and isinstance(section.blocks[0], Figure)
    assert "so it goes" in section.blocks[0].caption
    assert ("green band" in section.blocks[0].caption) == ("uncertainty" not in about)
    assert expected in section.blocks[0].svg


def test_a_prediction_for_another_point_is_not_held_against_the_model(bench: History) -> None:
    study = only(bench)
    assert predictions.pairs(study, study.objectives[0]).ids == [0, 1]
    assert np.isfinite(predictions.pairs(study, study.objectives[0]).std).all()


def test_overrides_say_who_did_what(bench: History) -> None:
    found = overrides.overrides(bench)
    assert [(o.kind, o.trial, o.by) for o in found] == [
        ("deviated", 3, "Chen"),
        ("cancelled", 4, "Ana"),
        ("reported", 6, "Ben"),
        ("amended", 0, "Chen"),
    ]
    assert found[0].what == "temperature 873 → 850"
    assert found[3].what == "yield = 50 → yield = 52"
    section = overrides.section(bench)
    assert section is not None and isinstance(section.blocks[0], Table)
    assert len(section.blocks[0].rows) == 4
    assert "1 time corrected a result" in section.blocks[0].caption


def test_two_corrections_of_one_result_are_two_rows(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={})
    trial = ledger.propose("bench", Proposal(point=POINT), seed=0, ask=0)
    for n, value in enumerate((1.0, 2.0, 3.0)):
        answer = Answer(values={"yield": value}, started_at=0.0, finished_at=1.0, worker=f"w{n}")
        (ledger.amend if n else ledger.answer)(ledger.history.trials[trial.id], answer)
    found = overrides.overrides(ledger.history)
    ledger.close("done")
    assert [(o.what, o.by) for o in found] == [("yield = 1 → yield = 2", "w1"), ("yield = 2 → yield = 3", "w2")]


def test_a_campaign_without_people_has_no_overrides(history: History) -> None:
    assert overrides.section(history) is None


def test_what_is_not_done_is_not_a_failure_and_people_are_no_slots(bench: History) -> None:
    study = only(bench)
    assert [t.id for t in study.failed] == [2] and [t.id for t in study.cancelled] == [4]
    assert occupancy.section(bench) is None
    assert headline.state_sentence(bench, [study]) == "Waiting for 1 result since 1970-01-01 00:16:40 UTC."
    assert "chose 4 points, people added 1 of their own; 1 failed" in headline.sentence(study)


def test_failures_are_counted_by_cause_beside_what_was_foreseen(bench: History) -> None:
    section = failures.section(bench)
    assert section is not None and isinstance(section.blocks[0], Prose) and isinstance(section.blocks[1], Table)
    assert "3 recommendations came with a stated chance to work, 90\u202f% on average; 67\u202f% of them did" in section.blocks[0].text  # fmt: skip  # noqa: E501
    assert section.blocks[1].rows[0][2] == "experiment"
    crash = Failure(cause="crash", message="died")
    trials = [*bench.trials, replace(bench.trials[2], id=7, failure=crash)]
    mixed = failures.section(History(trials=trials))
    assert mixed is not None and isinstance(mixed.blocks[1], Table)
    assert "By cause: experiment 1, crash 1." in mixed.blocks[1].caption


def test_the_page_of_a_lab_holds_together(bench: History, tmp_path: Path) -> None:
    html = render(bench, tmp_path)
    reader = parse(html)
    words = " ".join(reader.words)
    for expected in ("Why each was proposed", "Is it worth going on?", "Who overrode what", "pellet cracked"):
        assert expected in words
    assert reader.tags["details"] >= 6 and "<script>alert" not in html
    assert re.search(r'<i class="less"><i style="width: 12%"></i></i>', html)
