"""The suite of faults can fail: what is broken on purpose is noticed, and what is whole is not complained of."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.faults.plan import plan_of
from tests.faults.suite import Workplace

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked, which this system cannot do"),
]

NOTICED = {
    "commits nothing": "cannot be read|not on record|no ledger",
    "commits now and then": "cannot be read|not on record|error|ended with",
    "records another value": "never measured",
    "records another cost": "never measured",
    "tells twice": "acknowledged twice",
    "stores no artifact": "not there as it was stored",
    "leaves a process": "processes were left behind",
    "leaves a file": "temporary files",
    "ends with seven": "ended with 7",
}


@pytest.fixture(scope="module")
def run() -> Iterator:
    with Workplace() as workplace, workplace.server("noticed") as run:
        yield run


def number(kind: str, scene: str, **fields: object) -> int:
    """Of the first run of that description."""
    return next(
        seed
        for seed in range(100_000)
        if (plan := plan_of(seed)).kind.name == kind
        and plan.scene == scene
        and all(getattr(plan, name) == value for name, value in fields.items())
    )


@pytest.mark.parametrize("scene", ["serial", "local", "lab", "rest"])
def test_nothing_broken_nothing_noticed(run, scene):
    verdict = run(number("nothing", scene))
    assert verdict.breaches == [] and not verdict.struck


@pytest.mark.parametrize("broken", NOTICED)
def test_a_broken_loop_or_ledger_is_noticed(run, broken):
    breaches = run(number("nothing", "serial", artifacts=True, network=False, program=False), broken).breaches
    assert any(part in breach for part in NOTICED[broken].split("|") for breach in breaches), breaches


def test_an_exposure_that_is_repeated_is_noticed(run):
    plans = [plan for seed in range(3000) if (plan := plan_of(seed)).kind.name == "SIGKILL at an fsync"]
    chosen = [p.seed for p in plans if p.scene == "serial" and not p.repeatable and 0.2 < p.moment < 0.7]
    breaches = [breach for seed in chosen[:8] for breach in run(seed, "repeats everything").breaches]
    assert any("may not be repeated" in breach for breach in breaches), breaches


@pytest.mark.parametrize("scene", ["lab", "rest"])
def test_a_lab_that_commits_nothing_is_noticed(run, scene):
    breaches = run(number("nothing", scene), "commits nothing").breaches
    assert any("on record" in breach or "ended with" in breach for breach in breaches), breaches


def test_a_report_that_is_recorded_twice_is_noticed(run):
    found = run(number("nothing", "lab"), "knows no requests")
    assert any("reported were" in breach for breach in found.breaches), found.breaches
