"""A space, strategies and drivers that are cheap, exact and picklable, for tests of the loop."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from matloop.orchestrator.errors import InvalidPoint, SpaceExhausted
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.study import Study
from matloop.orchestrator.trial import Measurement, Objective, Proposal, Trial, Unanswered

LOSS = Objective("loss", "minimise", "eV")


class Line:
    """Numbers between 0 and 1."""

    def sample(self, rng):
        return {"x": float(rng.random())}

    def check(self, point):
        if not (isinstance(point.get("x"), float) and 0 <= point["x"] <= 1):
            raise InvalidPoint(f"expected x in [0, 1], got {point}")


class Descent:
    """Walks from the best point told so far; its state depends on every answer and on their order."""

    def __init__(self) -> None:
        self.told: list[Trial] = []
        self.best, self.loss, self.step = 0.9, np.inf, 0.5

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        steps = self.step * rng.uniform(-1, 1, n)
        return [Proposal(point={"x": float(np.clip(self.best + s, 0, 1))}, reason=f"step {s:.9f}") for s in steps]

    def tell(self, trial: Trial) -> None:
        self.told.append(trial)
        if trial.values and trial.values["loss"] < self.loss:
            self.best, self.loss = trial.point["x"], trial.values["loss"]
        else:
            self.step *= 0.99


class Listed:
    """Proposes the given points, one after another; ends, or stays silent if `silent`."""

    def __init__(self, xs: Sequence[float], silent: bool = False) -> None:
        self.xs, self.silent, self.told = list(xs), silent, []

    def ask(self, n, pending, rng):
        done = len(self.told) + len(pending)
        if done >= len(self.xs) and not pending and not self.silent:
            raise SpaceExhausted("every listed point was tried")
        return [Proposal(point={"x": x}) for x in self.xs[done : done + n]]

    def tell(self, trial):
        self.told.append(trial)


@dataclass(frozen=True)
class Bowl:
    """(x - 0.3)² with noise from the trial's seed; writes a line to `log` for every evaluation."""

    log: Path | None = None
    sleep_s: float = 0.0
    repeatable: bool = True
    objectives: tuple[Objective, ...] = (LOSS,)

    def __call__(self, trial: Trial) -> Measurement:
        if self.log:
            with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "w") as file:
                file.write(f"{trial.id} {trial.attempt}\n")
        time.sleep(self.sleep_s)
        noise = np.random.default_rng(trial.seed).normal(0, 1e-3)
        return Measurement(values={"loss": (trial.point["x"] - 0.3) ** 2 + noise}, info={"tuple": (1, 2)})


@dataclass(frozen=True)
class Scripted:
    """Does what `script[number]` says: a number is the value, an exception is raised, a callable is called."""

    script: tuple = ()
    repeatable: bool = True
    objectives: tuple[Objective, ...] = field(default=(LOSS,))

    def __call__(self, trial: Trial):
        act = self.script[trial.number % len(self.script)]
        if isinstance(act, BaseException):
            raise act
        return act(trial) if callable(act) else act


def study(name: str = "walk", *, strategy=None, driver=None, objectives=(LOSS,), **options) -> Study:
    """A study over a line; 10 trials unless a budget is given."""
    options.setdefault("budget", Budget(trials=10))
    return Study(
        name=name,
        space=Line(),
        strategy=strategy or Descent(),
        driver=driver or Bowl(),
        objectives=objectives,
        **options,
    )


@dataclass(frozen=True)
class Raises:
    """An exception made where it is raised, since packages that pickle tracebacks change how exceptions are pickled.

    It is here so that a worker's process need not import what the tests of it do.
    """

    kind: type[BaseException]
    args: tuple = ()

    def __call__(self, trial: Trial) -> float:
        raise self.kind(*self.args)
