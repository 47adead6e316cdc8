"""The REST interface: what it records, what it refuses, and that a refusal changes nothing."""

from __future__ import annotations

import json

from matloop.orchestrator.ledger.ledger import read
from tests.orchestrator.web.conftest import events


def recommend(client, n=1, by="Ana"):
    answer = client.post("/api/recommendations", json={"n": n, "by": by})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_study_from_recommendation_to_result(client, lab):
    first, second, third = recommend(client, 3)
    assert [e["id"] for e in (first, second, third)] == [0, 1, 2] and first["state"] == "to do"
    told = {
        "by": "Ben",
        "results": [
            {"trial": second["id"], "failure": "cracked on cooling"},
            {"trial": first["id"], "values": {"yield": 61.5}, "noise": {"yield": 0.8}, "note": "wet", "cost": 2.5},
        ],
    }
    answer = client.post("/api/results", json=told)
    assert answer.status_code == 200
    assert [e["state"] for e in answer.json()] == ["failed", "answered"]
    client.post(f"/api/experiments/{third['id']}/cancel", json={"by": "Ana", "reason": "out of precursor"})

    assert [e["id"] for e in client.get("/api/experiments", params={"state": "answered"}).json()] == [0]
    assert client.get("/api/experiments/2").json()["state"] == "cancelled"
    study = client.get("/api/study").json()
    assert study["counts"] == {"to do": 0, "answered": 1, "failed": 1, "cancelled": 1} and study["best"] == 0
    assert [o["unit"] for o in study["objectives"]] == ["%"]

    trials = read(lab.directory / "ledger.db").trials
    assert trials[0].values == {"yield": 61.5} and trials[0].noise == {"yield": 0.8} and trials[0].cost == 2.5
    assert trials[0].info == {"note": "wet"} and trials[0].worker == "Ben" and trials[0].extra["asked_by"] == "Ana"
    assert trials[1].failure.message == "cracked on cooling" and trials[1].failure.cause == "experiment"
    assert trials[2].state == "cancelled" and trials[2].info["note"] == "out of precursor"


def test_a_deviation_keeps_the_plan(client):
    planned = recommend(client)[0]["point"]
    done = {**planned, "temperature": 512.5}
    answer = client.post("/api/results", json={"results": [{"trial": 0, "point": done, "values": {"yield": 3}}]}).json()
    assert answer[0]["point"] == done and answer[0]["planned"] == planned


def test_all_or_nothing(client, lab):
    recommend(client, 2)
    before = events(lab)
    results = [
        {"trial": 0, "values": {"yield": 5}},
        {"trial": 1, "values": {"yield": 250}},
        {"trial": 77, "failure": "x"},
    ]
    answer = client.post("/api/results", json={"results": results})
    assert answer.status_code == 422
    assert [(p["row"], p["column"]) for p in answer.json()["problems"]] == [(1, "yield"), (2, "trial")]
    assert "0 to 100 %" in answer.json()["problems"][0]["message"]
    assert events(lab) == before


def test_a_request_whose_answer_was_lost_can_be_repeated(client, lab):
    recommend(client)
    own = {"point": {"temperature": 400, "solvent": "water", "hours": 2}, "values": {"yield": 9}, "request": "robot 17"}
    body = {"by": "robot", "results": [{"trial": 0, "values": {"yield": 5.25}}, own]}
    first = client.post("/api/results", json=body).json()
    before = events(lab)
    assert client.post("/api/results", json=body).json() == first
    assert events(lab) == before and [e["own"] for e in first] == [False, True]


def test_a_correction_has_to_be_asked_for(client):
    recommend(client)
    body = {"results": [{"trial": 0, "values": {"yield": 5}}]}
    client.post("/api/results", json=body)
    body["results"][0]["values"]["yield"] = 6
    refused = client.post("/api/results", json=body)
    assert refused.status_code == 422 and refused.json()["problems"][0]["column"] == "yield"
    said = refused.json()["problems"][0]["message"]
    assert "tell it as an amendment" in said and "--" not in said  # options are for the command line
    corrected = client.post("/api/results", json={**body, "amend": True}).json()
    assert corrected[0]["values"] == {"yield": 6} and corrected[0]["amended"] is True


def test_a_result_is_set_aside_with_a_reason(client, lab):
    recommend(client, 2)
    client.post("/api/results", json={"by": "Ana", "results": [{"trial": 0, "values": {"yield": 5}, "cost": 2}]})
    before = events(lab)
    for path, body, status in [
        ("/api/experiments/0/void", {"by": "Ben"}, 422),
        ("/api/experiments/0/void", {"reason": ""}, 422),
        ("/api/experiments/1/void", {"reason": "spilled"}, 409),
        ("/api/experiments/9/void", {"reason": "spilled"}, 409),
    ]:
        answer = client.post(path, json=body)
        assert answer.status_code == status and answer.json()["error"], answer.text
    assert events(lab) == before
    gone = client.post("/api/experiments/0/void", json={"by": "Ben", "reason": "spilled"}).json()
    assert (gone["state"], gone["values"], gone["cost"], gone["note"]) == ("cancelled", None, 2.0, "spilled")
    assert gone["amended"] is True and client.get("/api/study").json()["best"] is None
    again = client.post("/api/experiments/0/void", json={"by": "Ben", "reason": "spilled"})
    assert again.status_code == 409 and "set aside already (spilled)" in again.json()["error"]


def test_a_value_outside_the_plausible_range_has_to_be_confirmed(client):
    recommend(client)
    body = {"results": [{"trial": 0, "values": {"yield": 101}}]}
    assert client.post("/api/results", json=body).status_code == 422
    assert client.post("/api/results", json={**body, "allow_outside": True}).status_code == 200


def test_what_cannot_be_done_is_said_as_json(client, lab):
    recommend(client)
    client.post("/api/results", json={"results": [{"trial": 0, "values": {"yield": 5}}]})
    before = events(lab)
    for method, path, body, status in [
        ("get", "/api/experiments/5", None, 404),
        ("get", "/api/nothing", None, 404),
        ("put", "/api/study", None, 405),
        ("post", "/api/experiments/0/cancel", {}, 409),
        ("post", "/api/experiments/9/cancel", {}, 409),
        ("post", "/api/recommendations", {"n": 0}, 422),
        ("post", "/api/recommendations", {"n": True}, 422),
        ("post", "/api/results", {"results": []}, 422),
        ("post", "/api/results", {"results": [{"trial": 0, "values": {"yield": "5"}}]}, 422),
        ("post", "/api/results", {"results": [{"trial": 0, "valeus": {"yield": 5}}]}, 422),
    ]:
        answer = client.request(method, path, json=body)
        assert answer.status_code == status, (path, answer.text)
        assert set(answer.json()) == {"error", "problems"} and answer.json()["error"]
    assert events(lab) == before


def test_a_page_of_experiments(client):
    recommend(client, 5)
    assert [e["id"] for e in client.get("/api/experiments", params={"start": 1, "limit": 2}).json()] == [1, 2]


def test_the_description_covers_every_route_and_the_page_needs_nothing_from_elsewhere(client):
    schema = client.get("/api/openapi.json").json()
    page = client.get("/api/docs").text
    for path in schema["paths"]:
        assert path in page
    assert json.dumps(schema).count("/api/results") and "allow_outside" in page
    assert "https://" not in page and "http://" not in page


def test_the_version_changes_with_every_event(client, lab):
    first = client.get("/api/version").json()
    lab.recommend(1)  # by another client
    assert client.get("/api/version").json() != first


def test_an_input_outside_the_space_has_to_be_confirmed(client, lab):
    point = dict(recommend(client)[0]["point"])
    name = next(key for key, value in point.items() if isinstance(value, float))
    point[name] = 1e6
    body = {"results": [{"point": point, "values": {"yield": 5}, "request": "odd"}]}
    refused = client.post("/api/results", json=body)
    assert refused.status_code == 422 and "confirm that it is right" in refused.text
    assert client.post("/api/results", json={**body, "allow_outside": True}).status_code == 200
    assert lab.trials()[-1].point == point
    recommend(client)
    for page in ("/", "/history", "/experiments/1", "/outlook"):
        assert client.get(page).status_code == 200
