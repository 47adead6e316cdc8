"""Pages and REST for what is measured in part, for limits of what can be measured, and for limits on outcomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from matloop.orchestrator.lab import Lab, Result
from tests.orchestrator.web.conftest import form_token

CAMPAIGN = """
name: reactor
studies:
  flow:
    space: {kind: box, parameters: {heat: {type: float, low: 0, high: 100}}}
    driver: manual
    strategy: random
    objectives:
      output: {direction: maximise, unit: g}
      purity: {at_least: 95, unit: "%"}
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    file = tmp_path / "campaign.yaml"
    file.write_text(CAMPAIGN, encoding="utf-8")
    return file


def send(client, path: str, **fields: str):
    token = form_token(client.get("/").text)
    return client.post(path, data={"csrf": token, **fields})


def test_the_page_takes_what_there_is_and_asks_for_the_rest(lab: Lab, client):
    lab.recommend()
    assert send(client, "/experiments/0/result", **{"value.output": "12,5", "by": "Ana"}).status_code == 200
    assert lab.incomplete() == {0: ["purity"]}
    bench, page = client.get("/").text, client.get("/experiments/0").text
    assert "Measured in part" in bench and "of these in part" in bench
    assert "purity still to come" in page and "Enter what was still to come" in page
    assert 'name="value.purity"' in page

    assert send(client, "/experiments/0/result", **{"value.purity": "> 99 %", "by": "Ben"}).status_code == 200
    (trial,) = lab.trials()
    assert (trial.values, trial.censored, trial.worker) == (
        {"output": 12.5, "purity": 99.0},
        {"purity": "above"},
        "Ana",
    )
    page = client.get("/experiments/0").text
    assert "&gt; 99" in page and "still to come" not in page and "measured later: purity" in page and "by Ben" in page
    assert "Measured in part" not in client.get("/").text


def test_a_form_needs_one_value_and_keeps_what_was_typed(lab: Lab, client):
    lab.recommend()
    answer = send(client, "/experiments/0/result", **{"value.output": "", "note": "dark"})
    assert answer.status_code == 422 and "expected what was measured" in answer.text and "dark" in answer.text
    answer = send(client, "/experiments/0/result", **{"value.output": "<", "value.purity": "3"})
    assert answer.status_code == 422 and "expected a number in g" in answer.text
    assert lab.trials()[0].state == "running"


def test_an_amendment_of_a_limit_shows_it_as_it_was_typed(lab: Lab, client):
    lab.recommend()
    lab.tell([Result(trial=0, values={"output": "< 0.1", "purity": 99.0})])
    page = client.get("/experiments/0").text
    assert 'value="&lt; 0.1"' in page
    fields = {"value.output": "0.3", "value.purity": "99.0", "seen": "0"}
    assert send(client, "/experiments/0/amend", **fields).status_code == 200
    (trial,) = lab.trials()
    assert trial.values["output"] == 0.3 and not trial.censored


def test_what_breaks_a_limit_is_marked_and_not_the_best(lab: Lab, client):
    lab.recommend(2)
    lab.tell([Result(trial=0, values={"output": 9.0, "purity": 80.0})])
    assert "purity is not at least 95 %" in client.get("/experiments/0").text
    assert "best output" not in client.get("/").text
    lab.tell([Result(trial=1, values={"output": 3.0, "purity": 97.0})])
    study = client.get("/api/study").json()
    assert study["best"] == 1 and study["front"] == [1]
    assert study["objectives"] == [
        {"name": "output", "direction": "maximise", "unit": "g"},
        {"name": "purity", "direction": None, "unit": "%", "at_least": 95.0},
    ]
    bench = client.get("/").text
    assert "best output" in bench and "Pareto" not in bench and "purity at least 95 %" in bench


def test_rest_says_what_is_missing(lab: Lab, client):
    lab.recommend()
    told = {"results": [{"trial": 0, "values": {"output": "< 0.5"}}]}
    (answer,) = client.post("/api/results", json=told).json()
    assert answer["values"] == {"output": 0.5} and answer["censored"] == {"output": "below"}
    assert answer["missing"] == ["purity"] and answer["keeps_limits"] is None and answer["state"] == "answered"
    told = {"results": [{"trial": 0, "values": {"purity": 95}}], "by": "Ben"}
    (answer,) = client.post("/api/results", json=told).json()
    assert answer["missing"] == [] and answer["keeps_limits"] is True and not answer["amended"]
    wrong = {"results": [{"trial": 0, "values": {"output": 0.5}, "censored": {"purity": "beside"}}]}
    assert client.post("/api/results", json=wrong).status_code == 422
