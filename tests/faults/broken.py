"""Ways to break matloop on purpose, to see that the checks notice; each is done in a process that runs it."""

from __future__ import annotations

import itertools
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, Final


def _commits_nothing() -> None:
    from matloop.orchestrator.ledger.writer import Writer

    Writer.commit = lambda self: self._buffer.clear()  # type: ignore[method-assign]


def _commits_now_and_then() -> None:
    from matloop.orchestrator.ledger.writer import Writer

    commit, turns = Writer.commit, itertools.count()
    Writer.commit = lambda self: self._buffer.clear() if next(turns) % 7 == 6 else commit(self)  # type: ignore


def _records_another_value() -> None:
    _answering(lambda answer: {"values": answer.values and {name: v + 1 for name, v in answer.values.items()}})


def _records_another_cost() -> None:
    _answering(lambda answer: {"cost": 2 * answer.cost if answer.cost else None})


def _answering(changes: Callable[[Any], dict[str, Any]]) -> None:
    from dataclasses import replace

    from matloop.orchestrator.ledger.writer import Writer

    answer = Writer.answer
    Writer.answer = lambda self, trial, given, **more: answer(  # type: ignore[method-assign]
        self, trial, replace(given, **changes(given)), **more
    )


def _tells_twice() -> None:
    from matloop.orchestrator.cli.progress import Lines

    finished = Lines.finished

    def twice(self: Any, trial: Any) -> None:
        finished(self, trial)
        self.told = getattr(self, "told", 0) + 1
        if self.told == 2:
            from tests.faults.campaigns import acknowledge

            acknowledge(trial)

    Lines.finished = twice  # type: ignore[method-assign]


def _repeats_everything() -> None:
    from matloop.drivers.function import Function

    Function.repeatable = property(lambda self: True, lambda self, said: None)  # type: ignore[assignment]


def _stores_no_artifact() -> None:
    from hashlib import sha256

    from matloop.orchestrator.ledger.artifacts import ArtifactStore

    ArtifactStore.save = lambda self, content: sha256(content).hexdigest()  # type: ignore


def _leaves_a_process() -> None:
    subprocess.Popen(["sleep", "1000"], start_new_session=True)


def _leaves_a_file() -> None:
    tempfile.mkdtemp()


def _ends_with_seven() -> None:
    from matloop.orchestrator.cli.commands import run

    def end(*args: Any, **options: Any) -> None:
        raise SystemExit(7)

    run.report = end  # type: ignore[assignment]


def _knows_no_requests() -> None:
    from dataclasses import replace

    from matloop.orchestrator.lab.results import Result
    from matloop.orchestrator.lab.rules import Rules

    review = Rules.review
    turns = itertools.count()

    def forgetful(self: Any, results: list[Result], *args: Any, **options: Any) -> Any:
        return review(self, [replace(r, request=f"{r.request}{next(turns)}") for r in results], *args, **options)

    Rules.review = forgetful  # type: ignore[method-assign, assignment]


BROKEN: Final[Mapping[str, Callable[[], None]]] = {
    "commits nothing": _commits_nothing,
    "commits now and then": _commits_now_and_then,
    "records another value": _records_another_value,
    "records another cost": _records_another_cost,
    "tells twice": _tells_twice,
    "repeats everything": _repeats_everything,
    "stores no artifact": _stores_no_artifact,
    "leaves a process": _leaves_a_process,
    "leaves a file": _leaves_a_file,
    "ends with seven": _ends_with_seven,
    "knows no requests": _knows_no_requests,
}
"""By name."""
