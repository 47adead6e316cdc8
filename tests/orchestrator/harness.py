"""Runs a campaign of toy studies in a folder, the way the command line does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.loop.campaign import Campaign
from matloop.orchestrator.loop.stop import Stop
from matloop.orchestrator.loop.study import Observer, Plan, Study


def run(
    folder: Path,
    *studies: Callable[[], Study],
    executor,
    seed: int = 0,
    config: dict | None = None,
    observer: Observer | None = None,
    slots: int | None = None,
    stop: Stop | None = None,
    patience_s: float = 60.0,
) -> str:
    """Open the ledger in `folder`, run, close; return what `Campaign.run` returned."""
    plans = [Plan(make().name, lambda history, store, make=make: make()) for make in studies]
    with Ledger.open(folder / "ledger.db", config=config or {"name": "toy"}, environment={}) as ledger:
        return Campaign(
            plans=plans,
            ledger=ledger,
            executor=executor,
            seed=seed,
            artifacts=folder / "artifacts",
            observer=observer,
            slots=slots,
            stop=stop,
            patience_s=patience_s,
        ).run()
