"""Slices in a notebook: drawn from the lab's model, for every kind of input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from matloop.orchestrator.errors import MatloopError, NoPrediction, RejectedPoints
from matloop.orchestrator.lab import Lab, Result

SPACE = {
    "kind": "experiment",
    "parameters": {
        "temperature": {"type": "float", "low": 600, "high": 1000, "unit": "°C"},
        "hours": {"type": "float", "low": 0.5, "high": 24, "log": True, "unit": "h"},
        "gas": {"type": "categorical", "choices": ["argon", "air"]},
    },
    "mixtures": {"metal": {"components": ["Fe", "Cr", "Mo"], "total": 100, "unit": "wt%"}},
    "constraints": ["gas != 'air' or temperature <= 850"],
}
OBJECTIVES = {"hardness": {"direction": "maximise", "unit": "HV"}, "cost": "minimise"}


def measured(point) -> dict[str, float]:
    return {"hardness": point["temperature"] / 10 + point["Cr"], "cost": point["Mo"] + point["hours"]}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory):
    strategy = {"kind": "bayesian", "surrogate": "gp", "initial": 6}
    folder: Path = tmp_path_factory.mktemp("slices") / "lab"
    with Lab.create(folder, space=SPACE, objectives=OBJECTIVES, strategy=strategy) as lab:
        rng = np.random.default_rng(0)
        points = [lab.space.sample(rng) for _ in range(14)]
        lab.tell([Result(point=p, values=measured(p)) for p in points])
        yield lab


def test_a_line_shows_mean_band_measurements_and_what_is_forbidden(lab):
    best = {"temperature": 700, "hours": 3, "gas": "air", "Fe": 40, "Cr": 50, "Mo": 10}
    (axes,) = lab.plot_slice("temperature", at=best).axes
    assert axes.get_xlabel() == "temperature (°C)" and axes.get_ylabel() == "hardness (HV)"
    line = max(axes.lines, key=lambda line: len(line.get_xdata()))
    assert len(line.get_xdata()) == 41 and len(axes.collections) >= 1
    slope = np.polyfit(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), 1)[0]
    assert slope == pytest.approx(0.1, rel=0.3)
    (grey,) = axes.patches
    assert grey.get_extents().transformed(axes.transData.inverted()).x0 == pytest.approx(850, abs=12)
    assert lab.plot_slice("hours", objective="cost").axes[0].get_xscale() == "log"
    ticks = lab.plot_slice("gas").axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["argon", "air"]


def test_maps_and_triangles_have_a_scale_of_their_colours(lab):
    axes, bar = lab.plot_slice("temperature", "hours").axes
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("temperature (°C)", "hours (h)", "log")
    assert bar.get_ylabel() == "hardness (HV)"
    axes, bar = lab.plot_ternary("metal", objective="cost").axes
    assert [text.get_text() for text in axes.texts] == ["Fe 100 wt%", "Cr 100 wt%", "Mo 100 wt%"]
    assert bar.get_ylabel() == "cost" and lab.plot_slice("Cr")._repr_png_().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_says_why(lab, tmp_path):
    with pytest.raises(MatloopError, match="there is no input 'time'"):
        lab.plot_slice("time")
    with pytest.raises(MatloopError, match="no objective 'hardnes'; did you mean"):
        lab.plot_slice("hours", objective="hardnes")
    with pytest.raises(RejectedPoints, match="expected a value of hours, got none"):
        lab.plot_slice("temperature", at={"temperature": 700, "gas": "air", "Fe": 100})
    with (
        Lab.create(tmp_path / "new", space=SPACE, objectives=OBJECTIVES) as new,
        pytest.raises(NoPrediction, match="expected a measured experiment to look around from"),
    ):
        new.plot_slice("temperature")
