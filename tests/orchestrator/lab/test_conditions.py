"""What is measured and not set: never proposed, reported with results, learned, and recommended for as it is today."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.orchestrator.errors import ImpossibleWish, RejectedResults
from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.ledger import read as stored

SPACE = {
    "temperature": {"type": "float", "low": 0.0, "high": 100.0, "unit": "°C"},
    "gas": {"type": "categorical", "choices": ["argon", "air"]},
    "humidity": {"type": "float", "low": 0.0, "high": 100.0, "unit": "%", "uncontrolled": True},
}
BAYESIAN = {"kind": "bayesian", "surrogate": "gp", "initial": 4, "candidates": 64, "explain": False}


def opened(folder, space=SPACE, strategy=BAYESIAN):
    return Lab.create(folder / "lab", space=space, objectives={"y": "maximise"}, strategy=strategy)


def truth(temperature: float, humidity: float) -> float:
    """Best at a temperature that follows the humidity."""
    return 100 - ((temperature - humidity) / 25) ** 2


def measured(count=24, seed=0, name="humidity", scale=1.0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        t, h = rng.uniform(0, 100, 2)
        point = {"temperature": float(t), "gas": "air", name: float(h) * scale}
        yield Result(point=point, values={"y": truth(t, h)})


@pytest.fixture
def lab(tmp_path):
    with opened(tmp_path) as lab:
        yield lab


def test_it_is_never_proposed_and_reported_with_the_result(lab):
    first, second = lab.recommend(2)
    assert set(first.point) == {"temperature", "gas"}
    (told,) = lab.tell([Result(trial=first.id, values={"y": 1.0}, conditions={"humidity": 55})], by="Ada")
    assert told.conditions == {"humidity": 55.0} and told.planned is None and told.point == first.point
    (other,) = lab.tell([Result(trial=second.id, point={"humidity": 60}, values={"y": 2.0}, note="wet")])
    assert other.conditions == {"humidity": 60.0} and other.planned is None and other.info["note"] == "wet"
    (own,) = lab.tell([Result(point={"temperature": 20.0, "gas": "air", "humidity": 40}, values={"y": 2.0})])
    assert own.point == {"temperature": 20.0, "gas": "air"} and own.conditions == {"humidity": 40.0}
    assert stored(lab.directory / "ledger.db").trials == lab.trials()
    seq = lab.history.last_seq
    lab.tell([Result(trial=first.id, values={"y": 1.0}, conditions={"humidity": 55})])
    lab.tell([Result(trial=first.id, values={"y": 1.0})])
    assert lab.history.last_seq == seq
    with pytest.raises(RejectedResults, match="humidity: trial 0 was answered by Ada already with 55"):
        lab.tell([Result(trial=first.id, values={"y": 1.0}, conditions={"humidity": 56})])
    (corrected,) = lab.tell([Result(trial=first.id, values={"y": 3.0})], amend=True)
    assert corrected.values == {"y": 3.0} and corrected.conditions == {"humidity": 55.0}


@pytest.mark.parametrize("wrong", [{"humidity": "wet"}, {"humidity": float("nan")}, {"dew": 3.0}, {"humidity": True}])
def test_what_is_no_number_or_has_no_name_is_refused(lab, wrong):
    (trial,) = lab.recommend(1)
    with pytest.raises(RejectedResults):
        lab.tell([Result(trial=trial.id, values={"y": 1.0}, conditions=wrong)])
    assert lab.pending() == [trial]


@pytest.mark.parametrize("ends", [{"low": 0.0, "high": 100.0}, {}])
def test_the_model_learns_it_and_recommends_for_today(tmp_path, ends):
    scale = 1.0 if ends else 1e-3  # of a scale that nobody told
    space = {**SPACE, "humidity": {"uncontrolled": True, "type": "float", **ends}}
    with opened(tmp_path, space) as lab:
        lab.tell(list(measured(scale=scale)))
        for humidity in (20.0, 80.0):
            (trial,) = lab.recommend(1, given={"humidity": humidity * scale}, fixed={"gas": "air"})
            assert trial.point["temperature"] == pytest.approx(humidity, abs=18)
            assert set(trial.point) == {"temperature", "gas"} and "(as given)" in trial.reason
            assert trial.extra["conditions"]["humidity"] == pytest.approx(humidity * scale)
            assert trial.extra["wish"]["given"] == {"humidity": humidity * scale}
            lab.cancel(trial.id)
        (usual,) = lab.recommend(1, fixed={"gas": "air"})
        middle = float(np.median([t.conditions["humidity"] for t in lab.trials() if t.values])) / scale
        assert usual.point["temperature"] == pytest.approx(middle, abs=18)
        assert "(the median of what was met)" in usual.reason
        expected = lab.predict([{"temperature": 50.0, "gas": "air", "humidity": h * scale} for h in (50.0, 100.0)])[
            "y predicted"
        ]
        assert expected.iloc[0] > expected.iloc[1] + 1


def test_a_result_that_does_not_say_it_counts_as_usual_and_the_reason_says_so(lab):
    lab.tell(list(measured(12)))
    (trial,) = lab.recommend(1)
    lab.tell([Result(trial=trial.id, values={"y": 99.5})])
    (following,) = lab.recommend(1)
    assert "also for 1 that did not say" in following.reason
    assert key_of(following) != key_of(trial)


def key_of(trial):
    return tuple(sorted(trial.point.items()))


def test_a_point_is_not_repeated_for_having_had_a_condition(tmp_path):
    space = {"a": {"type": "integer", "low": 1, "high": 3}, "humidity": SPACE["humidity"]}
    with opened(tmp_path, space) as lab:
        for value in (1, 2):
            lab.tell([Result(point={"a": value, "humidity": 30 + value}, values={"y": float(value)})])
        assert [t.point for t in lab.recommend(3)] == [{"a": 3}]


def test_it_can_be_said_in_tables_and_is_shown_in_frames(lab):
    pandas = pytest.importorskip("pandas")
    trials = lab.recommend(3)
    table = lab.write_csv(trials).decode("utf-8-sig").splitlines()
    assert "humidity (%)" in table[0]
    titles = table[0].split(",")
    rows = [dict(zip(titles, line.split(","), strict=False)) for line in table[1:]]
    for row, value in zip(rows, ("55", "60,5", ""), strict=True):
        row |= {"humidity (%)": f'"{value}"' if value else "", "y": "1"}
    content = "\n".join([table[0], *(",".join(row.get(title, "") for title in titles) for row in rows)])
    filled = lab.read_csv(content.encode())
    assert not filled.problems
    lab.record_filled(filled, by="Ada")
    found = lab.trials()
    assert [t.conditions for t in found] == [{"humidity": 55.0}, {"humidity": 60.5}, {}]
    assert all(t.planned is None for t in found)
    frame = lab.frame()
    assert frame["humidity"].iloc[1] == 60.5 and pandas.isna(frame["humidity"].iloc[2])


def test_a_wish_for_it_is_refused_with_the_remedy(lab):
    with pytest.raises(ImpossibleWish, match="humidity is measured and not set; say what it is today with `given`"):
        lab.recommend(1, fixed={"humidity": 50})
    with pytest.raises(ImpossibleWish, match="nothing called 'dew' that is measured"):
        lab.recommend(1, given={"dew": 50})
    with pytest.raises(ImpossibleWish, match="humidity: expected a number"):
        lab.recommend(1, given={"humidity": "wet"})
    assert lab.trials() == []


def test_in_an_experiment_with_mixtures_and_constraints(tmp_path):
    space = {
        "kind": "experiment",
        "parameters": SPACE,
        "mixtures": {"alloy": {"components": ["Fe", "Ni"], "total": 1.0}},
        "constraints": ["temperature <= 60 + 40 * Fe"],
    }
    rng = np.random.default_rng(1)
    with opened(tmp_path, space) as lab:
        for _ in range(14):
            t, h, fe = rng.uniform(0, 60), rng.uniform(0, 100), rng.random()
            point = {"temperature": float(t), "gas": "air", "Fe": float(fe), "Ni": 1 - float(fe), "humidity": float(h)}
            lab.tell([Result(point=point, values={"y": truth(t, h / 2)})])
        for humidity in (10.0, 100.0):
            (trial,) = lab.recommend(1, given={"humidity": humidity}, fixed={"gas": "air"})
            assert trial.point["temperature"] == pytest.approx(humidity / 2, abs=15)
            assert "humidity" not in trial.point


def test_what_was_measured_beside_a_result_goes_along_in_a_table(tmp_path):
    with opened(tmp_path) as lab:
        point = {"temperature": 20.0, "gas": "air"}
        lab.tell([Result(point=point, values={"y": 1.0}, conditions={"humidity": 41.5})])
        table = lab.export_csv()
    with Lab.create(tmp_path / "other", space=SPACE, objectives={"y": "maximise"}, strategy=BAYESIAN) as other:
        other.record_filled(other.read_csv(table))
        (trial,) = other.trials()
        assert trial.conditions == {"humidity": 41.5} and trial.point == point
