"""A lab in a notebook: DataFrames in and out, drawings, and a campaign without a file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from matloop.orchestrator.errors import ConfigError, MatloopError, RejectedResults
from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.trial import Prediction, Proposal

pandas = pytest.importorskip("pandas")

SPACE = {
    "temperature": {"type": "float", "low": 600.0, "high": 1000.0, "unit": "°C"},
    "gas": {"type": "categorical", "choices": ["argon", "air"]},
}
OBJECTIVES = {"hardness": {"direction": "maximise", "unit": "HV"}}


def create(folder: Path, **options) -> Lab:
    options.setdefault("strategy", "space_filling")
    return Lab.create(folder, space=SPACE, objectives=OBJECTIVES, ranges={"hardness": (0, 2000)}, **options)


@pytest.fixture
def lab(tmp_path: Path):
    with create(tmp_path / "furnace") as lab:
        yield lab


class Sure:
    """Proposes what it is given, sure of 400."""

    def __init__(self, points):
        self.points = points

    def ask(self, n, pending, rng):
        prediction = Prediction(mean={"hardness": 400.0}, std={"hardness": 10.0})
        taken, self.points = self.points[:n], self.points[n:]
        return [Proposal(point=p, prediction=prediction, reason="sure") for p in taken]

    def tell(self, trial):
        pass


def sure(lab: Lab, *temperatures: float):
    lab._recommender.strategy = Sure([{"temperature": t, "gas": "air"} for t in temperatures])
    return lab


def test_created_again_it_goes_on_and_others_open_it(lab, tmp_path):
    lab.recommend(2)
    folder = tmp_path / "furnace"
    for other in (create(folder), Lab.open(folder), Lab.open(folder / "campaign.yaml")):
        with other:
            assert len(other.pending()) == 2 and other.directory == folder and other.name == "furnace"
    with pytest.raises(ConfigError, match="describes another campaign"):
        create(folder, seed=7)
    with pytest.raises(ConfigError, match="maximize"):
        Lab.create(tmp_path / "no", space=SPACE, objectives={"y": "maximize"})
    assert not (tmp_path / "no" / "campaign.yaml").exists()


def test_frames_go_out_and_come_back(lab):
    frame = sure(lab, 700.0, 800.123456789, 900.0).recommend_frame(3)
    assert list(frame.columns) == [
        *("temperature", "gas", "hardness predicted", "hardness low", "hardness high"),
        *("hardness", "hardness ±", "failed", "note", "cost", "reason"),
    ]
    assert frame.index.name == "trial" and frame["hardness"].isna().all()
    assert frame.loc[0, "hardness low"] == pytest.approx(400 - 16.45, abs=0.01)
    frame.loc[0, ["hardness", "hardness ±", "note"]] = [412.5, 3.0, "grey"]
    frame.loc[1, "failed"] = "cracked"
    told = lab.tell(frame, by="Ada")
    assert [(t.id, t.state, t.worker, t.planned) for t in told] == [
        (0, "answered", "Ada", None),
        (1, "failed", "Ada", None),
    ]
    assert told[1].point["temperature"] == 800.123456789
    frame.loc[2, ["temperature", "hardness"]] = [905.0, 390.0]
    assert [t.id for t in lab.tell(frame)] == [0, 1, 2]
    lab.tell(pandas.DataFrame({"temperature": [650.0], "gas": ["argon"], "hardness": [300]}))
    history = lab.frame()
    assert list(history["state"]) == ["answered", "failed", "answered", "answered"]
    assert list(history["planned temperature"])[2] == 900.0 and history.loc[2, "temperature"] == 905.0
    assert history["hardness"].tolist()[2:] == [390.0, 300.0] and np.isnan(history.loc[1, "hardness"])
    assert history.loc[1, "failed"] == "cracked" and history.loc[3, "origin"] == "reported"
    assert str(history["finished"].dtype).endswith("UTC]")


def test_a_frame_with_faults_is_refused_whole(lab):
    lab.recommend(2)
    frame = pandas.DataFrame({"trial": [0, 1], "hardness": [400, 9000], "gas": ["air", None]})
    with pytest.raises(RejectedResults) as caught:
        lab.tell(frame)
    assert [(p.row, p.column) for p in caught.value.problems] == [(1, "hardness")]
    with pytest.raises(RejectedResults, match="did you mean 'hardness'"):
        lab.tell(frame.rename(columns={"hardness": "hardnes"}))
    assert len(lab.pending()) == 2


def test_an_empty_lab_has_frames_and_drawings(lab):
    assert list(lab.frame().index) == [] and "0 measured" in lab._repr_html_()
    for figure in (lab.plot_progress(), lab.plot_predictions(), lab.plot_parameter("gas")):
        figure.canvas.draw()


def test_drawings_show_what_is_on_record(lab):
    sure(lab, 700.0, 710.0, 720.0, 730.0).recommend(4)
    lab.tell(
        [
            Result(trial=0, values={"hardness": 405.0}, noise={"hardness": 4.0}),
            Result(trial=1, values={"hardness": 480.0}),
            Result(trial=2, failure="cracked"),
            Result(point={"temperature": 650.0, "gas": "argon"}, values={"hardness": 300.0}),
        ]
    )
    axes = lab.plot_progress().axes[0]
    (best,) = [line for line in axes.lines if line.get_label() == "best so far"]
    assert list(best.get_ydata()) == [405.0, 480.0, 480.0, 480.0]
    assert axes.get_ylabel() == "hardness (HV)"
    predictions = lab.plot_predictions().axes[0]
    assert predictions.get_title(loc="left") == "1 of 2 measurements within their 90 % interval"
    parameter = lab.plot_parameter("temperature").axes[0]
    assert parameter.get_xlabel() == "temperature (°C)"
    crosses = [line for line in parameter.lines if line.get_label() == "failed"]
    assert [list(line.get_xdata()) for line in crosses] == [[720.0]]
    assert [t.get_text() for t in lab.plot_parameter("gas").axes[0].get_xticklabels()] == ["argon", "air"]
    with pytest.raises(MatloopError, match="no input 'temp'"):
        lab.plot_parameter("temp")
    with pytest.raises(MatloopError, match="no objective 'x'"):
        lab.plot_progress("x")


def test_a_study_of_two_objectives_shows_what_trades_against_what(tmp_path, lab):
    two = {"strength": "maximise", "loss": {"direction": "minimise", "unit": "%"}}
    with Lab.create(
        tmp_path / "two", space={"x": {"type": "float", "low": 0, "high": 1}}, objectives=two, strategy="random"
    ) as both:
        both.plot_pareto().canvas.draw()
        rows = [(1.0, 1.0), (2.0, 2.0), (1.5, 3.0)]
        both.tell([Result(point={"x": i / 4}, values={"strength": s, "loss": v}) for i, (s, v) in enumerate(rows)])
        axes = both.plot_pareto().axes[0]
        (front,) = [line for line in axes.lines if line.get_label() == "front"]
        assert list(zip(front.get_xdata(), front.get_ydata(), strict=True)) == [(2.0, 2.0), (1.0, 1.0)]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("strength", "loss (%)")
        assert both.plot_pareto("loss", "strength").axes[0].get_xlabel() == "loss (%)"
        with pytest.raises(MatloopError, match="twice"):
            both.plot_pareto("loss", "loss")
    with pytest.raises(MatloopError, match="several objectives"):
        lab.plot_pareto()


def test_a_notebook_shows_where_it_stands(lab):
    lab.recommend(2)
    lab.tell([Result(trial=0, values={"hardness": 412.0}, note="<b>")])
    html = lab._repr_html_()
    assert "1 measured, 0 failed, 1 waiting for results; best hardness 412 HV (trial 0)" in html
    assert re.search(r"<th>temperature \(°C\)</th>", html) and "<b>" not in html
