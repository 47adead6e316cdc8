"""A pool of materials that are named by their formulas and seen by models as statistics of their elements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Array, Column, Past
from matloop.orchestrator.trial import Point
from matloop.search_spaces.formulas.described import Described, one_of
from matloop.search_spaces.formulas.features import feature_names, featurise
from matloop.search_spaces.pool import Pool


class Formulas(Described):
    """Space of the chemical formulas of a list or of a CSV file.

    A formula is encoded by the features of `featurise`, standardised over the pool (those that are the same for all are
    left out), and further inputs as a `Pool` encodes them. So is one that was measured and is no candidate any more.

    Args:
        formulas: candidates; each is a point `{"formula": …}`.
        csv: file of candidates instead; see `matloop.search_spaces.table.read_table`.
        column: that of the formulas, and their key in a point.
        inputs: further columns that make up a point, such as an annealing temperature; only with csv.
        past: what is on record; filled in by matloop.

    Raises:
        ConfigError: no candidates, an unknown column, or what cannot be read as a formula.
    """

    def __init__(
        self,
        *,
        formulas: list[str] | None = None,
        csv: Path | None = None,
        column: str = "formula",
        inputs: list[str] | None = None,
        past: Past | None = None,
    ) -> None:
        one_of(formulas=formulas, csv=csv)
        if inputs and csv is None:
            raise ConfigError(
                "expected inputs together with csv, in which these columns are; got formulas", at="inputs"
            )
        listed = None if formulas is None else [{column: formula} for formula in formulas]
        others = [name for name in inputs or () if name != column]
        self._pool = Pool(points=listed, csv=csv, inputs=[column, *others])
        settings = [{name: p[name] for name in others} for p in self.points]
        self._settings = Pool(points=settings, past=past) if others else None
        self._column = column
        names = list(dict.fromkeys(str(point[column]) for point in self.points))
        try:
            codes = featurise(names)
        except InvalidPoint as error:
            raise ConfigError(f"{column}: {error}", at="formulas") from error
        former = {str(name): featurise([str(name)])[0] for name in (past or Past()).values(column) if readable(name)}
        former = {name: code for name, code in former.items() if name not in names}
        self._places = {name: i for i, name in enumerate([*names, *former])}
        self._codes, kept = standardise(np.vstack([codes, *former.values()]), len(codes))
        own = tuple(
            Column(column, "descriptor", name) for name, keep in zip(feature_names(), kept, strict=True) if keep
        )
        self.columns = own + (self._settings.columns if self._settings else ())

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64: features with mean 0 and standard deviation 1 over the pool; other inputs in [0, 1].

        Raises:
            InvalidPoint: a formula is neither a candidate nor on record, or see `Pool.encode`.
        """
        own = self._codes[[self._place(self._places, self._column, point) for point in points]]
        return np.hstack([own, self._settings.encode(points)]) if self._settings else own


def readable(formula: Any) -> bool:
    """Whether it is a formula that features can be made of."""
    try:
        featurise([str(formula)])
    except InvalidPoint:
        return False
    return True


def standardise(codes: Array, count: int | None = None) -> tuple[Array, Array]:
    """Columns with mean 0 and standard deviation 1, without those that are constant.

    Args:
        codes: (n, d) float64.
        count: first rows by which this is decided; None for all.

    Returns:
        (n, k) float64 and (d,) bool, which columns were kept; the first alone if all are constant.
    """
    pool = codes[:count]
    kept = np.ptp(pool, axis=0) > 1e-12 * np.abs(pool).max(axis=0)
    if not kept.any():
        kept[0] = True
    used, pool = codes[:, kept], pool[:, kept]
    spread = pool.std(axis=0)
    return (used - pool.mean(axis=0)) / np.where(spread > 0, spread, 1.0), kept
