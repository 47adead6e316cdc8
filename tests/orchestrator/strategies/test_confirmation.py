"""What earlier studies found best is measured again, the best first, each point once."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.orchestrator.errors import SpaceExhausted
from matloop.orchestrator.strategies.confirmation import Confirmation
from matloop.orchestrator.trial import Failure, Objective, Trial
from matloop.search_spaces.box import Box

SPACE = Box(parameters={"x": {"type": "float", "low": 0, "high": 1}})
ERROR = Objective("error", "minimise")
RNG = np.random.default_rng(0)


def trial(number, x, value, **options):
    failure = Failure(cause="exception", message="no") if value is None else None
    values = None if value is None else {"error": value, "size": options.pop("size", 1.0)}
    return Trial(
        id=number, study="search", number=number, point={"x": x}, seed=0, values=values, failure=failure, **options
    )


DATA = (trial(0, 0.1, 0.5), trial(1, 0.2, 0.3), trial(2, 0.3, None), trial(3, 0.4, 0.4), trial(4, 7.0, 0.01))


def strategy(data=DATA, objectives=(ERROR,)):
    return Confirmation(space=SPACE, objectives=objectives, data=data)


def points(proposals):
    return [proposal.point["x"] for proposal in proposals]


def test_the_best_comes_first_and_each_once():
    found = strategy()
    first = found.ask(2, (), RNG)
    assert points(first) == [0.2, 0.4] and first[0].parents == (1,) and "trial 1 of search" in first[0].reason
    assert points(found.ask(2, first, RNG)) == [0.1]  # what failed and what lies outside are no candidates
    found.tell(trial(9, 0.2, 0.9))
    assert points(found.ask(5, first[1:], RNG)) == [0.1]
    for number, x in enumerate((0.4, 0.1)):
        found.tell(trial(10 + number, x, 0.9))
    with pytest.raises(SpaceExhausted, match="measured again"):
        found.ask(1, (), RNG)


def test_while_the_last_ones_run_there_is_nothing_to_do():
    found = strategy()
    assert found.ask(1, found.ask(3, (), RNG), RNG) == []


def test_a_point_counts_by_its_best_value_and_the_direction_counts():
    data = (trial(0, 0.1, 0.5), trial(1, 0.1, 0.1), trial(2, 0.2, 0.3))
    assert points(strategy(data).ask(3, (), RNG)) == [0.1, 0.2]
    assert points(strategy(DATA, (Objective("error", "maximise"),)).ask(3, (), RNG)) == [0.1, 0.4, 0.2]


def test_limits_and_fidelity_count():
    data = (trial(0, 0.1, 0.5, size=9.0), trial(1, 0.2, 0.7), trial(2, 0.3, 0.1, fidelity=0.5))
    size = Objective("size", "minimise", at_most=5.0)
    assert points(strategy(data, (ERROR, size)).ask(3, (), RNG)) == [0.2]


def test_a_study_confirms_the_one_before(tmp_path):
    from matloop import open_campaign

    (tmp_path / "m.py").write_text("def f(point, trial):\n    return {'y': point['x'] + (trial.study == 'again')}\n")
    (tmp_path / "c.yaml").write_text(
        "name: c\nexecutor: serial\nstudies:\n"
        "  search:\n"
        "    space: {kind: box, parameters: {x: {type: float, low: 0, high: 1}}}\n"
        "    driver: {kind: python, path: 'm.py:f'}\n"
        "    strategy: random\n    objectives: {y: minimise}\n    budget: {trials: 6}\n"
        "  again:\n    space: {from: search}\n    driver: {from: search}\n"
        "    strategy: {kind: confirmation, data: {from: search}}\n    objectives: {y: minimise}\n"
        "    budget: {trials: 2}\n"
    )
    with open_campaign(tmp_path / "c.yaml") as campaign:
        assert campaign.run() == "finished"
        first = sorted(t.values["y"] for t in campaign.history.of("search"))
        assert [t.values["y"] - 1 for t in campaign.history.of("again")] == pytest.approx(first[:2])


def test_without_values_to_go_by_it_ends_and_says_why():
    for data in ((), (trial(0, 0.1, None), trial(1, 7.0, 0.5))):
        with pytest.raises(SpaceExhausted, match="earlier studies have no values"):
            strategy(data).ask(1, (), RNG)


def test_earlier_studies_have_to_be_named(tmp_path):
    from matloop.orchestrator.composition.build import validate
    from matloop.orchestrator.composition.config import load
    from matloop.orchestrator.errors import ConfigError

    (tmp_path / "m.py").write_text("def f(point):\n    return 1.0\n")
    (tmp_path / "c.yaml").write_text(
        "name: c\nstudies:\n  again:\n    space: {kind: box, parameters: {x: {type: float, low: 0, high: 1}}}\n"
        "    driver: {kind: python, path: 'm.py:f'}\n    strategy: confirmation\n    budget: {trials: 1}\n"
    )
    with pytest.raises(ConfigError, match="Confirmation needs the option 'data'"):
        validate(load(tmp_path / "c.yaml"))
