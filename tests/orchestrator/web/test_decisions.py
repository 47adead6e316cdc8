"""What may have happened is decided on the page and by REST as at the command line: once, and only that."""

from __future__ import annotations

from pathlib import Path

import pytest

from matloop.orchestrator.lab import Lab
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.trial import Answer, Failure, Proposal
from tests.orchestrator.web.conftest import Visitor, form_token


@pytest.fixture
def exposed(lab: Lab, campaign: Path) -> list[int]:
    """Ids of two trials of a machine's study in the same record that may have happened."""
    failure = Failure(cause="uncertain", message="it may have happened: the manager stopped while it ran")
    found = []
    with Ledger(campaign.parent / "run" / "ledger.db") as ledger:
        for number in range(2):
            trial = ledger.propose("scope", Proposal(point={"x": 0.5 * number}), seed=number, ask=0)
            found.append(ledger.answer(trial, Answer(failure=failure, started_at=1.0, finished_at=2.0)).id)
        ledger.commit()
    return found


def test_rest(client: Visitor, lab: Lab, exposed: list[int]) -> None:
    listed = client.get("/api/decisions").json()
    assert [one["trial"] for one in listed] == exposed and listed[1]["point"] == {"x": 0.5}
    assert listed[0]["study"] == "scope" and listed[0]["verdict"] is None
    made = {"trial": exposed[0], "verdict": "repeat", "by": "Ada", "reason": "the shutter was closed"}
    answer = client.post("/api/decisions", json=made)
    assert answer.status_code == 201 and answer.json()["verdict"] == "repeat"
    answer = client.post("/api/decisions", json=made)
    assert answer.status_code == 409 and "was decided already by Ada: repeat" in answer.json()["error"]
    answer = client.post("/api/decisions", json={"trial": 99, "verdict": "counted"})
    assert answer.status_code == 409 and f"trials to decide on: {exposed[1]}" in answer.json()["error"]
    assert client.post("/api/decisions", json={"trial": exposed[1], "verdict": "maybe"}).status_code == 422
    assert [trial.id for trial in lab.undecided()] == exposed[1:]
    assert lab.history.decisions[exposed[0]].reason == "the shutter was closed"


def test_page(client: Visitor, lab: Lab, exposed: list[int]) -> None:
    assert "2 trials may have happened" in client.get("/").text
    page = client.get("/decisions").text
    assert "It may have happened: the manager stopped while it ran." in page and f"#{exposed[1]}" in page
    form = {"csrf": form_token(page), "trial": str(exposed[1]), "verdict": "counted", "by": "Ada", "reason": "seen"}
    answer = client.post("/decisions", data=form | {"csrf": "0" * 64})
    assert answer.status_code == 403 and len(lab.undecided()) == 2
    answer = client.post("/decisions", data=form | {"verdict": ""})
    assert answer.status_code == 422 and "Expected counted, repeat, drop" in answer.text
    answer = client.post("/decisions", data=form)
    assert answer.status_code == 200 and f"The decision on trial {exposed[1]} is recorded." in answer.text
    assert f"#{exposed[1]}" not in answer.text and "1 trial may have happened" in client.get("/").text
    answer = client.post("/decisions", data=form | {"by": "Bob"})
    assert answer.status_code == 422 and f"Trial {exposed[1]} was decided already by Ada: counted" in answer.text
    for number in ("x", "", "9" * 30, "-1"):
        assert client.post("/decisions", data=form | {"trial": number}).status_code == 422


def test_what_is_dropped_is_set_aside(client: Visitor, lab: Lab, exposed: list[int]) -> None:
    answer = client.post("/api/decisions", json={"trial": exposed[0], "verdict": "drop", "reason": "wrong sample"})
    assert answer.status_code == 201 and (answer.json()["state"], answer.json()["verdict"]) == ("cancelled", "drop")
    assert [trial.id for trial in lab.undecided()] == exposed[1:]
    answer = client.post("/api/decisions", json={"trial": exposed[0], "verdict": "counted"})
    assert answer.status_code == 409 and "nothing to decide" in answer.json()["error"]


def test_nothing_to_decide(client: Visitor) -> None:
    assert client.get("/api/decisions").json() == []
    assert "Nothing waits for a decision." in client.get("/decisions").text
    assert "may have happened" not in client.get("/").text
