"""A space all of whose points were tried: Python, command line, REST, page and an unattended run say so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from matloop.orchestrator.cli import main as cli
from matloop.orchestrator.errors import SpaceExhausted
from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.ledger import read
from tests.orchestrator.web.conftest import form_token

SPACE = """
      kind: experiment
      parameters:
        temperature: {type: float, low: 300, high: 500, step: 100}
        solvent: {type: categorical, choices: [water, ethanol]}
        pressure: {type: float, low: 1, high: 1}
      constraints: ["temperature <= 400 or solvent == 'water'"]
"""
CAMPAIGN = f"""
name: furnace
seed: 1
studies:
  anneal:
    space: {SPACE}
    driver: DRIVER
    strategy: STRATEGY
    objectives: {{yield: maximise}}
    budget: {{trials: 100}}
"""
SAID = "every point of the space was tried; enlarge the space or end the study"
STRATEGIES = [
    "random",
    "space_filling",
    "{kind: bayesian, initial: 3, surrogate: {kind: gp}}",
    "{kind: evolution, population: 3}",
    "{kind: optuna, sampler: RandomSampler}",
]


@pytest.fixture(params=["random", "{kind: bayesian, initial: 3, surrogate: {kind: gp}}"], ids=["random", "bayesian"])
def campaign(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    file = tmp_path / "campaign.yaml"
    file.write_text(CAMPAIGN.replace("DRIVER", "manual").replace("STRATEGY", request.param), encoding="utf-8")
    return file


def matloop(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["matloop", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def use_up(lab: Lab) -> None:
    for number in range(5):
        (trial,) = lab.recommend(1)
        assert trial.point["pressure"] == 1
        lab.tell([Result(trial=trial.id, values={"yield": float(number)})])


def test_every_door_for_people_says_so(client, lab, campaign, monkeypatch, capsys):
    use_up(lab)
    assert len({json.dumps(trial.point) for trial in lab.trials()}) == 5
    with pytest.raises(SpaceExhausted, match=SAID):
        lab.recommend(1)
    answer = client.post("/api/recommendations", json={"n": 1})
    assert answer.status_code >= 400 and SAID in answer.text
    csrf = form_token(client.get("/").text)
    assert SAID[1:] in client.post("/recommend", data={"csrf": csrf, "n": "1"}).text
    assert matloop(monkeypatch, "recommend", str(campaign), "--dir", str(campaign.parent / "run")) != 0
    captured = capsys.readouterr()
    assert SAID in " ".join((captured.out + captured.err).split())
    lab.outlook()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_ends_with_it(tmp_path, monkeypatch, strategy):
    (tmp_path / "bench.py").write_text("def measure(point):\n    return point['temperature']\n", encoding="utf-8")
    file = tmp_path / "campaign.yaml"
    text = CAMPAIGN.replace("DRIVER", "{kind: python, path: 'bench:measure'}").replace("STRATEGY", strategy)
    file.write_text(text, encoding="utf-8")
    assert matloop(monkeypatch, "run", str(file), "--dir", str(tmp_path / "run")) == 0
    history = read(tmp_path / "run" / "ledger.db")
    assert history.ended("anneal") == {"reason": f"space exhausted: {SAID}"}
    assert len(history.of("anneal")) == 5
