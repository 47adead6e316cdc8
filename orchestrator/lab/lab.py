"""A lab's experiments from Python and from notebooks; command line, REST server and web page are the same `Lab`.

lab = Lab.open("furnace.yaml")
lab.recommend(4)                                             # or recommend_frame(4), a DataFrame
lab.tell([Result(trial=0, values={"hardness": 412.0})])      # or a DataFrame, filled in
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from matloop.orchestrator.composition.files import expanded
from matloop.orchestrator.errors import DoubtfulValue, MatloopError, Problem, RejectedResults
from matloop.orchestrator.lab.experiments import Experiments
from matloop.orchestrator.lab.exported import as_csv, as_xlsx
from matloop.orchestrator.lab.fields import fields_of
from matloop.orchestrator.lab.filled import Filled, read
from matloop.orchestrator.lab.people import located, write_file
from matloop.orchestrator.lab.results import Entry, Recorded, Result
from matloop.orchestrator.lab.sheets import Reading
from matloop.orchestrator.lab.tables import Layout, write, write_workbook
from matloop.orchestrator.trial import Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from matloop.orchestrator.lab.best import Best
    from matloop.orchestrator.report.forecast import Forecast

__all__ = ["Lab", "Recorded", "Result"]


class Lab(Experiments):
    """One study whose experiments people do; safe to use from several threads, beside others in other processes."""

    @classmethod
    def open(
        cls,
        campaign: str | Path,
        study: str | None = None,
        directory: str | Path | None = None,
        *,
        accept_changes: bool = False,
    ) -> Self:
        """Open a campaign for recommendations and results.

        Args:
            campaign: its file, or its folder once it has been opened.
            study: its name; may be left out if only one has the driver `manual`.
            directory: for results; `runs/NAME` beside the file if left out.
            accept_changes: go on although the file has changed since the last time.

        Raises:
            ConfigError, ConfigChanged, LedgerLocked: see `Experiments`.
        """
        config, folder = located(campaign, directory)
        return cls(config, directory=folder, study=study, accept_changes=accept_changes)

    @classmethod
    def create(
        cls,
        directory: str | Path,
        *,
        space: Mapping[str, Any],
        objectives: Mapping[str, Any],
        strategy: str | Mapping[str, Any] = "bayesian",
        name: str | None = None,
        seed: int = 0,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        instructions: str = "",
    ) -> Self:
        """Begin a campaign without a file, or go on with it.

        It is written to `directory`/campaign.yaml, so that command line and server can open it as well.

        Args:
            directory: for the campaign and its results; files that it names are looked for there.
            space: `{"kind": …, …}` as in a campaign file, or parameters by name, each
                `{"type": "float", "low": …, "high": …, "unit": …}` and so on.
            objectives: what is measured: name to "maximise" or "minimise", or to
                `{"direction": "maximise", "unit": "HV", "scale": "log"}`.
            strategy: a kind, or `{"kind": …, …}`.
            name: of the campaign; that of the folder if left out.
            seed: of everything random.
            ranges: lowest and highest plausible value by objective.
            instructions: shown beside every recommendation.

        Raises:
            ConfigError: the parts do not make a campaign, or another one is there.
        """
        folder = expanded(directory)
        driver: dict[str, Any] = {"kind": "manual"}
        if ranges:
            driver["ranges"] = {key: [float(low), float(high)] for key, (low, high) in ranges.items()}
        if instructions:
            driver["instructions"] = instructions
        parts = {
            "space": dict(space) if "kind" in space else {"kind": "box", "parameters": dict(space)},
            "driver": driver,
            "strategy": strategy if isinstance(strategy, str) else dict(strategy),
            "objectives": dict(objectives),
        }
        path = write_file(folder, name or folder.resolve().name, seed, "experiments", parts)
        return cls.open(path, directory=folder)

    def tell(
        self,
        results: Sequence[Result] | DataFrame,
        by: str = "",
        *,
        amend: bool = False,
        allow_outside: bool = False,
        decimal: Literal["comma", "point"] | None = None,
        ignore_columns: bool = False,
    ) -> list[Trial]:
        """Record results; all of them are on the disk when this returns, or none.

        What looks like a slip of the pen is recorded too, with a `DoubtfulValue` warning that says how to correct it;
        `doubts` has all of them.

        Args:
            results: in any order, those on record already are not recorded again; or a DataFrame, see
                `recommend_frame`, whose rows without a result are passed over.
            by: who reports.
            amend: let a different result take the place of a recorded one; the record keeps both.
            allow_outside: take values outside the plausible ranges, and points outside the space.
            decimal: of a DataFrame: what stands before the decimals in cells that are text, if they do not say.
            ignore_columns: of a DataFrame: pass over columns that are not known.

        Returns:
            The finished trials, in the order of the results.

        Raises:
            RejectedResults: every problem by row, from 0, and column.
        """
        if isinstance(results, Sequence):
            recorded = self.record(results, by, amend=amend, allow_outside=allow_outside)
        else:
            from matloop.orchestrator.lab.frames import filled

            how = Reading(decimal=decimal, ignore_columns=ignore_columns)
            table = filled(results, self.layout, self.trials(), how)
            for remark in table.remarks:
                warnings.warn(remark, stacklevel=2)
            recorded = self.record_filled(table, by, amend=amend, allow_outside=allow_outside)
        doubts = self.doubts() if recorded else {}
        for entry in recorded:
            for text in doubts.get(entry.trial.id, ()) if entry.action != "known" else ():
                warnings.warn(text, DoubtfulValue, stacklevel=2)
        return [entry.trial for entry in recorded]

    @property
    def layout(self) -> Layout:
        """What the columns of tables are called."""
        return Layout(fields_of(self.space), self.objectives)

    def write_csv(self, trials: Sequence[Trial]) -> bytes:
        """Recommendations as a CSV file to be filled in."""
        return write(trials, self.layout)

    def write_xlsx(self, trials: Sequence[Trial]) -> bytes:
        """The same as an Excel file, with lists to choose from, and marks where results go.

        Raises:
            MissingExtra: openpyxl is not installed.
        """
        return write_workbook(trials, self.layout)

    def read_csv(
        self,
        content: bytes,
        *,
        sheet: str = "",
        decimal: Literal["comma", "point"] | None = None,
        ignore_columns: bool = False,
    ) -> Filled:
        """Results from a CSV or Excel file that was filled in; see `record_filled`.

        Args:
            content: of the file; its kind is seen from it.
            sheet: of an Excel file; the first if left out.
            decimal: what stands before the decimals, if the file does not say.
            ignore_columns: pass over columns that are not known.

        Raises:
            MissingExtra: it is an Excel file, and openpyxl is not installed.
        """
        how = Reading(sheet=sheet, decimal=decimal, ignore_columns=ignore_columns)
        trials = {trial.id: trial for trial in self.trials()}
        return read(content, self.layout, trials, how)

    def export_csv(self) -> bytes:
        """Everything that is on record, as a CSV file that this lab and others can be told; see `lab.exported`."""
        return as_csv(self.trials(), self.layout)

    def export_xlsx(self) -> bytes:
        """The same as an Excel file.

        Raises:
            MissingExtra: openpyxl is not installed.
        """
        return as_xlsx(self.trials(), self.layout)

    def review_filled(
        self, table: Filled, *, amend: bool = False, allow_outside: bool = False
    ) -> tuple[list[Entry], list[Problem]]:
        """What `record_filled` would do, and everything that is wrong, by the table's rows and titles."""
        entries, problems = self.review(table.results, amend=amend, allow_outside=allow_outside)
        found = [*table.problems, *table.placed(problems)]
        return entries, sorted(found, key=lambda problem: problem.place)

    def record_filled(
        self, table: Filled, by: str = "", *, amend: bool = False, allow_outside: bool = False, source: str = ""
    ) -> list[Recorded]:
        """As `record`, with the results of a table; `source` is its name for messages.

        Raises:
            RejectedResults: every problem by the table's rows and titles.
        """
        problems = self.review_filled(table, amend=amend, allow_outside=allow_outside)[1]
        if problems:
            raise RejectedResults(problems, source=source)
        try:
            return self.record(table.results, by, amend=amend, allow_outside=allow_outside)
        except RejectedResults as error:  # another client was faster
            raise RejectedResults(table.placed(error.problems), source=source) from error

    def recommend_frame(self, n: int = 1, by: str = "", **wishes: Any) -> DataFrame:
        """As `recommend`, with its wishes, as a DataFrame with the trial as its index, to be filled in and told.

        Columns are the inputs, `NAME predicted`, `NAME low` and `NAME high` (90 % of measurements are expected
        between them) where there is a prediction, and, to be filled in, for every objective `NAME` and `NAME ±`, then
        `failed`, `note` and `cost`.
        """
        from matloop.orchestrator.lab.frames import recommended

        return recommended(self.recommend(n, by, **wishes), self.layout)

    def predict(self, points: Sequence[Mapping[str, Any]] | DataFrame) -> DataFrame:
        """What is expected of points, as a DataFrame with a row for each, in order. May take seconds.

        Args:
            points: mappings from input to value, or a DataFrame with a column for each input; its other columns are
                passed over, and its index is kept. Points may lie outside the space.

        Returns:
            Inputs; for every objective `NAME predicted`, `NAME low` and `NAME high` (90 % of measurements are expected
            between them); `works`, the probability that the experiment works, once one has failed; and `outside`, why a
            point is an extrapolation beyond the space, empty if it is none.

        Raises:
            RejectedPoints: a point lacks an input, or a value cannot be one; every problem by row, from 0.
            NoPrediction: the strategy has no model, or too few results for it.
            MatloopError: a column is missing, or there are too many rows.
        """
        from matloop.orchestrator.lab import predictions

        if isinstance(points, Sequence):
            return predictions.frame(self.forecast(points), self.layout)
        rows = predictions.points_of(points, self.layout.fields)
        return predictions.frame(self.forecast(rows), self.layout, points.index)

    def forecast(self, points: Sequence[Mapping[str, Any]]) -> list[Forecast]:
        """As `predict`, as plain values."""
        from matloop.orchestrator.lab import predictions

        return predictions.predict(self, points)

    def best(self, n: int = 1) -> Best:
        """Where the best is: measured, by the model among what was measured, and where the model expects it.

        Args:
            n: how many of those measured, >= 1; of several objectives all that no other beats are given.

        Raises:
            MatloopError: n is not such a number.
        """
        from matloop.orchestrator.lab import best

        return best.best(self, n)

    def frame(self) -> DataFrame:
        """Every trial as a row, with the trial as index: what was done, planned, predicted and measured, by whom."""
        from matloop.orchestrator.lab.frames import history

        return history(self.trials(), self.layout)

    def plot_progress(self, objective: str | None = None) -> Figure:
        """Every measured value in order, and the best so far."""
        from matloop.orchestrator.lab import plots

        return plots.progress(self.trials(), plots.chosen(self.objectives, objective))

    def plot_predictions(self, objective: str | None = None) -> Figure:
        """Measured values against what was predicted of them before, with 90 % intervals."""
        from matloop.orchestrator.lab import plots

        return plots.predictions(self.trials(), plots.chosen(self.objectives, objective))

    def plot_pareto(self, first: str | None = None, second: str | None = None) -> Figure:
        """Two objectives against each other, the Pareto front, and what is expected of pending experiments.

        Args:
            first: horizontal; the first objective if left out.
            second: vertical; the second objective if left out.

        Raises:
            MatloopError: the study has one objective, or there is none of that name.
        """
        from matloop.orchestrator.lab import plots

        if len(self.objectives) < 2:
            raise MatloopError("expected a study with several objectives, got one; see plot_progress for that")
        pair = plots.chosen(self.objectives, first), plots.chosen(self.objectives, second or self.objectives[1].name)
        return plots.pareto(self.trials(), self.objectives, pair)

    def plot_parameter(self, parameter: str, objective: str | None = None) -> Figure:
        """Measured values against one input; failures below."""
        from matloop.orchestrator.lab import plots

        return plots.parameter(self.trials(), self.layout, parameter, plots.chosen(self.objectives, objective))

    def plot_slice(
        self,
        first: str,
        second: str | None = None,
        *,
        objective: str | None = None,
        at: Mapping[str, Any] | None = None,
    ) -> Figure:
        """What the model expects along one input, or over two numbers, all others held; may take seconds.

        Along one input with 90 % bands, over two as a map; with the measured points near it, and what may not be
        planned in grey.

        Args:
            first: an input.
            second: another one, a number as the first.
            objective: the first one if left out.
            at: the point that is cut through; the best measured one if left out.

        Raises:
            NoPrediction: the strategy has no model, or too few results for it.
            MatloopError: there is no such input or objective, or `at` is not complete.
        """
        from matloop.orchestrator.lab import plots, slices

        chosen = plots.chosen(self.objectives, objective)
        return plots.slice_(slices.along(self, first, second, at=at, objective=chosen), chosen)

    def plot_ternary(
        self,
        mixture: str,
        *,
        components: Sequence[str] | None = None,
        objective: str | None = None,
        at: Mapping[str, Any] | None = None,
    ) -> Figure:
        """What the model expects over three components of a mixture, as `plot_slice`.

        Args:
            mixture: its name.
            components: three of its components; those with the most at the point if left out. What the others have
                stays.
            objective: the first one if left out.
            at: the point that is cut through; the best measured one if left out.

        Raises:
            NoPrediction, MatloopError: see `plot_slice`.
        """
        from matloop.orchestrator.lab import plots, slices

        chosen = plots.chosen(self.objectives, objective)
        return plots.slice_(slices.ternary(self, mixture, components, at=at, objective=chosen), chosen)

    def _repr_html_(self) -> str:
        from matloop.orchestrator.lab.frames import summary

        return summary(self.name, self.parts.study, self.trials(), self.layout)
