"""A slip of the pen over REST and on the page."""

from __future__ import annotations

TOLD = [
    {"point": {"temperature": 500 + i, "solvent": "water", "hours": 2}, "values": {"yield": 40.0 + i}} for i in range(6)
]


def test_what_looks_like_a_slip_is_in_the_answer_and_on_the_page(client):
    for i, result in enumerate(TOLD):
        result["request"] = f"r{i}"
    assert client.post("/api/results", json={"results": TOLD}).json()[0]["doubts"] == []
    slipped = {**TOLD[0], "values": {"yield": 0.45}, "request": "s"}
    (answer,) = client.post("/api/results", json={"results": [slipped]}).json()
    (doubt,) = answer["doubts"]
    assert doubt.startswith("trial 6: yield of 0.45 is 1/94 of the median of the others; if it is a slip, correct it: ")
    assert client.get("/api/experiments/6").json()["doubts"] == [doubt]
    assert [e["doubts"] for e in client.get("/api/experiments").json()] == [[]] * 6 + [[doubt]]
    for page in ("/", "/experiments/6"):
        assert "yield of 0.45 is 1/94 of the median of the others" in client.get(page).text
    assert "median of the others" not in client.get("/experiments/5").text
    table = "temperature,solvent,hours,yield\n600,water,3,4700\n"
    done = client.post("/api/csv?allow_outside=true", content=table, headers={"content-type": "text/csv"}).json()
    assert done["recorded"] == [7] and done["doubts"][0].startswith("trial 7: yield of 4700 is ")
    assert (
        client.post(
            "/api/csv?allow_outside=true", content="trial,yield\n7,47\n", headers={"content-type": "text/csv"}
        ).status_code
        == 422
    )
    amended = client.post(
        "/api/csv?amend=true", content="trial,yield\n7,47\n", headers={"content-type": "text/csv"}
    ).json()
    assert amended["doubts"] == []
