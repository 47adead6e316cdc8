"""Predictions of any points: honest, repeatable, outside the space as well, by Python, DataFrame and table."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from matloop.orchestrator.errors import MatloopError, NoPrediction, RejectedPoints
from matloop.orchestrator.lab import Lab, Result, asked
from matloop.orchestrator.lab.predictions import MOST
from tests.orchestrator.lab.files import alloy

pandas = pytest.importorskip("pandas")

SPACE = {
    "temperature": {"type": "float", "low": 600.0, "high": 1000.0, "unit": "°C"},
    "gas": {"type": "categorical", "choices": ["argon", "air"]},
}
OBJECTIVES = {"hardness": {"direction": "maximise", "unit": "HV"}}
STRATEGY = {"kind": "bayesian", "surrogate": "gp", "initial": 6}


def truth(temperature: float, gas: str) -> float:
    return 300 - (temperature - 800) ** 2 / 400 + (20 if gas == "air" else 0)


def results(temperatures=(620, 700, 760, 840, 900, 980)) -> list[Result]:
    return [
        Result(point={"temperature": t, "gas": gas}, values={"hardness": truth(t, gas)})
        for t in temperatures
        for gas in ("argon", "air")
    ]


@pytest.fixture
def lab(tmp_path: Path):
    with Lab.create(tmp_path / "furnace", space=SPACE, objectives=OBJECTIVES, strategy=STRATEGY) as lab:
        lab.tell(results())
        yield lab


def test_what_was_not_measured_is_foretold(lab):
    held_out = [{"temperature": t, "gas": gas} for t in (660, 730, 800, 870, 940) for gas in ("argon", "air")]
    found = lab.predict(held_out)
    true = np.array([truth(**point) for point in held_out])
    assert np.abs(found["hardness predicted"] - true).max() < 5  # of a range of 120
    assert ((found["hardness low"] < true) & (true < found["hardness high"])).mean() >= 0.8
    assert list(found.columns) == [
        *("temperature", "gas", "hardness predicted", "hardness low", "hardness high", "outside")
    ]
    assert (found["outside"] == "").all()


def test_the_same_record_gives_the_same_predictions(lab, tmp_path):
    points = [{"temperature": 711.0, "gas": "air"}, {"temperature": 1100.0, "gas": "argon"}]
    first, before = lab.forecast(points), lab.history.last_seq
    lab.recommend(2)
    assert lab.forecast(points) == first and lab.history.last_seq == before + 2
    with Lab.open(tmp_path / "furnace") as other:
        assert other.forecast(points) == first
        other.tell(results((650,)))
        assert other.forecast(points) != first
    assert lab.forecast(points) != first, "what others told counts"


def test_outside_the_space_is_predicted_and_said(lab):
    inside, hot, cold = lab.forecast([{"temperature": t, "gas": "air"} for t in (1000, 1100, 500)])
    assert (inside.outside, hot.outside, cold.outside) == (
        "",
        "temperature above 1000 °C",
        "temperature below 600 °C",
    )
    width = [one.interval["hardness"][1] - one.interval["hardness"][0] for one in (inside, hot, cold)]
    assert all(np.isfinite(width))


def test_failures_that_were_learnt_are_told(lab):
    assert lab.forecast([{"temperature": 990, "gas": "air"}])[0].works is None
    lab.tell([Result(point={"temperature": t, "gas": "air"}, failure="cracked") for t in (960.0, 970.0, 990.0, 1000.0)])
    good, bad = lab.predict([{"temperature": t, "gas": "air"} for t in (700, 985)])["works"]
    assert 0 <= bad < 0.5 < good <= 1


def test_a_frame_keeps_its_index_and_gives_back_what_recommend_gave(lab):
    frame = pandas.DataFrame({"gas": ["air", "argon"], "temperature": [700, 800]}, index=["a", "b"])
    found = lab.predict(frame.assign(remark="x"))
    assert list(found.index) == ["a", "b"] and list(found["temperature"]) == [700, 800]
    asked_for = lab.recommend_frame(2)
    again = lab.predict(asked_for)
    assert list(again.index) == list(asked_for.index)
    np.testing.assert_allclose(again["hardness predicted"], asked_for["hardness predicted"], rtol=1e-9)
    np.testing.assert_allclose(again["hardness low"], asked_for["hardness low"], rtol=1e-6)


def test_what_is_missing_or_no_value_is_named(lab):
    with pytest.raises(MatloopError, match=r"column for each input \(temperature, gas\), got none for gas; add"):
        lab.predict(pandas.DataFrame({"temperature": [700.0]}))
    with pytest.raises(RejectedPoints) as caught:
        lab.forecast([{"temperature": "hot", "gas": "air"}, {"temperature": 1, "gas": "neon", "time": 3}, {}])
    assert [(p.row, p.column) for p in caught.value.problems] == [
        *((0, "temperature"), (1, "time"), (1, "gas"), (2, "temperature"), (2, "gas"))
    ]
    assert "nothing was predicted" in str(caught.value) and "expected one of argon, air, got 'neon'" in str(
        caught.value
    )
    with pytest.raises(RejectedPoints, match="got none"):
        lab.predict(pandas.DataFrame({"temperature": [np.nan], "gas": ["air"]}))
    with pytest.raises(MatloopError, match="in parts"):
        lab.forecast([{"temperature": 700, "gas": "air"}] * (MOST + 1))
    assert lab.forecast([]) == []


def test_too_few_results_and_strategies_without_a_model_say_so(tmp_path):
    with Lab.create(tmp_path / "young", space=SPACE, objectives=OBJECTIVES, strategy=STRATEGY) as lab:
        lab.tell(results((700, 800)))
        with pytest.raises(NoPrediction, match="at least 6 experiments with results before bayesian predicts, got 4"):
            lab.forecast([{"temperature": 700, "gas": "air"}])
    with (
        Lab.create(tmp_path / "blind", space=SPACE, objectives=OBJECTIVES, strategy="random") as lab,
        pytest.raises(NoPrediction, match="Random has no model that predicts; use the strategy bayesian"),
    ):
        lab.forecast([{"temperature": 700, "gas": "air"}])


def test_the_ledger_is_free_while_the_model_thinks(lab, tmp_path):
    asked_now, answered = threading.Event(), threading.Event()

    def slow(strategy):
        asked_now.set()
        assert answered.wait(60)
        return strategy.predict([{"temperature": 700, "gas": "air"}])

    thread = threading.Thread(target=lambda: lab.foresee(slow))
    thread.start()
    assert asked_now.wait(60)
    with Lab.open(tmp_path / "furnace") as other:
        other.tell(results((650,)))
    lab.tell(results((660,)))
    answered.set()
    thread.join()


def test_active_learning_predicts_as_well(tmp_path):
    strategy = {"kind": "active_learning", "surrogate": "gp", "initial": 6}
    with Lab.create(tmp_path / "learn", space=SPACE, objectives=OBJECTIVES, strategy=strategy) as lab:
        lab.tell(results())
        (one,) = lab.forecast([{"temperature": 800, "gas": "air"}])
        assert abs(one.mean["hardness"] - 320) < 10 and one.works is None


def test_mixtures_may_leave_out_what_is_absent_and_conditions_hold(tmp_path):
    file = alloy(tmp_path)
    file.write_text(file.read_text().replace("strategy: space_filling", "strategy: {kind: bayesian, initial: 4}"))
    with Lab.open(file) as lab:
        rng = np.random.default_rng(0)
        for _ in range(6):
            point = lab.space.sample(rng)
            lab.tell([Result(point=point, values={"strength": 100 + point["Fe"], "cost_index": point["Co"]})])
        full = {"temperature": 800, "hours": 4, "crucible": "alumina", "Fe": 0.5, "Co": 0.5, "Ni": 0.0}
        short = {name: value for name, value in full.items() if name != "Ni"}
        wrong = {**full, "Fe": 0.9}
        a, b, c = lab.forecast([full, short, wrong])
        assert a.mean == b.mean and set(a.mean) == {"strength", "cost_index"}
        assert a.outside == b.outside == "" and "Fe + Co + Ni to be 1, got 1.4" in c.outside
        with pytest.raises(RejectedPoints, match="coating"):
            lab.forecast([{**full, "crucible": "graphite"}])


TABLE = "temperature (°C);gas;hardness (HV);# mine\n712,5;Air;;x\n\n1 040;argon;400;y\n"


def test_a_table_is_read_as_recommend_wrote_it(lab):
    points = asked.read(lab.write_csv(lab.recommend(2)), lab.layout)
    assert [p["gas"] for p in points] == [t.point["gas"] for t in lab.pending()]
    for point, trial in zip(points, lab.pending(), strict=True):
        assert point["temperature"] == pytest.approx(trial.point["temperature"], rel=1e-6)
    decimal_comma = TABLE.replace("1 040", "1040").encode()
    assert asked.read(decimal_comma, lab.layout) == [
        {"temperature": 712.5, "gas": "air"},
        {"temperature": 1040.0, "gas": "argon"},
    ]


@pytest.mark.parametrize(
    ("table", "place", "text"),
    [
        ("temperature (°C)\n700\n", (1, ""), "got none for gas; add what is missing"),
        ("temperature (K),gas\n700,air\n", (1, "temperature (K)"), "expected temperature in '°C', got 'K'"),
        ("temperature,gas\n700,neon\n", (2, "gas"), "expected one of argon, air"),
        ("temperature,gas\n700,\n", (2, "gas"), "expected a value of gas, got none"),
        ("temperature,gas,temperature\n700,air,1\n", (1, "temperature"), "each column once"),
        ("temperature,gas,wind\n700,air,1\n", (1, "wind"), "there is no such column"),
        ("", (1, ""), "expected titles and rows, got an empty table"),
        ("temperature,gas\n", (1, ""), "expected a table with titles"),
    ],
)
def test_what_is_wrong_with_a_table_is_placed(lab, table, place, text):
    with pytest.raises(RejectedPoints) as caught:
        asked.read(table.encode(), lab.layout, source="points.csv")
    problem = caught.value.problems[0]
    assert (problem.row, problem.column) == place and text in problem.text and "in points.csv" in str(caught.value)
