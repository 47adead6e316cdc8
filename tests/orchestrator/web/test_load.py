"""Fifty clients at once lose no result and record none twice; results never wait for recommendations."""

from __future__ import annotations

import random
import threading
import time

import httpx
import pytest

from matloop.orchestrator.ledger.ledger import read
from tests.orchestrator.web.conftest import CAMPAIGN

CLIENTS = 50


@pytest.mark.parametrize("rounds", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_fifty_clients_lose_nothing(serve, lab, rounds):
    server = serve()
    acknowledged: list[tuple[int, float]] = []
    errors: list[str] = []
    start = threading.Barrier(CLIENTS)

    def work(number: int) -> None:
        rng = random.Random(number)
        try:
            with httpx.Client(base_url=server.url, timeout=280) as client:
                start.wait(240)
                for turn in range(rounds):
                    acknowledged.extend(one_turn(client, rng, number, turn))
        except Exception as error:
            errors.append(f"client {number}: {error!r}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - began
    assert not errors, errors[:3]
    server.stop()

    trials = read(lab.directory / "ledger.db").trials
    on_record = sorted((t.id, t.values["yield"]) for t in trials if t.values is not None)
    assert on_record == sorted(acknowledged) and len(on_record) == 2 * CLIENTS * rounds
    assert [t for t in trials if t.state == "running"] == []
    print(f"{CLIENTS} clients, {len(on_record)} results, {len(on_record) / elapsed:.0f} a second")


def one_turn(client: httpx.Client, rng: random.Random, number: int, turn: int) -> list[tuple[int, float]]:
    """Ask, report the recommendation and one of one's own, sometimes twice; what was acknowledged."""
    while (answer := client.post("/api/recommendations", json={"n": 1, "by": f"client {number}"})).status_code == 503:
        time.sleep(rng.uniform(0.02, 0.2))  # the queue is full, as it says
    assert answer.status_code == 201, answer.text
    trial = answer.json()[0]["id"]
    value = rng.uniform(0, 100)
    own = {
        "point": {"temperature": rng.uniform(300, 900), "solvent": "water", "hours": rng.randint(1, 10)},
        "values": {"yield": rng.uniform(0, 100)},
        "request": f"{number} {turn}",
    }
    body = {"by": f"client {number}", "results": [{"trial": trial, "values": {"yield": value}}, own]}
    for _ in range(1 + (rng.random() < 0.3)):  # the answer was lost, as far as the client knows
        answer = client.post("/api/results", json=body)
        assert answer.status_code == 200, answer.text
    return [(entry["id"], entry["values"]["yield"]) for entry in answer.json()]


SLOW = """
import time
from pathlib import Path

from matloop.orchestrator.strategies.random import Random


class Slow(Random):
    def ask(self, n, pending, rng):
        while pending and not Path("thought").exists():
            Path("thinking").touch()
            time.sleep(0.01)
        return super().ask(n, pending, rng)
"""


def test_results_do_not_wait_for_recommendations(campaign, serve):
    """A strategy that goes on thinking until it is told to stop keeps nobody from reporting or looking."""
    (campaign.parent / "slow.py").write_text(SLOW, encoding="utf-8")
    campaign.write_text(CAMPAIGN % '"slow:Slow"', encoding="utf-8")
    server = serve()
    with httpx.Client(base_url=server.url, timeout=240) as client:
        trials = [e["id"] for e in client.post("/api/recommendations", json={"n": 3}).json()]
        answers: list[int] = []

        def ask() -> None:
            answers.append(httpx.post(f"{server.url}/api/recommendations", json={}, timeout=240).status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        while not (campaign.parent / "thinking").exists():
            time.sleep(0.01)
        for trial in trials[:2]:
            body = {"results": [{"trial": trial, "values": {"yield": 5}}]}
            assert client.post("/api/results", json=body).status_code == 200
            assert client.get("/").status_code == 200
        assert answers == []
        (campaign.parent / "thought").touch()
        asking.join()
    assert answers == [201]
