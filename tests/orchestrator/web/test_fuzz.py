"""Malformed requests change nothing, and the server answers each of them in words."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import pytest

from tests.orchestrator.web.conftest import events
from tests.orchestrator.web.malformed import calls

WORDS = {400, 401, 403, 404, 405, 409, 413, 415, 422}


@pytest.mark.parametrize("number", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_malformed_requests_change_nothing(client, lab, number):
    lab.recommend(2)
    before = events(lab)
    statuses = Counter()
    for call in islice(calls(random.Random(number)), number):
        answer = client.request(call.method, call.path, content=call.content, headers=call.headers)
        assert answer.status_code in WORDS, (answer.status_code, call.fault, call.content[:300], answer.text[:500])
        statuses[answer.status_code] += 1
        if answer.request.url.path.startswith("/api/"):
            assert set(answer.json()) == {"error", "problems"}, call.fault
        if sum(statuses.values()) % 100 == 0 or number < 1000:
            assert events(lab) == before, call
    assert events(lab) == before and set(statuses) >= {400, 403, 404, 405, 413, 415, 422}

    told = client.post("/api/results", json={"results": [{"trial": 0, "values": {"yield": 5}}]})
    assert told.status_code == 200 and events(lab) == before + 1
    assert len(client.post("/api/recommendations", json={"n": 2}).json()) == 2
