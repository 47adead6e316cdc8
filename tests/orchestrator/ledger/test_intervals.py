"""Intervals with two sides are kept by the record, exported, and counted by it."""

from __future__ import annotations

import csv
from pathlib import Path

from matloop.orchestrator.export import trials as export
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.report.sections import predictions
from matloop.orchestrator.report.study import studies
from matloop.orchestrator.trial import Answer, Prediction, Proposal

CONFIG = {"name": "n", "studies": {"s": {"objectives": {"y": {"direction": "maximise", "unit": "", "scale": "log"}}}}}


def test_an_interval_with_two_sides_is_kept_exported_and_counted(tmp_path: Path) -> None:
    values = (5.1, 16.0, 18.0, 3.9, 5.0)  # of which the third alone is above, the fourth below
    with Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={}) as ledger:
        for value in values:
            prediction = Prediction(mean={"y": 8.0}, std={"y": 4.0}, interval={"y": (4.0, 16.0)})
            trial = ledger.propose("s", Proposal(point={"x": 1}, prediction=prediction), seed=0, ask=0)
            ledger.answer(trial, Answer(values={"y": value}, started_at=0.0, finished_at=1.0))
        ledger.propose(
            "s", Proposal(point={"x": 2}, prediction=Prediction(mean={"y": 8.0}, std={"y": 1.0})), seed=0, ask=1
        )
    history = read(tmp_path / "ledger.db")
    assert interval(history.trials[0], "y") == (4.0, 16.0)
    symmetric = interval(history.trials[5], "y")
    assert symmetric is not None and round(symmetric[0], 3) == round(8 - 1.6449, 3)
    assert history.trials[5].prediction == Prediction(mean={"y": 8.0}, std={"y": 1.0})
    (study,) = studies(history)
    assert study.objectives[0].scale == "log"
    found = predictions.pairs(study, study.objectives[0])
    assert (abs(found.z) <= 1.6449).tolist() == [True, True, False, False, True]
    export.trials_csv(history, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["predicted_low.y"], r["predicted_high.y"]) for r in rows] == [("4.0", "16.0")] * 5 + [("", "")]
