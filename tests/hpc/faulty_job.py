"""A campaign over MPI whose trials do harm to their rank: `python -m tests.hpc.faulty_job FOLDER FAULT VICTIMS TRIALS`.

Each fault strikes once: its file `victim-N` is there from then on. Trials recorded are listed in `acknowledged`,
attempts begun in `begun`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from matloop.hpc.mpi import Mpi
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.study import Silent
from matloop.orchestrator.trial import Objective, Trial
from tests.orchestrator.harness import run
from tests.orchestrator.toys import LOSS, Listed, study

LEASE_S = 5.0
DURATION_S = 0.03


def strike(fault: str, rank: int) -> None:
    """Do to a rank, from its child, what the name says."""
    match fault:
        case "none":
            pass
        case "SIGKILL" | "SIGSEGV" | "SIGSTOP" | "SIGABRT":
            os.kill(rank, getattr(signal, fault))
        case "exit":  # the rank ends of its own will, without a word to anyone
            os.kill(rank, signal.SIGALRM)
        case "memory":
            ballast = bytearray(2**30)
            ballast[::4096] = b"x" * len(ballast[::4096])
        case "child_exit":
            os._exit(3)
    time.sleep(60)


@dataclass(frozen=True)
class Harmful:
    """Measures x after a nap, unless a fault strikes."""

    folder: Path
    fault: str
    victims: int
    repeatable: bool = True
    objectives: tuple[Objective, ...] = (LOSS,)

    def __call__(self, trial: Trial) -> dict[str, float]:
        rank = psutil.Process(os.getppid()).ppid()  # between them is the child's guardian
        with (self.folder / "begun").open("a") as log:
            log.write(f"{trial.id} {trial.attempt} {rank}\n")
        time.sleep(DURATION_S)
        if trial.number >= 10 and trial.attempt == 1 and self.fault != "none":
            for victim in range(self.victims):
                try:
                    (self.folder / f"victim-{victim}").touch(exist_ok=False)
                except FileExistsError:
                    continue
                strike(self.fault, rank)
        return {"loss": trial.point["x"]}


class Acknowledged(Silent):
    """Writes down what the loop says is durable."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "acknowledged"

    def finished(self, trial: Trial) -> None:
        with self._path.open("a") as log:
            log.write(f"{trial.id}\n")


def main(folder: Path, fault: str, victims: int, trials: int) -> None:
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    with Mpi(lease_s=LEASE_S, memory_gb=0.5) as executor:
        if executor is None:
            return

        def make():
            xs = [i / trials for i in range(trials)]
            driver = Harmful(folder, fault, victims)
            return study(strategy=Listed(xs), driver=driver, budget=Budget(trials=trials))

        outcome = run(folder, make, executor=executor, observer=Acknowledged(folder))
        print(f"OUTCOME {outcome} {executor.slots}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
