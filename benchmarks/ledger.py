"""Durable evaluations per second and seconds to reopen, beside Optuna's journal and SQLite storages in the same run.

An evaluation here is a proposal with 12 numbers, recorded and synced to the disk before it is "measured", and its
result, recorded and synced before it is told. `durable_per_s` is the campaign loop itself with 64 slots, whose
concurrent events share a sync; the one-slot figure pays two syncs for every evaluation.

Optuna's storages are asked for the same: a trial is created with 12 parameters and told one value. Its journal is
synced by its file backend; its SQLite storage is used as it comes.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.campaign import Campaign
from matloop.orchestrator.loop.study import Plan, Study
from matloop.orchestrator.trial import Objective, Proposal, Trial

DIMENSIONS = 12
NAMES = [f"x{i}" for i in range(DIMENSIONS)]


class Anywhere:
    """A space that accepts everything."""

    def sample(self, rng: np.random.Generator) -> dict[str, float]:
        """See Space."""
        return dict(zip(NAMES, rng.random(DIMENSIONS).tolist(), strict=True))

    def check(self, point: Any) -> None:
        """See Space."""


class Uniform:
    """Random points and no learning, so that the ledger is what is timed."""

    def ask(self, n: int, pending: Any, rng: np.random.Generator) -> list[Proposal]:
        """See Strategy."""
        return [Proposal(point=Anywhere().sample(rng)) for _ in range(n)]

    def tell(self, trial: Trial) -> None:
        """See Strategy."""


class Nothing:
    """A driver that costs nothing."""

    repeatable = True
    objectives = (Objective("y"),)

    def __call__(self, trial: Trial) -> float:
        """See Driver."""
        return 1.0


class InPlace(Executor):
    """Runs at submit."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See Executor."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def run_loop(path: Path, n: int, slots: int) -> float:
    """Seconds for a campaign of n evaluations."""
    study = Study(
        name="s",
        space=Anywhere(),
        strategy=Uniform(),
        driver=Nothing(),
        objectives=Nothing.objectives,
        budget=Budget(trials=n),
    )
    began = time.perf_counter()
    with Ledger.open(path, config={}, environment={}) as ledger:
        plans = [Plan("s", lambda history, store: study)]
        Campaign(plans=plans, ledger=ledger, executor=InPlace(), slots=slots, artifacts=path.parent).run()
    return time.perf_counter() - began


def reopen(path: Path) -> float:
    """Seconds from the file to a ledger that is ready to append."""
    began = time.perf_counter()
    ledger = Ledger.open(path, config={}, environment={})
    seconds = time.perf_counter() - began
    ledger.close()
    return seconds


def optuna_rate(storage: Any, n: int) -> float:
    """Trials per second through `Study.ask` and `Study.tell` with random sampling."""
    import optuna

    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
    began = time.perf_counter()
    for _ in range(n):
        trial = study.ask()
        for name in NAMES:
            trial.suggest_float(name, 0.0, 1.0)
        study.tell(trial, 1.0)
    return n / (time.perf_counter() - began)


def optuna_reopen(storage: Callable[[], Any], n: int) -> float:
    """Seconds for Optuna to load a study of n trials from a new storage object."""
    import optuna

    began = time.perf_counter()
    (name,) = optuna.get_all_study_names(opened := storage())
    trials = optuna.load_study(study_name=name, storage=opened).get_trials(deepcopy=False)
    seconds = time.perf_counter() - began
    assert len(trials) == n
    return seconds


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats and smaller files, under 60 s")
    parser.add_argument("--data", help="accepted for uniformity; not used")
    quick = parser.parse_args().quick
    logging.getLogger("optuna").setLevel(logging.WARNING)
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    repeats, n, n_optuna = (3, 2_000, 100) if quick else (5, 10_000, 500)
    big = 20_000 if quick else 100_000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)

        def journal() -> Any:
            return JournalStorage(JournalFileBackend(str(root / "journal.log")))

        def sqlite() -> Any:
            return RDBStorage(f"sqlite:///{root / 'optuna.db'}")

        many = [n / run_loop(root / f"many{i}" / "ledger.db", n, 64) for i in range(repeats)]
        one = [n / run_loop(root / f"one{i}" / "ledger.db", n // 4, 1) / 4 for i in range(repeats)]
        run_loop(root / "10k" / "ledger.db", 10_000, 64)
        run_loop(root / "100k" / "ledger.db", big, 64)
        reopen_10k = [reopen(root / "10k" / "ledger.db") for _ in range(repeats)]
        reopen_100k = [reopen(root / "100k" / "ledger.db") for _ in range(3)]
        journal_rate, sqlite_rate = optuna_rate(journal(), n_optuna), optuna_rate(sqlite(), n_optuna // 2)
        journal_open, sqlite_open = optuna_reopen(journal, n_optuna), optuna_reopen(sqlite, n_optuna // 2)
        megabytes = (root / "100k" / "ledger.db").stat().st_size / 1e6

    table = Table(title="Durable record of evaluations (median of repeats; shared machine: read the ratios)")
    for column in ("", "evaluations/s", "reopen, s"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("matloop, 64 slots", f"{median(many):,.0f}", f"{median(reopen_10k):.2f} (10,000 trials)")
    table.add_row("matloop, 1 slot", f"{median(one):,.0f}", f"{median(reopen_100k):.2f} ({big:,} trials)")
    table.add_row("Optuna journal", f"{journal_rate:,.0f}", f"{journal_open:.2f} ({n_optuna:,} trials)")
    table.add_row("Optuna SQLite", f"{sqlite_rate:,.0f}", f"{sqlite_open:.2f} ({n_optuna // 2:,} trials)")
    Console().print(table)
    print(
        json.dumps(
            {
                "durable_per_s": round(median(many)),
                "durable_per_s_one_slot": round(median(one)),
                "durable_per_s_spread": [round(min(many)), round(max(many))],
                "reopen_10k_s": round(median(reopen_10k), 3),
                "reopen_100k_s": round(median(reopen_100k), 3) if not quick else None,
                "reopen_20k_s": round(median(reopen_100k), 3) if quick else None,
                "optuna_journal_per_s": round(journal_rate, 1),
                "optuna_sqlite_per_s": round(sqlite_rate, 1),
                "megabytes_100k": round(megabytes, 1) if not quick else None,
            }
        )
    )


if __name__ == "__main__":
    main()
