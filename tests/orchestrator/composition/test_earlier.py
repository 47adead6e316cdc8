"""`data: {from: PATH}`: another campaign's results, read and never written, in the same units or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import ConfigChanged, ConfigError, MatloopError
from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.ledger import read

BEFORE = {
    "temperature": {"type": "float", "low": 500, "high": 900, "unit": "°C"},
    "gas": {"type": "categorical", "choices": ["argon", "air", "neon"]},
    "humidity": {"type": "float", "low": 0, "high": 100},
}
NOW = {
    "temperature": {"type": "float", "low": 600, "high": 1000, "unit": "°C"},
    "gas": {"type": "categorical", "choices": ["argon", "air"]},
    "pressure": {"type": "float", "low": 1, "high": 5, "unit": "bar"},
}
HARDNESS = {"hardness": {"direction": "maximise", "unit": "HV"}}


def hill(temperature: float) -> float:
    return 500 - (temperature - 780) ** 2 / 100


def before(folder: Path, *, objectives=HARDNESS, space=BEFORE) -> Path:
    """A finished campaign, of which some experiments failed; its folder."""
    with Lab.create(folder, space=space, objectives=objectives, strategy="random") as lab:
        for i, t in enumerate(np.linspace(500, 900, 18)):
            gas = ("argon", "air", "neon")[i % 3]
            point = {name: {"temperature": float(t), "gas": gas, "humidity": 10.0 * (i % 4)}[name] for name in space}
            lab.tell([Result(point=point, values={name: hill(float(t)) for name in objectives})])
        lab.tell([Result(point=point, failure="cracked")])
    return folder


def campaign(folder: Path, data, *, objectives=HARDNESS, space=NOW, kind="bayesian", **options) -> Path:
    """A campaign file that begins with the results of another one."""
    folder.mkdir(exist_ok=True)
    strategy = {"kind": kind, "data": data, **({"surrogate": "gp"} if kind == "bayesian" else {}), **options}
    parts = {
        "space": {"kind": "box", "parameters": space},
        "driver": "manual",
        "strategy": strategy,
        "objectives": objectives,
    }
    path = folder / "now.yaml"
    path.write_text(yaml.safe_dump({"name": "Now", "studies": {"anneal": parts}}), encoding="utf-8")
    return path


def earlier_of(path: Path):
    (study,), resolved = validate(load(path))
    (one,) = study.strategy.earlier
    return one, resolved


def test_overlapping_inputs_are_taken_over_and_the_rest_is_said(tmp_path):
    before(tmp_path / "old")
    one, resolved = earlier_of(campaign(tmp_path, {"from": "./old"}))
    assert len(one.trials) == 12 and all(t.values == {"hardness": hill(t.point["temperature"])} for t in one.trials)
    assert {tuple(sorted(t.point)) for t in one.trials} == {("gas", "temperature")}
    assert min(t.point["temperature"] for t in one.trials) == 500, "outside today's range, and still told as it was"
    text = " ".join(one.notes)
    assert "6 of 18 results have no place in this space" in text and "neon" in text
    assert "pressure is not known of these results" in text and "given: {pressure: …}" in text
    assert "humidity is no input here" in text
    assert resolved["files"]["studies.anneal.strategy.data../old"] == f"12 results, sha256 {one.sha256}"


def test_what_was_absent_can_be_given(tmp_path):
    before(tmp_path / "old")
    one, _ = earlier_of(campaign(tmp_path, {"from": "./old", "study": "experiments", "given": {"pressure": 1.0}}))
    assert {t.point["pressure"] for t in one.trials} == {1.0} and "pressure" not in " ".join(one.notes)
    space = {**NOW, "pressure": {**NOW["pressure"], "before": "1 bar"}}
    one, _ = earlier_of(campaign(tmp_path, {"from": "./old"}, space=space))
    assert {t.point["pressure"] for t in one.trials} == {1.0}
    with pytest.raises(ConfigError, match="there is no input 'presure' to be given; did you mean 'pressure'"):
        validate(load(campaign(tmp_path, {"from": "./old", "given": {"presure": 1.0}})))


def test_a_campaign_file_leads_to_its_results(tmp_path):
    old = before(tmp_path / "old")
    assert len(earlier_of(campaign(tmp_path, {"from": "old/campaign.yaml"}))[0].trials) == 12
    content = (old / "ledger.db").read_bytes()
    with Lab.open(campaign(tmp_path, {"from": "old/campaign.yaml"})) as lab:
        lab.recommend(1)
    assert (old / "ledger.db").read_bytes() == content


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"from": "./gone"}, "is not there; give the folder that holds its ledger.db"),
        ({"from": "./empty"}, "has no ledger in it"),
        ({"from": "./old", "study": "experiment"}, "no results of a study 'experiment'; did you mean 'experiments'"),
        ({"from": "./old", "studdy": "x"}, "unknown key; expected from, study, given"),
        ({"from": "old"}, "there is no study 'old'"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, data, text):
    before(tmp_path / "old")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        validate(load(campaign(tmp_path, data)))
    assert text in str(caught.value) and "now.yaml:" in str(caught.value)


def test_units_must_agree(tmp_path):
    before(tmp_path / "old")
    kelvin = {**NOW, "temperature": {**NOW["temperature"], "unit": "K"}}
    with pytest.raises(
        ConfigError, match=r"temperature in the same unit in both campaigns, got °C in ./old and K here"
    ):
        validate(load(campaign(tmp_path, {"from": "./old"}, space=kelvin)))
    other = {"hardness": {"direction": "maximise", "unit": "GPa"}}
    with pytest.raises(ConfigError, match="objective hardness in the same unit in both campaigns, got HV"):
        validate(load(campaign(tmp_path, {"from": "./old"}, objectives=other)))
    with pytest.raises(ConfigError, match=r"expected an objective of ./old that is measured here"):
        validate(load(campaign(tmp_path, {"from": "./old"}, objectives={"strength": "maximise"})))


def test_strategies_that_cannot_learn_from_it_say_so(tmp_path):
    before(tmp_path / "old")
    with pytest.raises(ConfigError, match=r"unknown option|cannot learn from other campaigns"):
        validate(load(campaign(tmp_path, {"from": "./old"}, kind="random")))


def test_a_resumed_campaign_is_the_same_or_is_refused(tmp_path):
    old = before(tmp_path / "old")
    file = campaign(tmp_path, {"from": "./old", "given": {"pressure": 1.0}}, initial=4)
    points = [
        {"temperature": t, "gas": "air", "pressure": p}
        for t, p in ((650.0, 1.0), (700.0, 2.0), (950.0, 1.5), (800.0, 3.0))
    ]
    with Lab.open(file) as lab:
        lab.tell([Result(point=p, values={"hardness": hill(p["temperature"]) + 20}) for p in points])
        said = lab.forecast(points)
        first = lab.recommend(1)[0]
        assert set(first.extra["earlier"]) == {"hardness"} and 0 < first.extra["earlier"]["hardness"] < 1
    with Lab.open(file) as lab:
        assert lab.forecast(points) == said
    with Lab.open(old) as lab:
        lab.tell([Result(point={"temperature": 850.0, "gas": "air", "humidity": 0.0}, values={"hardness": 480.0})])
    with Lab.open(file) as lab, pytest.raises(ConfigChanged):
        lab.forecast(points)
    with Lab.open(file, accept_changes=True) as lab:
        assert lab.forecast(points) != said
        recorded = read(lab.directory / "ledger.db").sessions[-1].config["files"]
        assert any(mark.startswith("13 results") for mark in recorded.values())


def test_a_session_goes_on_with_what_it_began_with(tmp_path):
    old = before(tmp_path / "old")
    file = campaign(tmp_path, {"from": "./old"}, initial=4)
    points = [{"temperature": t, "gas": "air", "pressure": 1.0} for t in (650.0, 700.0, 950.0, 800.0)]
    with Lab.open(file) as lab:
        lab.tell([Result(point=p, values={"hardness": hill(p["temperature"])}) for p in points])
        lab.forecast(points)
        with Lab.open(old) as other:
            other.tell([Result(point={"temperature": 850.0, "gas": "air", "humidity": 0.0}, values={"hardness": 1.0})])
        lab.void(0, reason="wrong sample")  # the strategy is made again
        with pytest.raises(MatloopError, match="has changed since this campaign was opened"):
            lab.forecast(points)


def test_fewer_experiments_lead_to_the_hill(tmp_path):
    """With the earlier campaign, the first choice of the model is already near the top, which the start has missed."""
    before(tmp_path / "old")
    space = {name: options for name, options in NOW.items() if name != "pressure"}
    start = [
        {"temperature": t, "gas": gas}
        for t, gas in ((610.0, "air"), (640.0, "argon"), (980.0, "air"), (940.0, "argon"))
    ]
    with Lab.open(campaign(tmp_path, {"from": "./old"}, space=space, initial=4)) as lab:
        lab.tell([Result(point=p, values={"hardness": 0.5 * hill(p["temperature"]) + 30}) for p in start])
        assert abs(lab.recommend(1)[0].point["temperature"] - 780) < 25
        (expected,) = lab.best().expected
        assert expected.point["temperature"] == pytest.approx(780, abs=40)
