"""Values of any size that is on record can be looked at, and so be corrected; larger ones are refused."""

from __future__ import annotations

import pytest

from matloop.orchestrator.errors import RejectedResults
from matloop.orchestrator.lab import Lab, Result
from tests.orchestrator.web.conftest import OPEN, Visitor


@pytest.mark.parametrize(
    "values", [[1e100, -1e100, 5.0], [1e100], [5e-324, 0.0], [-0.0, 0.0], [1e16, 1e16 + 2], [1.0, 1.0 + 1e-15]]
)
@pytest.mark.parametrize("objectives", [{"s": "maximise"}, {"s": "maximise", "t": "minimise"}], ids=["one", "two"])
def test_pages_and_drawings_of_any_values(visit, tmp_path, values, objectives):
    space = {"x": {"type": "float", "low": 0, "high": 1}}
    lab = Lab.create(tmp_path / "any", space=space, objectives=objectives, strategy="random")
    client = Visitor(visit()._portal, lab, OPEN)
    try:
        told = [
            {"point": {"x": i / 10}, "values": dict.fromkeys(objectives, v), "noise": {"s": 1e99}, "request": str(i)}
            for i, v in enumerate(values)
        ]
        assert client.post("/api/results", json={"results": told}).status_code == 200
        for path in ("/", "/history", "/experiments/0", "/api/study", "/api/experiments"):
            answer = client.get(path)
            assert answer.status_code == 200 and not any(f'="{bad}"' in answer.text for bad in ("nan", "inf", "-inf"))
        lab.plot_progress().canvas.draw()
    finally:
        client.close()


@pytest.mark.parametrize("value", [1e101, -1.7e308, float("inf"), float("nan")])
def test_what_no_instrument_shows_is_refused(lab, value):
    for result in (
        Result(point={"temperature": 400, "solvent": "water", "hours": 3}, values={"yield": value}),
        Result(point={"temperature": 400, "solvent": "water", "hours": 3}, values={"yield": 1}, noise={"yield": value}),
        Result(point={"temperature": 400, "solvent": "water", "hours": 3}, values={"yield": 1}, cost=value),
    ):
        with pytest.raises(RejectedResults):
            lab.tell([result], allow_outside=True)
    assert lab.trials() == []
