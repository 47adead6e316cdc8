"""What is wrong travels as data: places, positions, order; and it survives the way between processes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from matloop.orchestrator.errors import (
    ConfigError,
    InvalidPoint,
    InvalidResult,
    Position,
    Problem,
    Refused,
    RejectedResults,
    inside,
)
from matloop.search_spaces.box import Box
from matloop.search_spaces.experiment.space import Experiment
from matloop.search_spaces.pool import Pool

LATER = Problem("b is wrong", ("b",), position=Position("c.yaml", 10, 1))
EARLIER = Problem("a is wrong", ("a", 0), remedy="mend it", position=Position("c.yaml", 2, 7))


def test_problems_come_once_in_the_order_of_the_file() -> None:
    error = ConfigError(problems=[LATER, EARLIER, Problem("no place"), LATER])
    assert error.problems == (Problem("no place"), EARLIER, LATER)
    assert str(error).splitlines() == ["no place", "c.yaml:2:7: a.0: a is wrong; mend it", "c.yaml:10:1: b: b is wrong"]


def test_a_place_is_one_key_or_several() -> None:
    assert ConfigError("no").problems[0].place == ()
    assert ConfigError("no", at="high").problems[0].place == ("high",)
    assert InvalidPoint("no", at=("z", 3)).problems[0].place == ("z", 3)
    assert str(InvalidPoint("no", at=("z", 3))) == "no"


def test_an_outer_part_says_where_the_inner_one_stands() -> None:
    with pytest.raises(ConfigError) as caught, inside("mixtures", "m"), inside("limits"):
        raise ConfigError("no", at="Fe")
    assert caught.value.problems[0].place == ("mixtures", "m", "limits", "Fe")


@pytest.mark.parametrize("kind", [ConfigError, InvalidPoint, InvalidResult])
def test_problems_survive_pickling(kind: type[Refused]) -> None:
    error = kind(problems=[EARLIER, LATER])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and again.problems == error.problems and str(again) == str(error)


def test_rejected_results_survive_pickling_and_name_the_command() -> None:
    told = Problem("expected 0 to 9, got 10", (3, "y"), remedy="confirm it", command="--allow-outside")
    error = RejectedResults([told, Problem("is empty", (4,))], source="next.csv")
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert [(p.row, p.column, p.text) for p in one.problems] == [
            (3, "y", "expected 0 to 9, got 10; confirm it"),
            (4, "", "is empty"),
        ]
        assert str(one).splitlines() == [
            "2 problems in next.csv; nothing was recorded",
            "  row 3, y: expected 0 to 9, got 10; confirm it (--allow-outside)",
            "  row 4: is empty",
        ]


BOX = {"t": {"type": "float", "low": 0, "high": 1}, "gas": {"type": "categorical", "choices": ["air", "argon"]}}
POINTS = [
    (Box(parameters=BOX), {"t": 2.0, "gas": "air"}, "t"),
    (Box(parameters=BOX), {"t": 0.5, "gas": "neon"}, "gas"),
    (Box(parameters=BOX), {"t": 0.5}, "gas"),
    (Box(parameters=BOX), {"t": 0.5, "gas": "air", "what": 1}, "what"),
    (Pool(points=[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]), {"a": 3, "b": "x"}, "a"),
    (Pool(points=[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]), {"a": 1}, "b"),
    (Experiment(mixtures={"m": {"components": ["Fe", "Co"]}}), {"Fe": 0.5, "Co": -0.5}, "Co"),
    (Experiment(mixtures={"m": {"components": ["Fe", "Co"]}}), {"Fe": 0.5, "Co": 0.1}, "Fe"),
    (Experiment(parameters=BOX, constraints=["t < 0.5"], folder=Path()), {"t": 0.75, "gas": "air"}, "t"),
]


@pytest.mark.parametrize(("space", "point", "key"), POINTS)
def test_spaces_name_the_parameter(space: Box, point: dict[str, object], key: str) -> None:
    with pytest.raises(InvalidPoint) as caught:
        space.check(point)
    assert caught.value.problems[0].place == (key,)
