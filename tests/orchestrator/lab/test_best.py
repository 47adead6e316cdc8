"""Where the best is: measured, by the model where luck played a part, and where the model expects it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.lab import Lab, Result

pytest.importorskip("pandas")

LINE = {"x": {"type": "float", "low": 0.0, "high": 10.0, "unit": "h"}}
HIGH = {"yield": {"direction": "maximise", "unit": "%"}}


def strategy(**options):
    return {"kind": "bayesian", "surrogate": "gp", "initial": 4, **options}


def hill(x: float) -> float:
    return 60 - (x - 6.2) ** 2


def told(folder: Path, function, places, *, objectives=HIGH, space=LINE, **options) -> Lab:
    lab = Lab.create(folder, space=space, objectives=objectives, strategy=strategy(**options))
    lab.tell([Result(point={"x": x}, values=function(x)) for x in places])
    return lab


def test_measured_and_expected_of_one_objective(tmp_path):
    with told(tmp_path / "a", lambda x: {"yield": hill(x)}, np.linspace(0, 10, 9)) as lab:
        found = lab.best(2)
        assert [t.point["x"] for t in found.measured] == [6.25, 5.0] and found.likely[0][0].id == 5
        (expected,) = found.expected
        assert expected.point["x"] == pytest.approx(6.2, abs=0.15)
        low, high = expected.interval["yield"]
        assert low <= 60 <= high and found.reason == "" and found.target == {}
        assert "best measured: yield 60.0 % (trial 5: x 6.25 h)" in str(found)
        assert "the model expects yield 60.0 % (90 %:" in str(found)
        assert lab.best(2).expected == found.expected, "it follows from the record"
        assert json.loads(json.dumps(found.as_json()))["measured"][0] == {
            "trial": 5,
            "point": {"x": 6.25},
            "values": {"yield": pytest.approx(hill(6.25))},
        }
        frame = found.frame()
        assert list(frame.index) == ["measured"] * 2 + ["by the model"] * 2 + ["expected"]
        assert "<table" in found._repr_html_()


def test_a_minimum_is_the_lowest(tmp_path):
    low = {"error": "minimise"}
    with told(tmp_path / "a", lambda x: {"error": -hill(x)}, np.linspace(0, 10, 9), objectives=low) as lab:
        found = lab.best()
        assert found.measured[0].point["x"] == 6.25 and found.expected[0].point["x"] == pytest.approx(6.2, abs=0.15)


def test_luck_is_told_from_merit(tmp_path):
    """One measurement at a poor place came out highest by chance; its neighbours and repetitions say otherwise."""
    rng = np.random.default_rng(3)
    places = np.repeat(np.linspace(0, 10, 11), 3)
    with told(tmp_path / "a", lambda x: {"yield": hill(x) + float(rng.normal(0, 2))}, places) as lab:
        (lucky,) = lab.tell([Result(point={"x": 1.5}, values={"yield": 75.0})])
        found = lab.best()
        assert found.measured[0].id == lucky.id
        ((likely, forecast),) = found.likely
        assert 5 <= likely.point["x"] <= 7 and abs(forecast.mean["yield"] - 60) < 5
        assert "by the model, which allows for noise: trial" in str(found)


def test_repetitions_are_one_place(tmp_path):
    with told(tmp_path / "a", lambda x: {"yield": hill(x)}, [0, 3, 6, 6, 6, 10]) as lab:
        assert [t.point["x"] for t, _ in lab.best(3).likely] == [6, 3, 10]


def test_several_objectives_give_fronts(tmp_path):
    both = {"yield": "maximise", "cost": "minimise"}
    with told(tmp_path / "a", lambda x: {"yield": hill(x), "cost": x}, np.linspace(0, 10, 9), objectives=both) as lab:
        found = lab.best()
        assert {t.point["x"] for t in found.measured} == {0.0, 1.25, 2.5, 3.75, 5.0, 6.25}
        assert {t.point["x"] for t, _ in found.likely} == {0.0, 1.25, 2.5, 3.75, 5.0, 6.25}
        places = [one.point["x"] for one in found.expected]
        assert 3 <= len(places) <= 12 and max(places) <= 6.5 and min(places) <= 0.5
        assert "no other experiment beats these in all objectives" in str(found)


def test_a_target_range_is_what_is_sought(tmp_path):
    with told(tmp_path / "a", lambda x: {"yield": hill(x)}, np.linspace(0, 10, 9), target={"yield": [50, 52]}) as lab:
        found = lab.best()
        assert found.target == {"yield": (50.0, 52.0)} and "nearest to the target" in str(found)
        assert hill(found.measured[0].point["x"]) == pytest.approx(51, abs=5)
        assert 50 <= hill(found.expected[0].point["x"]) <= 52


def test_hopeless_places_are_not_expected_to_be_the_best(tmp_path):
    with told(tmp_path / "a", lambda x: {"yield": 10 * x}, np.linspace(0, 6, 7)) as lab:
        assert lab.best().expected[0].point["x"] > 8
        lab.tell([Result(point={"x": x}, failure="cracked") for x in (7.5, 8.0, 8.5, 9.0, 10.0)])
        (expected,) = lab.best().expected
        assert expected.point["x"] < 7.5 and expected.works > 0.4


def test_before_the_model_knows_enough(tmp_path):
    with told(tmp_path / "a", lambda x: {"yield": hill(x)}, [1.0]) as lab:
        found = lab.best()
        assert len(found.measured) == 1 and found.likely == found.expected == ()
        assert "expected at least 4 experiments" in found.reason and "nothing from the model" in str(found)
        for n in (0, 1.5, True, "1"):
            with pytest.raises(MatloopError, match="expected n"):
                lab.best(n)
    with Lab.create(tmp_path / "b", space=LINE, objectives=HIGH, strategy="random") as lab:
        assert str(lab.best()) == "nothing has been measured yet" and "no model" in lab.best().reason
