"""A minute of the suite of faults; all of it is `make test-faults`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.faults.__main__ import broken
from tests.faults.plan import KINDS, plan_of
from tests.faults.runs import Verdict
from tests.faults.suite import Workplace, needs_shim, table, verdicts

SECONDS = 60.0
"""In which runs are begun; a slow or busy machine does fewer of them."""

RUNS = 100

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked, which this system cannot do"),
]


def in_turns() -> Iterator[int]:
    """Numbers of runs: every kind of fault once, then again, each time in another scene."""
    turns = RUNS // len(KINDS) + 1
    for turn in range(turns):
        for kind in range(len(KINDS)):
            yield kind + len(KINDS) * ((turn + kind) % turns)


def test_a_minute_of_faults():
    found = []
    with Workplace() as workplace:
        seeds = [seed for seed in in_turns() if workplace.library or not needs_shim(seed)]
        for verdict in verdicts(seeds, workplace, jobs=1, seconds=SECONDS):  # a core is left to other tests
            assert not verdict.breaches, broken(verdict)
            found.append(verdict)
    assert found and table(found).row_count > 1


def test_every_kind_has_its_turn_in_every_scene():
    plans = [plan_of(seed) for seed in range(1000)]
    assert {(p.kind.name, p.scene) for p in plans} == {(kind.name, scene) for kind in KINDS for scene in kind.scenes}
    assert {p.scene for p in plans} == {"serial", "local", "lab", "rest"}


@pytest.fixture(scope="module")
def bare() -> Iterator[Callable[..., Verdict]]:
    """Does runs on a machine without a compiler."""
    with Workplace(with_library=False) as workplace, workplace.server("bare") as run:
        yield run


@pytest.mark.parametrize("kind", ["write: EIO", "fsync: EIO", "SIGKILL at an fsync", "open: EMFILE"])
def test_without_a_compiler_faults_are_injected_in_python(kind, bare):
    first = next(seed for seed in range(1000) if (plan := plan_of(seed)).kind.name == kind and plan.scene == "serial")
    seeds = [first + turn * len(KINDS) * len(plan_of(first).kind.scenes) for turn in range(4)]
    assert not any(needs_shim(seed) for seed in seeds)
    found = [bare(seed) for seed in seeds]
    assert any(verdict.struck for verdict in found)
    assert [breach for verdict in found for breach in verdict.breaches] == []
