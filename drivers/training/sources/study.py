"""Results of a campaign: what was tried is the input, what was measured the target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from matloop.drivers.training.data import Data
from matloop.drivers.training.sources.columns import check_features, encode
from matloop.drivers.training.sources.frames import Frame, frame
from matloop.drivers.training.sources.rows import OfRows, usable
from matloop.drivers.training.sources.source import New, Options
from matloop.drivers.training.sources.table import tabulated


@dataclass(frozen=True, kw_only=True)
class Study(Options):
    """Trials of a study, as a table: numbers and categories of their points, and values.

    Args:
        path: folder of a campaign's results, which holds its ledger.db.
        target: value, or values, to predict.
        study: which one, where there are several.
        features: parameters to predict it from; None for all.
        categorical: those of them whose numbers name categories.
    """

    kind: ClassVar[str] = "study"
    path: Path
    target: str | list[str]
    study: str | None = None
    features: list[str] | None = None
    categorical: list[str] | None = None

    def __post_init__(self) -> None:
        check_features(self.features, self.target)

    def read(self) -> Data:
        """See `Source`."""
        table, parameters = self._trials()
        wanted = [self.target] if isinstance(self.target, str) else self.target
        table.require(wanted)
        return tabulated(
            table, self.target, self.features or parameters, self.categorical or (), OfRows(id="trial"), self.known
        )

    def inputs(self, new: Any) -> New:
        """See `Source`.

        Args:
            new: a table of points, in a file or in memory.
        """
        table = frame(new)
        x = encode(table, self.learnt()["columns"])
        keep, problems = usable(table, x.problems)
        return New(x.values[keep], np.array(table.kept(keep).rows, dtype=np.str_), tuple(problems))

    def files(self) -> list[Path]:
        """See `Source`."""
        return [path for name in ("ledger.db", "ledger.db-wal") if (path := self.path / name).exists()] or [
            self.path / "ledger.db"
        ]

    def _trials(self) -> tuple[Frame, list[str]]:
        """Trials with results and the names of their parameters."""
        from matloop.orchestrator.ledger.ledger import read

        history = read(self.path / "ledger.db")
        studies = list(dict.fromkeys(trial.study for trial in history.trials if trial.values))
        name = self.study or (studies[0] if len(studies) == 1 else None)
        if name not in studies:
            raise ValueError(f"expected one study with results in {self.path}, or its name in `study:`, got {studies}")
        trials = [trial for trial in history.told(name) if trial.values]
        points = [{key: value for key, value in trial.point.items() if _plain(value)} for trial in trials]
        parameters = list(dict.fromkeys(key for point in points for key in point))
        rows = [
            {**point, **(trial.values or {}), "trial": str(trial.id)}
            for point, trial in zip(points, trials, strict=True)
        ]
        return Frame(pd.DataFrame(rows), [f"trial {trial.id}" for trial in trials], self.path), parameters


def _plain(value: Any) -> bool:
    return isinstance(value, int | float | str | bool)
