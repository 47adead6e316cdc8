"""The report's section of slices: from a model of what is on record, built again; nothing where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from matloop.orchestrator.composition.build import Builder
from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.report.page import html

SPACE = {
    "kind": "experiment",
    "parameters": {
        "temperature": {"type": "float", "low": 600, "high": 1000, "unit": "°C"},
        "gas": {"type": "categorical", "choices": ["argon", "air"]},
    },
    "mixtures": {"metal": {"components": ["Fe", "Cr", "Mo"], "total": 100, "unit": "wt%"}},
}


def report(folder: Path, n: int, **strategy) -> str:
    options = {"kind": "bayesian", "surrogate": "gp", "initial": 6, **strategy}
    with Lab.create(folder, space=SPACE, objectives={"hardness": "maximise"}, strategy=options) as lab:
        rng = np.random.default_rng(0)
        points = [lab.space.sample(rng) for _ in range(n)]
        lab.tell([Result(point=p, values={"hardness": p["temperature"] / 10 + p["Cr"]}) for p in points])
    return html(read(folder / "ledger.db"), ArtifactStore(folder / "artifacts"))


def test_lines_a_map_and_a_triangle(tmp_path):
    page = report(tmp_path / "a", 10)
    assert "What the model expects" in page and "Expected hardness along each input" in page
    for axis in ("temperature (°C)", "Fe (wt%)", "argon", "Cr 100 wt%"):
        assert axis in page, axis
    assert "Expected hardness over Fe, Cr, Mo" in page
    assert page == html(read(tmp_path / "a" / "ledger.db"), ArtifactStore(tmp_path / "a" / "artifacts"))


@pytest.mark.parametrize(
    ("n", "strategy"),
    [(3, {}), (10, {"kind": "random", "surrogate": None, "initial": None}), (10, {"surrogate": "ensemble"})],
)
def test_nothing_before_there_is_a_model_and_no_network_is_trained(tmp_path, n, strategy):
    options = {name: value for name, value in strategy.items() if value is not None}
    dropped = [name for name, value in strategy.items() if value is None]
    if dropped:
        with Lab.create(tmp_path / "b", space=SPACE, objectives={"hardness": "maximise"}, strategy="random") as lab:
            lab.tell([Result(point=lab.space.sample(np.random.default_rng(0)), values={"hardness": 1.0})])
        page = html(read(tmp_path / "b" / "ledger.db"), ArtifactStore(tmp_path / "b" / "artifacts"))
    else:
        page = report(tmp_path / "a", n, **options)
    assert "What the model expects" not in page and "Best so far" in page


def test_a_campaign_that_cannot_be_built_again_has_a_report_without(tmp_path):
    report(tmp_path / "a", 10)
    history = read(tmp_path / "a" / "ledger.db")
    history.sessions[-1].config["studies"]["experiments"]["strategy"]["surrogate"] = "gp"
    history.sessions[-1].config["studies"]["experiments"]["space"]["parameters"]["temperature"]["low"] = 2000
    page = html(history, ArtifactStore(tmp_path / "a" / "artifacts"))
    assert "What the model expects" not in page and "Best so far" in page


@pytest.mark.parametrize("kind", ["random", "bayesian"])
def test_a_strategy_that_predicts_nothing_is_not_built_for_the_report(tmp_path, monkeypatch, kind):
    with Lab.create(tmp_path / "a", space=SPACE, objectives={"hardness": "maximise"}, strategy=kind) as lab:
        lab.tell([Result(point=lab.space.sample(np.random.default_rng(0)), values={"hardness": 1.0})])
    built = []
    original = Builder.strategy
    monkeypatch.setattr(Builder, "strategy", lambda self, name: built.append(name) or original(self, name))
    html(read(tmp_path / "a" / "ledger.db"), ArtifactStore(tmp_path / "a" / "artifacts"))
    assert bool(built) == (kind == "bayesian")
