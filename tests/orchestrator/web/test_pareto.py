"""What trades against what: the front that is drawn, and what is expected of experiments to do."""

from __future__ import annotations

import re
from itertools import pairwise, product

import numpy as np
import pytest

from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.trial import Objective, Prediction, Trial
from matloop.orchestrator.web.pareto import pareto
from tests.orchestrator.web.conftest import OPEN, Visitor

STRENGTH, LOSS = Objective("strength", "maximise", "MPa"), Objective("mass_loss", "minimise", "%")
PRICE = Objective("price", "minimise", "€")


def trial(i, *values, objectives=(STRENGTH, LOSS), std=None):
    measured = dict(zip((o.name for o in objectives), values, strict=True))
    if std is None:
        return Trial(id=i, study="s", number=i, point={}, seed=0, state="answered", values=measured)
    prediction = Prediction(mean=measured, std=dict.fromkeys(measured, std))
    return Trial(id=i, study="s", number=i, point={}, seed=0, prediction=prediction)


def circles(svg, kind):
    """Places by id of the experiment that a disc leads to."""
    found = re.findall(rf'<a href="/experiments/(\d+)"><circle class="{kind}" cx="([\d.]+)" cy="([\d.]+)"', svg)
    return {int(i): (float(x), float(y)) for i, x, y in found}


def beaten(a, b, objectives):
    """Whether b is at least as good in everything and better in something."""
    pairs = [(o.loss(x), o.loss(y)) for o, x, y in zip(objectives, a, b, strict=True)]
    return all(y <= x for x, y in pairs) and any(y < x for x, y in pairs)


@pytest.mark.parametrize("directions", list(product(("minimise", "maximise"), repeat=2)))
def test_the_front_and_the_stairs_through_it(directions):
    objectives = tuple(Objective(name, way) for name, way in zip("ab", directions, strict=True))
    rng = np.random.default_rng(3)
    rows = [tuple(row) for row in rng.normal(size=(40, 2)).tolist()]
    svg, _ = pareto([trial(i, *row, objectives=objectives) for i, row in enumerate(rows)], objectives, objectives)
    front, all_ = circles(svg, "front"), circles(svg, "dot")
    assert set(all_) == set(range(40))
    assert set(front) == {i for i, row in enumerate(rows) if not any(beaten(row, other, objectives) for other in rows)}
    for i, j in product(range(40), repeat=2):  # to the right is larger, and so is up
        assert not (rows[i][0] < rows[j][0] and all_[i][0] > all_[j][0] + 0.1)
        assert not (rows[i][1] < rows[j][1] and all_[i][1] < all_[j][1] - 0.1)
    corners = [tuple(map(float, p.split())) for p in re.search(r'class="best" d="M([^"]+)"', svg).group(1).split("L")]
    signs = [1 if way == "minimise" else -1 for way in directions]
    for x, y in all_.values():  # nothing that was measured lies beyond the line
        reached = [(signs[0] * cx <= signs[0] * x + 0.1, signs[1] * cy >= signs[1] * y - 0.1) for cx, cy in corners]
        assert any(a and b for a, b in reached)
    for (x1, y1), (x2, y2) in pairwise(corners):
        assert x1 == x2 or y1 == y2


def test_what_is_expected_of_experiments_to_do():
    trials = [trial(0, 100.0, 5.0), trial(1, 200.0, 9.0), trial(2, 150.0, 7.0, std=10.0), trial(3, 0.0, 0.0)]
    svg, sentence = pareto(trials, (STRENGTH, LOSS), (STRENGTH, LOSS))
    assert set(circles(svg, "expected")) == {2}
    (x, y) = circles(svg, "expected")[2]
    lines = re.findall(r'<line class="expected" x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)"', svg)
    (across, _) = [tuple(map(float, line)) for line in lines]
    known = circles(svg, "dot")
    per_mpa = (known[1][0] - known[0][0]) / 100
    assert across[1] == across[3] == y
    assert across[2] - across[0] == pytest.approx(2 * 16.45 * per_mpa, abs=0.2) and x == pytest.approx(
        (across[0] + across[2]) / 2, abs=0.1
    )
    assert "to do: expected 150 MPa (90 %: 134 to 166)" in svg
    assert "Ring: what is expected of the one to do" in sentence
    assert "higher is better" in svg and "lower is better" in svg and 'style="' not in svg


def test_of_three_objectives_a_panel_shows_two():
    objectives = (STRENGTH, LOSS, PRICE)
    rows = [(100, 5, 3), (90, 6, 1), (80, 7, 4)]  # the second is beaten in the first two, but cheapest
    trials = [trial(i, *map(float, row), objectives=objectives) for i, row in enumerate(rows)]
    svg, sentence = pareto(trials, objectives, (STRENGTH, LOSS))
    assert set(circles(svg, "front")) == {0, 1} and 'class="best"' not in svg
    assert "2 experiments that no other beats in all 3 objectives" in sentence


def test_nothing_is_drawn_before_there_is_a_result():
    assert pareto([trial(0, 1.0, 1.0, std=1.0)], (STRENGTH, LOSS), (STRENGTH, LOSS)) is None


def test_the_page_of_a_study_with_two_objectives(visit, tmp_path):
    space = {"x": {"type": "float", "low": 0, "high": 1}}
    two = {"strength": {"direction": "maximise", "unit": "MPa"}, "mass_loss": {"direction": "minimise", "unit": "<%>"}}
    portal = visit()._portal
    lab = Lab.create(tmp_path / "two", space=space, objectives=two, strategy="random")
    client = Visitor(portal, lab, OPEN)
    try:
        assert "<svg" not in client.get("/").text
        lab.tell([Result(point={"x": x}, values={"strength": 9 * x, "mass_loss": x * x}) for x in (0.1, 0.5, 0.9)])
        page = client.get("/").text
        assert "Strength against mass loss" in page and page.count('class="plot pareto"') == 1
        assert "on the Pareto front" in page and "<b>3</b>" in page
        assert "best mass loss" in page and "&lt;%&gt;" in page and "<%>" not in page
        assert client.get("/api/study").json()["front"] == [2, 1, 0]
    finally:
        client.close()
    assert "pareto" not in visit().get("/").text
