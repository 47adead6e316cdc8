"""Runs of `matloop run`: struck once, then started again, as a person would, until the campaign is at its end."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matloop.orchestrator.trial import Trial
from tests.faults.broken import BROKEN
from tests.faults.course import STUDY, Course
from tests.faults.diary import note
from tests.faults.driver import ORDERS
from tests.faults.plan import Plan
from tests.faults.process import Blow, Watch
from tests.faults.shim import FOR_EVER, VARIABLE, Shim

PROGRAM = Path(__file__).with_name("program.py")
OUTAGE_S = 40.0
"""How long a run waits for what is out of reach, s; on a machine that is busy otherwise."""

FAILURES = 6
"""In a row, which end a campaign."""

DONE = (0, 3)
"""Exit codes of a campaign that is at its end."""


def prepare(course: Course) -> None:
    """Write the campaign's file."""
    plan = course.plan
    driver: dict[str, Any] = {"kind": "python", "path": "tests.faults.driver:measure"}
    if plan.program:
        run = [sys.executable, "-S", "-E", str(PROGRAM), "{{trial.id}}", "{{trial.attempt}}"]
        driver = {"kind": "command", "run": run, "output": {"loss": {"json": "loss.json"}}, "keep": "none"}
        driver |= {"environment": {VARIABLE: ""}, "artifacts": ["data"] if plan.artifacts else []}  # it is not struck
    driver["repeatable"] = plan.repeatable
    executor: dict[str, Any] = {"kind": "local", "slots": 2} if plan.scene == "local" else {"kind": "serial"}
    executor["outage_s"] = 0.5 if plan.span == FOR_EVER and not plan.kind.freed else OUTAGE_S
    write_campaign(course, driver, executor=executor, budget={"trials": plan.trials, "failures": FAILURES})
    if plan.kind.useless:
        course.useless.touch()


def write_campaign(course: Course, driver: dict[str, Any], **more: Any) -> None:
    """A campaign of one study, with random points of one variable."""
    study = {
        "space": {"kind": "box", "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}}},
        "driver": driver,
        "strategy": {"kind": "random"},
        "objectives": {"loss": "minimise"},
    }
    if budget := more.pop("budget", None):
        study["budget"] = budget
    config = {"name": "faults", "seed": course.plan.seed, "studies": {STUDY: study}, **more}
    (course.root / "campaign.yaml").write_text(json.dumps(config))  # which is YAML as well


def start(course: Course, faults: Shim, blows: tuple[Blow, ...] = (), pause_s: float = 0.0) -> bool:
    """`matloop run` until it ends; say whether a signal hit it."""
    watch = Watch(course, faults, blows, pause_s)
    output = course.root / f"output-{len(course.ends)}"
    number = watch.start(lambda: _run(course), output, environ(course), first=True)
    watch.wait([number])
    course.add(watch.ended)
    repaired = course.useless.exists()
    course.useless.unlink(missing_ok=True)
    return watch.blows > 0 or repaired


def at_end(course: Course) -> bool:
    """Whether there is nothing left to do."""
    return course.last[0].code in DONE and not (course.plan.kind.useless and len(course.starts) == 1)


def decide(course: Course, faults: Shim, trials: Sequence[int]) -> None:
    """Decide on trials that may have happened, one way or the other, and go on."""
    draw = random.Random(f"decisions {course.plan.seed}")
    for trial in trials:
        word = course.decisions[trial] = draw.choice(("counted", "repeat"))
        watch = Watch(course, faults)
        output = course.root / f"output-{len(course.ends)}"
        words = "decide", str(course.results), str(trial), word
        watch.wait([watch.start(lambda words=words: command(course, *words), output, environ(course))])
        course.add(watch.ended)
    start(course, faults)


def environ(course: Course) -> dict[str, str]:
    """Of every process of a run."""
    plan = course.plan
    orders = {
        "diary": str(course.diary),
        "artifacts": plan.artifacts,
        "sleep_s": plan.sleep_s,
        "useless": str(course.useless),
        "odd": {str(number): name for number, name in plan.odd.items()},
    }
    return {ORDERS: json.dumps(orders), "TMPDIR": str(course.temporary)}


def settle(plan: Plan) -> None:
    """In the forked process: see to it that temporary files and the ledger are where and what the plan says."""
    import tempfile

    from matloop.orchestrator.ledger import file

    tempfile.tempdir = None  # found anew
    if plan.network:
        file.on_network = lambda path: True
    if plan.broken:
        BROKEN[plan.broken]()


def command(course: Course, *words: str) -> None:
    """In the forked process: the command `matloop`."""
    settle(course.plan)
    from matloop.orchestrator.cli.main import main

    sys.argv = ["matloop", *words]
    main()


def _run(course: Course) -> None:
    from matloop.orchestrator.cli.commands import run

    shown = run.observer
    run.observer = lambda console: _Acknowledging(shown(console))  # type: ignore[assignment]
    command(course, "run", str(course.root / "campaign.yaml"), "--dir", str(course.results))


class _Acknowledging:
    """Writes down what the loop says is durable, and passes it on to the observer that shows it."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def __enter__(self) -> _Acknowledging:
        self._shown = self._shown.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._shown.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shown, name)

    def finished(self, trial: Trial) -> None:
        acknowledge(trial)
        self._shown.finished(trial)


def acknowledge(trial: Trial) -> None:
    """Write down that it is durable."""
    diary, values = Path(json.loads(os.environ[ORDERS])["diary"]), dict(trial.values) if trial.values else None
    note(diary, "acknowledged", trial=trial.id, state=trial.state, values=values, cost=trial.cost)
