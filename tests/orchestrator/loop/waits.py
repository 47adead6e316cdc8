"""An observer of runs that wait for a disk, and what they are tried with."""

from __future__ import annotations

from matloop.hpc.local import Local
from matloop.hpc.serial import Serial
from matloop.orchestrator.loop.study import Silent
from matloop.orchestrator.trial import Proposal


class Watching(Silent):
    """Counts, and acts when the run begins to wait."""

    def __init__(self, then=lambda: None, after_trials=10**9, act=lambda: None):
        self.then, self.after_trials, self.act = then, after_trials, act
        self.waits, self.resumptions, self.finished_trials, self.proposed_while_waiting = [], 0, 0, 0

    def notice(self, text):
        self.resumptions += text.startswith("going on after ")
        if text.startswith("waiting: "):
            self.waits.append(text.removeprefix("waiting: "))
            self.then()

    def proposed(self, trial):
        self.proposed_while_waiting += len(self.waits) > self.resumptions

    def finished(self, trial):
        self.finished_trials += 1
        if self.finished_trials == self.after_trials:
            self.act()


EXECUTORS = {"serial": Serial, "local": lambda: Local(slots=2)}


def in_the_way(folder):
    """A store that is out of reach for every process, root's as well."""
    folder.mkdir(exist_ok=True)
    (folder / "artifacts").write_text("a file where the folder should be")
    return (folder / "artifacts").unlink


class Heir:
    """Proposes one point, and then points that start from what the first one left."""

    def __init__(self):
        self.left = {}

    def ask(self, n, pending, rng):
        if not self.left and pending:
            return []  # until the first one is measured
        return [Proposal(point={"x": float(rng.random())}, inputs=self.left) for _ in range(n if self.left else 1)]

    def tell(self, trial):
        self.left = self.left or dict(trial.artifacts)
