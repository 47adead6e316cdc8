"""What people type, and what the pages make of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matloop.orchestrator.lab import Lab
from matloop.orchestrator.lab.fields import fields_of, shown
from matloop.orchestrator.lab.numbers import number
from matloop.orchestrator.trial import Objective, Prediction, Trial
from matloop.orchestrator.web import plots
from matloop.orchestrator.web.forms import outcome, read
from matloop.orchestrator.web.svg import Scale, labelled
from matloop.search_spaces.experiment.space import Experiment
from matloop.search_spaces.pool import Pool
from tests.orchestrator.web.conftest import form_token

ALLOY = {
    "parameters": {
        "temperature": {"type": "float", "low": 600, "high": 1000, "step": 10, "unit": "K"},
        "quench": {"type": "categorical", "choices": ["water", "oil"]},
        "oil_temperature": {"type": "float", "low": 20, "high": 80, "when": {"quench": ["oil"]}},
    },
    "mixtures": {"alloy": {"components": ["Fe", "Co", "Ni"], "total": 100, "unit": "at%"}},
}
HARDNESS = Objective("hardness", "maximise", "HV")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("61.5", 61.5),
        ("61,5", 61.5),
        (" 61,5 % ", 61.5),
        ("61.5%", 61.5),
        ("-3e-2", -0.03),
        ("−4", -4.0),
        ("0,125", 0.125),
        ("1234,5", 1234.5),
        (".5", 0.5),
        ("5.", 5.0),
    ],
)
def test_numbers_as_people_write_them(written, value):
    assert number(written, "%") == value


@pytest.mark.parametrize(
    "written", ["", "x", "5 mg", "1 2", "nan", "inf", "1e999", "--5", "0x10", "1_000", "5,5,5", "٣"]
)
def test_what_is_no_number(written):
    with pytest.raises(ValueError, match="expected a number in %"):
        number(written, "%")


def test_a_number_that_may_be_two_is_refused_with_both():
    with pytest.raises(ValueError, match=r"write 1234 or 1\.234"):
        number("1,234")
    assert number("1,234,567") == 1234567  # which is one


@given(st.floats(-1e300, 1e300))
def test_what_is_shown_can_be_typed(value):
    assert number(shown(value)) == pytest.approx(value, rel=1e-4)
    assert number(repr(value)) == value


def test_inputs_of_every_kind_of_space(tmp_path):
    found = {f.name: f for f in fields_of(Experiment(**ALLOY))}
    assert list(found) == ["temperature", "quench", "oil_temperature", "Fe", "Co", "Ni"]
    assert found["temperature"].hint == "600 to 1000 in steps of 10" and found["Fe"].default == 0.0
    assert found["quench"].read("oil") == "oil" and found["oil_temperature"].when == {"quench": ("oil",)}
    rows = [{"n": 1, "x": 0.5, "salt": "KCl"}, {"n": 2, "x": 1.5, "salt": "NaCl"}]
    kinds = {f.name: f.kind for f in fields_of(Pool(points=rows))}
    assert kinds == {"n": "integer", "x": "number", "salt": "choice"}


def fill(planned=None, what="value", **texts):
    filled = read({name.replace("__", "."): text for name, text in texts.items()})
    return filled, outcome(filled, what, fields_of(Experiment(**ALLOY)), (HARDNESS,), planned)


PLANNED = Trial(
    id=7,
    study="s",
    number=7,
    seed=0,
    point={"temperature": 700.0, "quench": "oil", "oil_temperature": 33.3333333, "Fe": 60.0, "Co": 40.0, "Ni": 0.0},
)


def test_an_empty_form_for_the_inputs_means_as_planned():
    _, result = fill(PLANNED, value__hardness="412 HV", noise__hardness="3")
    assert (result.trial, result.point, result.values, result.noise) == (7, None, {"hardness": 412}, {"hardness": 3})


def test_what_was_done_differently_is_put_into_the_plan():
    _, result = fill(PLANNED, value__hardness="412", point__temperature="710")
    assert result.point == {**PLANNED.point, "temperature": 710}


def test_an_input_that_no_longer_applies_is_left_out_and_one_that_does_is_asked_for():
    _, result = fill(PLANNED, value__hardness="412", point__quench="water")
    assert "oil_temperature" not in result.point
    watered = Trial(id=8, study="s", number=8, seed=0, point=result.point)
    filled, result = fill(watered, value__hardness="412", point__quench="oil")
    assert result is None and filled.problems == {"point.oil_temperature": "expected a value"}


def test_an_experiment_of_ones_own_needs_all_inputs_but_absent_components():
    filled, result = fill(value__hardness="412", point__temperature="700", point__quench="water", point__Fe="100")
    assert result.point == {"temperature": 700, "quench": "water", "Fe": 100, "Co": 0, "Ni": 0} and not filled.problems
    filled, result = fill(value__hardness="412", point__quench="water")
    assert result is None and set(filled.problems) == {"point.temperature"}


def test_a_value_and_a_failure_are_too_much_and_neither_too_little():
    assert (
        fill(PLANNED, "either", value__hardness="1", failure="cracked")[0]
        .problems["failure"]
        .endswith("clear one of them")
    )
    assert set(fill(PLANNED, "either")[0].problems) == {"value.hardness"}
    assert set(fill(PLANNED, "failure")[0].problems) == {"failure"}
    assert fill(PLANNED, "either", failure="cracked")[1].failure == "cracked"


def test_reporting_the_same_form_twice_records_once(client, lab):
    csrf = form_token(client.get("/").text)
    submission = re.search(r'name="submission" value="(\w+)"', client.get("/").text).group(1)
    data = {"csrf": csrf, "submission": submission, "point.temperature": "400", "point.solvent": "water"}
    data |= {"point.hours": "3", "value.yield": "9", "by": "Ana"}
    for _ in range(2):
        assert "The result of experiment 0 is recorded." in client.post("/experiments", data=data).text
    assert len(lab.trials()) == 1 and lab.trials()[0].worker == "Ana"


def test_a_result_that_somebody_else_has_reported_meanwhile(client, lab):
    csrf = form_token(client.get("/").text)
    lab.recommend(1)
    data = {"csrf": csrf, "value.yield": "9", "by": "Ana"}
    client.post("/experiments/0/result", data=data)
    again = client.post("/experiments/0/result", data={**data, "value.yield": "10", "by": "Ben"})
    assert again.status_code == 422 and "was answered by Ana already with 9, got 10" in again.text
    assert "Correct this result" in again.text and "--amend" not in again.text
    client.post("/experiments/0/amend", data={**data, "value.yield": "10", "by": "Ben"})
    page = client.get("/experiments/0").text
    assert "corrected: 10 %" in page and "9 %" in page and lab.trials()[0].values == {"yield": 10}


def test_a_correction_does_not_undo_one_that_it_has_not_seen(client, lab):
    csrf = form_token(client.get("/").text)
    lab.recommend(1)
    client.post("/experiments/0/result", data={"csrf": csrf, "value.yield": "9"})
    stale = re.search(r'name="seen" value="(\d+)"', client.get("/experiments/0").text).group(1)
    for by, value, status in (("Ana", "10", 200), ("Ben", "11", 422)):
        answer = client.post("/experiments/0/amend", data={"csrf": csrf, "seen": stale, "value.yield": value, "by": by})
        assert answer.status_code == status
    assert "Somebody has corrected it while this form was open" in answer.text and 'value="11"' in answer.text
    assert lab.trials()[0].values == {"yield": 10}
    fresh = re.search(r'name="seen" value="(\d+)"', answer.text).group(1)
    client.post("/experiments/0/amend", data={"csrf": csrf, "seen": fresh, "value.yield": "11", "by": "Ben"})
    assert lab.trials()[0].values == {"yield": 11}


def test_a_result_is_set_aside_and_given_back(client, lab):
    csrf = form_token(client.get("/").text)
    lab.recommend(1)
    client.post("/experiments/0/result", data={"csrf": csrf, "value.yield": "9", "note": "clear", "by": "Ana"})
    empty = client.post("/experiments/0/void", data={"csrf": csrf, "by": "Ben"})
    assert empty.status_code == 422 and "Reason: expected a reason, got none" in empty.text
    answer = client.post("/experiments/0/void", data={"csrf": csrf, "by": "Ben", "reason": "the wrong jar"})
    assert answer.status_code == 200 and "The result of experiment 0 is set aside" in answer.text
    trial = lab.trials()[0]
    assert (trial.state, trial.values) == ("cancelled", None)
    page = client.get("/experiments/0").text
    assert re.search(r"<b>9 %</b> by Ana.*<b>set aside</b> by Ben.*the wrong jar", page, re.DOTALL)
    assert "Set this result aside" not in page and "Correct this result" in page
    assert "set aside" in client.get("/history").text
    client.post(
        "/experiments/0/amend", data={"csrf": csrf, "value.yield": "9", "by": "Ana", "note": "it was the right one"}
    )
    assert lab.trials()[0].values == {"yield": 9}
    assert "corrected: 9 %" in client.get("/experiments/0").text


def test_a_correction_to_a_failure_and_a_skipped_experiment_that_was_done_after_all(client, lab):
    csrf = form_token(client.get("/").text)
    lab.recommend(2)
    client.post("/experiments/0/result", data={"csrf": csrf, "value.yield": "9"})
    client.post("/experiments/0/amend", data={"csrf": csrf, "failure": "it was the wrong jar"})
    client.post("/experiments/1/cancel", data={"csrf": csrf, "reason": "no salt", "by": "Ana"})
    assert [t.state for t in lab.trials()] == ["failed", "cancelled"]
    client.post("/experiments/1/amend", data={"csrf": csrf, "value.yield": "12"})
    assert [t.state for t in lab.trials()] == ["failed", "answered"] and lab.trials()[1].values == {"yield": 12}
    assert "no salt" in client.get("/experiments/1").text


def test_a_file_with_mistakes_is_named_by_row_and_column(client, lab):
    lab.recommend(2)
    csrf = form_token(client.get("/").text)
    content = "trial,yield (%),failed\n0,5,\n1,abc,\n"
    answer = client.post("/csv", data={"csrf": csrf, "by": "Ana"}, files={"file": ("r.csv", content, "text/csv")})
    assert answer.status_code == 422 and "row 3, yield (%)" in answer.text and lab.trials()[0].values is None
    fixed = client.post("/csv", data={"csrf": csrf}, files={"file": ("r.csv", content.replace("abc", ""), "text/csv")})
    assert "1 result recorded from the file." in fixed.text.lower() and lab.trials()[0].values == {"yield": 5}


def test_a_budget_that_is_spent_is_said_beside_the_button(visit, campaign, lab):
    campaign.write_text(campaign.read_text(encoding="utf-8").replace("100000", "2"), encoding="utf-8")
    client = visit()
    csrf = form_token(client.get("/").text)
    client.post("/recommend", data={"csrf": csrf, "n": "5"})
    assert len(lab.pending()) == 2
    assert "budget" in client.post("/recommend", data={"csrf": csrf, "n": "1"}).text
    assert "Expected a number from 1 to 100" in client.post("/recommend", data={"csrf": csrf, "n": "0"}).text


def test_progress_is_drawn_where_it_was_measured():
    def trial(i, value):
        values = None if value is None else {"hardness": value}
        prediction = Prediction(mean={"hardness": 10.0 * i}, std={"hardness": 1.0})
        return Trial(
            id=i, study="s", number=i, point={}, seed=0, state="answered", values=values, prediction=prediction
        )

    trials = [trial(i, v) for i, v in enumerate([1.0, 3.0, 2.0, 8.0, 40.0, 50.0])]
    svg = plots.progress(trials, HARDNESS)
    heights = [float(y) for y in re.findall(r'<circle class="dot" cx="[\d.]+" cy="([\d.]+)"', svg)]
    assert sorted(range(6), key=lambda i: -heights[i]) == [0, 2, 1, 3, 4, 5]  # larger values are higher up
    line = [tuple(map(float, p.split())) for p in re.search(r'class="best" d="M([^"]+)"', svg).group(1).split("L")]
    assert [y for _, y in line] == sorted((y for _, y in line), reverse=True)  # the best never gets worse
    _, sentence = plots.predictions(trials, HARDNESS)
    assert "3 of 6 of the 90 % intervals held: too few" in sentence
    assert 'style="' not in svg and plots.progress([], HARDNESS) is None


def test_ticks_are_round_and_within_the_range_and_labels_agree_with_them():
    for low, high in ((7.2, 18.4), (-0.03, 0.04), (0.998, 1.002), (1e-5, 5e-5), (-1e7, 1e7), (0.1234561, 0.1234569)):
        ticks = Scale(low, high, 0.0, 1.0).ticks(5)
        assert 3 <= len(ticks) <= 6 and ticks == sorted(set(ticks))
        slack = 1e-9 * (high - low)
        assert low - slack <= ticks[0] and ticks[-1] <= high + slack
        said = [float(t.replace("−", "-").replace(",", "")) for t in labelled(ticks)]
        assert said == pytest.approx(ticks, rel=1e-6, abs=1e-9 * (high - low))


def test_labs_that_are_not_there(tmp_path):
    from matloop.orchestrator.errors import MatloopError

    with pytest.raises(MatloopError):
        Lab.open(tmp_path / "none.yaml")
