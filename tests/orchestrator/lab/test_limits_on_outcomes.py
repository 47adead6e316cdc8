"""Limits on outcomes from the campaign file to status, report, page and best: "purity at least 95"."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from matloop.orchestrator.cli.commands import status
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import ConfigError, MatloopError
from matloop.orchestrator.export.trials import objectives_of, trials_csv
from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.report import write
from matloop.orchestrator.trial import Objective

CAMPAIGN = """\
name: Reactor
studies:
  flow:
    space: {kind: box, parameters: {heat: {type: float, low: 0, high: 1}, time: {type: float, low: 0, high: 1}}}
    driver: manual
    strategy: STRATEGY
    objectives: OBJECTIVES
"""
BAYES = "{kind: bayesian, initial: 4, surrogate: gp}"
LIMITED = "{purity: {at_least: 95, unit: '%'}, output: {direction: maximise, unit: g}}"


def campaign(folder: Path, objectives: str = LIMITED, strategy: str = BAYES) -> Path:
    path = folder / "reactor.yaml"
    text = CAMPAIGN.replace("STRATEGY", strategy).replace("OBJECTIVES", objectives)
    path.write_text(text, encoding="utf-8")
    return path


def outcome(point) -> dict[str, float]:
    return {"output": 10 + 5 * point["heat"], "purity": 100 - 10 * point["heat"]}


@pytest.fixture
def lab(tmp_path):
    with Lab.open(campaign(tmp_path), directory=tmp_path / "run") as opened:
        yield opened


def test_what_is_sought_comes_first_whatever_the_order_in_the_file(lab):
    assert lab.objectives == (
        Objective("output", "maximise", "g"),
        Objective("purity", "maximise", "%", at_least=95.0, sought=False),
    )
    history = read(lab.directory / "ledger.db")
    assert objectives_of(history, "flow") == lab.objectives
    recorded = history.sessions[-1].config["studies"]["flow"]["objectives"]
    assert recorded["output"].items() >= {"direction": "maximise", "unit": "g"}.items()
    assert recorded["purity"].items() >= {"direction": None, "unit": "%", "at_least": 95.0}.items()
    assert not {"at_least", "at_most"} & recorded["output"].keys() and "at_most" not in recorded["purity"]


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        ("{y: {direction: minimise, at_most: 3}}", (Objective("y", "minimise", at_most=3.0),)),
        ("{y: maximise, z: {at_most: 3}}", (Objective("y", "maximise"), Objective("z", at_most=3.0, sought=False))),
        (
            "{y: maximise, pH: {at_least: 6, at_most: 8}}",
            (Objective("y", "maximise"), Objective("pH", at_least=6.0, at_most=8.0, sought=False)),
        ),
    ],
)
def test_limits_are_read(tmp_path, objectives, expected):
    (study,), _ = validate(load(campaign(tmp_path, objectives)))
    assert study.objectives == expected


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ("{y: {unit: g}}", "expected `direction: minimise` or `maximise`, or a limit such as `at_least: 95`"),
        ("{y: {direction: minimise, at_least: 8, at_most: 6}}", "expected at_least below at_most, got 8 and 6"),
        ("{y: {at_least: 8}}", r"expected one objective that is sought, got limits only \(y\)"),
        ("{y: {direction: maximise, at_leest: 8}}", "unknown key; did you mean 'at_least'"),
        ("{y: {direction: maximise, at_least: .inf}}", "finite number"),
    ],
)
def test_limits_that_say_nothing_are_refused(tmp_path, objectives, message):
    with pytest.raises(ConfigError, match=message):
        validate(load(campaign(tmp_path, objectives)))


@pytest.mark.parametrize("strategy", ["{kind: evolution, population: 4}", "optuna"])
def test_strategies_that_know_no_limits_say_so(tmp_path, strategy):
    with pytest.raises(ConfigError, match="expected objectives without limits, got purity at least 95 %"):
        validate(load(campaign(tmp_path, strategy=strategy)))


def views(lab: Lab) -> tuple[str, str, str]:
    page = StringIO()
    status.show(lab.directory, Console(file=page, width=160))
    return page.getvalue(), write(lab.directory).read_text(encoding="utf-8"), lab._repr_html_()


def test_before_and_after_an_experiment_keeps_the_limits(lab):
    """Where the best is, by every view: first nowhere, then the best of those within."""
    lab.recommend(4)
    lab.tell([Result(trial=0, values={"output": 99.0, "purity": 90.0}), Result(trial=1, values={"output": 98.0})])
    lab.tell([Result(trial=2, values={"output": 97.0, "purity": "> 94"}), Result(trial=3, values={"purity": 99.0})])
    shown, html, summary = views(lab)
    assert "none has purity at least 95 %" in shown and "None of them is known to have purity at least 95" in html
    assert "best" not in summary
    assert "no experiment is known to have purity at least 95 %" in lab.best().text

    lab.tell([Result(trial=1, values={"purity": 95.0}), Result(trial=3, values={"output": 12.0})])
    shown, html, summary = views(lab)
    assert "output 98 g" in shown and "98 g (trial 1)" in summary
    assert "The best, trial 1, has output 98 g" in html and "keeps the limits (purity 95 %)" in html
    assert "(not at least 95 %)" in html or "higher is better, purity at least 95 %" in html
    found = lab.best()
    assert [t.id for t in found.measured] == [1] and "within the limits: purity at least 95 %" in found.text
    assert trials_csv(lab.history, lab.directory / "t.csv") == 4


def test_a_day_within_limits(lab):
    """Recommendations, outlook, predictions and the expected best all heed the limit (heat at most 0.5)."""
    for _ in range(3):
        for trial in lab.recommend(4):
            lab.tell([Result(trial=trial.id, values=outcome(trial.point))])
    trials = lab.trials()
    assert {"output", "purity"} == set(trials[-1].prediction.mean)
    assert "chance to keep purity at least 95 %" in trials[-1].reason
    assert 0 <= trials[-1].extra["explanation"]["limits"]["purity"] <= 1
    best = lab.best()
    assert best.measured[0].values["purity"] >= 95
    assert best.measured[0].values["output"] == max(t.values["output"] for t in trials if t.values["purity"] >= 95)
    assert best.expected[0].point["heat"] < 0.6
    ahead = lab.outlook()
    assert ahead["objective"] == "output" and ahead["expected_gain"] < 1.0


def test_a_budget_of_patience_and_target_counts_only_what_keeps_the_limits(tmp_path):
    from matloop.orchestrator.loop.budget import Budget, Spending
    from matloop.orchestrator.trial import Trial

    objectives = (Objective("y", "maximise"), Objective("z", at_most=1.0, sought=False))
    spending = Spending(Budget(target=5.0, patience=3), objectives[0], objectives)

    def told(y, z=None, **fields):
        values = {"y": y} | ({} if z is None else {"z": z})
        trial = Trial(id=0, study="s", number=0, point={}, seed=0, state="answered", values=values, **fields)
        spending.tell(trial)
        return spending.spent(proposed=0, elapsed_s=0.0)

    assert told(9.0, 2.0) is None and told(9.0) is None and spending.best is None
    assert told(4.0, 0.5) is None and spending.best == 4.0
    assert told(9.0, 0.5, censored={"y": "below"}) is None and spending.best == 4.0
    assert told(6.0, 1.0) == "target reached: y 6"


def test_a_prediction_says_which_objective_lacks_values(lab):
    for trial in lab.recommend(4):
        lab.tell([Result(trial=trial.id, values={"output": 1.0 + trial.id})])
    with pytest.raises(MatloopError, match="expected at least 2 values of purity; tell more"):
        lab.predict([{"heat": 0.5, "time": 0.5}])
