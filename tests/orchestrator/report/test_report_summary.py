"""The comparison lines: right numbers, and plain words when nothing was gained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.report import comparison, summary
from matloop.orchestrator.report.study import studies
from tests.orchestrator.report.synthetic_campaign import STUDIES, Writer

MAE = {"validation_mae": {"direction": "minimise", "unit": ""}}


def evolve(
    folder: Path, evolved: list[tuple[float, float]], recipe: list[tuple[float, float]] | None = None
) -> list[str]:
    """Lines of a search from three random networks, (validation, test)."""
    writer = Writer(folder, {"search": {**STUDIES["search"], "objectives": MAE}})
    random = [(0.04, 0.05), (0.034, 0.037), (0.03, 0.03)]
    for origin, pairs in (("recipe", recipe or []), ("random", random), ("mutation", evolved)):
        for validation, test in pairs:
            trial = writer.propose("search", extra={"origin": origin})
            writer.answer(trial, {"validation_mae": validation, "test_mae": test})
    writer.ledger.close()
    return summary.lines(folder)


def test_evolution_against_random_networks(tmp_path: Path) -> None:
    assert evolve(tmp_path / "a", [(0.021, 0.024), (0.05, 0.01)]) == [
        "search: evolved network 0.0210 validation MAE against 0.0340 of the median random network (−38\u202f%), "
        "best of 3 random ones 0.0300; test 0.0240 against 0.0370"
    ]
    assert evolve(tmp_path / "b", [(0.021, 0.04)])[0].endswith("test 0.0400 against 0.0370 (no better on test data)")
    assert evolve(tmp_path / "c", [(0.05, 0.05)]) == [
        "search: evolution found nothing better than the best of 3 random networks, 0.0300 validation MAE "
        "(median 0.0340)"
    ]


def test_a_recipe_is_no_random_network(tmp_path: Path) -> None:
    assert evolve(tmp_path / "a", [(0.021, 0.024)], [(0.022, 0.02)]) == [
        "search: evolved network 0.0210 validation MAE against 0.0340 of the median random network (−38\u202f%), "
        "best of 3 random ones 0.0300, the recipe that it began with 0.0220; test 0.0240 against 0.0370"
    ]
    assert evolve(tmp_path / "b", [(0.021, 0.024)], [(0.02, 0.02)]) == [
        "search: evolution found nothing better than its recipe, 0.0200 validation MAE (median of 3 random networks "
        "0.0340)"
    ]


def design(folder: Path, best: float) -> list[str]:
    """Lines of a design held against three random microstructures."""
    writer = Writer(folder, {name: STUDIES[name] for name in ("sample", "design")})
    for value in (0.6, 0.7, 0.8):
        writer.answer(writer.propose("sample"), {"absorption": value})
    for value in (0.5, best):
        writer.answer(writer.propose("design"), {"absorption": value})
    writer.ledger.close()
    return summary.lines(folder)


def test_optimisation_against_the_baseline(tmp_path: Path) -> None:
    assert design(tmp_path / "a", 0.945) == [
        "design: absorption 0.945 against 0.70 ± 0.10 of random microstructures (+35.0\u202f%), best random of 3: 0.800"
    ]
    assert design(tmp_path / "b", 0.75)[0].endswith("best random of 3: 0.800 – not beaten")


def test_nothing_to_say_about_an_empty_campaign(tmp_path: Path) -> None:
    Writer(tmp_path).ledger.close()
    assert summary.lines(tmp_path) == []


BOX = {"kind": "box", "parameters": {name: {"type": "float", "low": 0.0, "high": 1.0} for name in "ab"}}
LOSS = {"loss": {"direction": "minimise", "unit": "eV"}}


def learn(folder: Path, chosen: np.ndarray, *, ended: bool = True, random: int = 60) -> Path:
    """A campaign whose active learning chose the given points, (k, 2) in the unit square."""
    active = {"kind": "active_learning", "surrogate": {"kind": "gp"}}
    driver = {"kind": "python", "path": "math:fsum"}
    part: dict[str, Any] = {"space": BOX, "driver": driver, "objectives": LOSS, "budget": {"trials": 60}}
    parts = {
        "sample": {**part, "strategy": {"kind": "random"}, "baseline": None},
        "learn": {**part, "strategy": active, "baseline": "sample"},
    }
    writer = Writer(folder, parts)
    for study, points in (("sample", np.random.default_rng(0).random((random, 2))), ("learn", chosen)):
        for a, b in points.tolist():
            value = float(np.sin(6 * a) + b * b)
            writer.answer(writer.propose(study, {"a": a, "b": b}), {"loss": value})
        if ended:
            writer.ended(study, "60 trials")
    writer.ledger.close()
    return folder


@pytest.mark.filterwarnings("default")  # of packages that are imported here for the first time
def test_active_learning_that_chose_one_corner_loses_and_the_line_says_so(tmp_path: Path) -> None:
    learn(tmp_path, 0.1 * np.random.default_rng(1).random((20, 2)))
    (line,) = summary.lines(tmp_path)
    assert line.startswith("learn: MAE ")
    assert " eV after 20 chosen simulations against " in line
    assert line.endswith("after 20 random ones (tested on 40 others); active learning loses here")
    cached = (tmp_path / comparison.CACHE).read_text()
    result = json.loads(cached)["learn"]["result"]
    assert min(result["chosen"]) > max(result["random"])

    doctored = json.loads(cached)
    doctored["learn"]["result"]["chosen"] = [0.0, 0.0, 0.0]
    (tmp_path / comparison.CACHE).write_text(json.dumps(doctored))
    assert "MAE 0 eV after" in summary.lines(tmp_path)[0], "equal trials must not be fitted again"

    history = read(tmp_path / "ledger.db")
    found = {s.name: s for s in studies(history)}
    before = comparison.key(history, found["learn"], found["sample"])
    history.finished.append(history.finished[-1])  # another answer makes the kept result stale
    assert comparison.key(history, found["learn"], found["sample"]) != before


def test_no_comparison_before_the_study_has_ended_or_with_too_few(tmp_path: Path) -> None:
    points = np.random.default_rng(1).random((20, 2))
    assert summary.lines(learn(tmp_path / "a", points, ended=False)) == []
    assert summary.lines(learn(tmp_path / "b", points[:3])) == []


@pytest.mark.filterwarnings("default")  # of packages that are imported here for the first time
def test_a_surrogate_that_cannot_be_fitted_does_not_cost_the_report(tmp_path: Path) -> None:
    learn(tmp_path, np.random.default_rng(1).random((20, 2)))
    history = read(tmp_path / "ledger.db")
    found = {s.name: s for s in studies(history)}
    history.sessions[-1].config["studies"]["learn"]["strategy"]["surrogate"] = {"kind": "nonsense"}  # type: ignore[index]
    line = summary.learning(tmp_path, history, found["learn"], found["sample"])
    assert line is not None and line.startswith("no comparison with random choice")


@pytest.mark.parametrize(
    ("chosen", "random", "gain", "clear"),
    [
        ((0.1, 0.11, 0.12), (0.2, 0.21, 0.22), 0.1, True),
        ((0.2, 0.21, 0.22), (0.1, 0.11, 0.12), -0.1, True),
        ((0.1, 0.3, 0.2), (0.2, 0.2, 0.21), 0.01 / 3, False),
    ],
)
def test_verdicts(chosen: tuple[float, ...], random: tuple[float, ...], gain: float, clear: bool) -> None:
    found = comparison.Comparison(chosen, random, 10, 20)
    assert found.gain == pytest.approx(gain)
    assert found.clear is clear
