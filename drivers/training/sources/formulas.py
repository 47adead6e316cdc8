"""Chemical formulas as vectors or as graphs of their elements, with other columns such as a temperature beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.data import Data, data
from matloop.drivers.training.graphs import Graph, together
from matloop.drivers.training.sources.columns import check_features, encode, learn, targets
from matloop.drivers.training.sources.elements import symbols, unknown
from matloop.drivers.training.sources.frames import Frame, frame
from matloop.drivers.training.sources.labelled import distinct
from matloop.drivers.training.sources.rows import OfTable, reported, usable
from matloop.drivers.training.sources.source import New
from matloop.orchestrator.errors import InvalidPoint
from matloop.search_spaces.formulas.elements import HEAVIEST, table
from matloop.search_spaces.formulas.features import composition, feature_names, featurise
from matloop.search_spaces.networks.graph.graphs import Graphs

Descriptor = Literal["fractions", "attributes", "both", "graph"]


@dataclass(frozen=True, kw_only=True)
class Formulas(OfTable):
    """A table with a column of formulas, CSV, CSV.GZ or Parquet; rows of the same reduced formula are one group.

    Args:
        path: of the file.
        target: column of the property or the class to predict, or several columns of numbers.
        column: that of the formulas, in any notation that pymatgen reads.
        descriptor: "fractions" of the atoms, of each element that occurs; 138 "attributes", statistics of the elements'
            properties (`matloop.search_spaces.formulas.features`); "both"; or a "graph" for graph networks, whose nodes
            are the elements with their properties and fractions, each joined to each.
        features: further columns to predict the target from, such as a temperature.
        categorical: those of them whose numbers name categories.
        id: column that names each row.
        group: column, or several, with equal values in rows that belong together; beside the formula.
        part: column of "train", "validation" and "test".
        time: column of numbers or dates.
    """

    kind: ClassVar[str] = "formulas"
    path: Path
    target: str | list[str]
    column: str = "formula"
    descriptor: Descriptor = "both"
    features: list[str] | None = None
    categorical: list[str] | None = None

    def __post_init__(self) -> None:
        check_features(self.features, self.target)

    def read(self) -> Data:
        """See `Source`."""
        cells = frame(self.path)
        cells.require([self.column, *(self.features or ()), *self.of_rows.columns])
        learnt = self.known["columns"] if self.known else learn(cells, self.features or (), self.categorical or ())
        goal, beside = targets(cells, self.target), encode(cells, learnt)
        amounts, unreadable = _compositions(cells, self.column, {*self.known["elements"]} if self.known else None)
        keep, problems = reported(cells, unreadable, goal.problems, beside.problems)
        kept = [amount for amount, good in zip(amounts, keep, strict=True) if good]
        elements = self.known["elements"] if self.known else sorted({number for amount in kept for number in amount})
        return data(
            self._x(kept, elements, beside.values[keep]),
            goal.y[keep],
            path=self.path,
            names=goal.names,
            problems=problems,
            known={"elements": elements, "columns": learnt, "inputs": self._inputs(elements, beside.names)},
            **self.of_rows.of(cells.kept(keep), [_reduced(amount) for amount in kept]),
        )

    def inputs(self, new: Any) -> New:
        """See `Source`.

        Args:
            new: a file or table with the column of formulas and those of `features`; or a list of formulas where there
                are no features.
        """
        if isinstance(new, list | tuple) and all(isinstance(item, str) for item in new):
            new = {self.column: list(new)}
        cells, learnt = frame(new), self.learnt()
        cells.require([self.column])
        beside = encode(cells, learnt["columns"])
        amounts, unreadable = _compositions(cells, self.column)
        keep, problems = usable(cells, unreadable, beside.problems)
        kept = [amount for amount, good in zip(amounts, keep, strict=True) if good]
        ids = self.id is not None and self.id in cells.columns
        named = cells.kept(keep)
        names = self.of_rows.ids(named) if ids else distinct(named.texts(self.column), named.rows)
        return New(
            self._x(kept, learnt["elements"], beside.values[keep]),
            np.array(names, dtype=np.str_),
            tuple(problems),
            unknown=tuple(unknown({*amount} - {*learnt["elements"]}) for amount in kept),
        )

    def files(self) -> list[Path]:
        """See `Source`."""
        return [self.path]

    def _inputs(self, elements: list[int], beside: tuple[str, ...]) -> list[str]:
        """Names of the values of a row; none for graphs."""
        if self.descriptor == "graph":
            return []
        fractions = symbols(elements) if self.descriptor in ("fractions", "both") else []
        attributes = list(feature_names()) if self.descriptor in ("attributes", "both") else []
        return [*fractions, *attributes, *beside]

    def _x(
        self, amounts: list[dict[int, float]], elements: list[int], beside: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32] | Graphs:
        if self.descriptor == "graph":
            return together([_graph(amount, extra) for amount, extra in zip(amounts, beside, strict=True)])
        blocks = [beside]
        if self.descriptor in ("attributes", "both"):
            blocks.insert(0, featurise([_reduced(amount) for amount in amounts]).astype(np.float32))
        if self.descriptor in ("fractions", "both"):
            blocks.insert(0, _fractions(amounts, elements))
        return np.hstack(blocks)


def _compositions(
    cells: Frame, column: str, allowed: set[int] | None = None
) -> tuple[list[dict[int, float]], dict[int, str]]:
    """Shares of the elements of each row, and what is wrong with those that have none."""
    found: list[dict[int, float]] = []
    problems: dict[int, str] = {}
    for row, text in enumerate(cells.texts(column)):
        try:
            amounts = _shares(text)
        except InvalidPoint as error:
            amounts, problems[row] = {}, str(error) if text else f"expected a formula in {column!r}, got no value"
        if allowed is not None and (text := unknown({*amounts} - allowed)):
            problems[row] = text
        found.append(amounts)
    return found, problems


@lru_cache(maxsize=4096)
def _shares(formula: str) -> dict[int, float]:
    amounts = composition(formula)
    total = sum(amounts.values())
    return {number: amount / total for number, amount in sorted(amounts.items())}


def _reduced(shares: dict[int, float]) -> str:
    """One text for all formulas with the same shares of atoms."""
    from pymatgen.core.periodic_table import Element

    return "".join(f"{Element.from_Z(number).symbol}{share:.8g}" for number, share in shares.items())


def _fractions(amounts: list[dict[int, float]], elements: list[int]) -> npt.NDArray[np.float32]:
    places = {number: i for i, number in enumerate(elements)}
    found = np.zeros((len(amounts), len(elements)), dtype=np.float32)
    for row, amount in enumerate(amounts):
        for number, share in amount.items():
            if number in places:
                found[row, places[number]] = share
    return found


def _graph(amounts: dict[int, float], beside: npt.NDArray[np.float32]) -> Graph:
    """Elements, each joined to each and to itself; an edge has the share of its sender."""
    numbers, shares = np.array([*amounts], dtype=np.int64), np.array([*amounts.values()])
    k = len(numbers)
    properties = table()[numbers] / _scale()
    nodes = np.hstack([properties, shares[:, None], np.tile(beside, (k, 1))]).astype(np.float32)
    senders, receivers = (grid.ravel() for grid in np.meshgrid(np.arange(k), np.arange(k), indexing="ij"))
    return Graph(nodes, np.stack([senders, receivers]), shares[senders][:, None].astype(np.float32))


@lru_cache(maxsize=1)
def _scale() -> npt.NDArray[np.float64]:
    """Largest size of each property, so that they are of one order."""
    return np.asarray(np.abs(table()[1 : HEAVIEST + 1]).max(axis=0))
