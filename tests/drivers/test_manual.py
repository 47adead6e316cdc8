"""The stand-in for experiments that people do."""

from __future__ import annotations

import pytest

from matloop.drivers.manual import Manual
from matloop.orchestrator.errors import ConfigError, MatloopError
from matloop.orchestrator.trial import Objective, Trial

HARDNESS = Objective("hardness", "maximise", "HV")


def test_says_what_is_measured_and_is_never_called():
    driver = Manual(objectives=(HARDNESS,), ranges={"hardness": (0, 2000)}, instructions="HV10")
    assert (driver.objectives, driver.repeatable, driver.by_people) == ((HARDNESS,), False, True)
    with pytest.raises(MatloopError, match="trial 3 is an experiment for people"):
        driver(Trial(id=3, study="s", number=0, point={}, seed=0))


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"hardnes": (0, 1)}, r"what is measured \(hardness\), got 'hardnes'"),
        ({"hardness": (5, 5)}, r"low < high, got \[5, 5\]"),
        ({"hardness": (0, float("inf"))}, "low < high"),
    ],
)
def test_ranges_must_make_sense(ranges, message):
    with pytest.raises(ConfigError, match=message):
        Manual(objectives=(HARDNESS,), ranges=ranges)
