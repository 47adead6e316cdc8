"""Which rows are trained on, which decide between networks and which judge them; the same for every network."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.components import made
from matloop.drivers.training.data import PARTS, Data
from matloop.drivers.training.descriptors import clusters
from matloop.drivers.training.sources.registry import KINDS as SOURCES
from matloop.drivers.training.sources.registry import source
from matloop.drivers.training.sources.source import Source, plain
from matloop.orchestrator.errors import ConfigError, inside
from matloop.orchestrator.options import Components, at_least
from matloop.orchestrator.randomness import derive, derive_seed

Rows = npt.NDArray[np.int64]
Shares = tuple[float, float, float]
USUAL: Shares = (0.6, 0.2, 0.2)
_NONE = 1e-9


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of the three parts, (k,) int64 each, disjoint."""

    train: Rows
    validation: Rows
    test: Rows

    def __iter__(self) -> Any:
        return iter((self.train, self.validation, self.test))


@runtime_checkable
class Splitting(Protocol):
    """A way to divide rows.

    Attributes:
        test: another source with the rows to test with; None if they are among the others.
    """

    @property
    def test(self) -> Source | None: ...

    def split(self, data: Data, classes: npt.NDArray[np.int64] | None, seed: int) -> Split:
        """Divide the rows, in the same way for the same data and seed.

        Args:
            data: what is divided; rows with a part in `Data.parts` are in this part.
            classes: (n,) of each row, where it has one.
            seed: decides what is left to chance.

        Raises:
            ValueError: too few rows, groups or classes.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class _Shared(ABC):
    """What ways to divide by shares have in common.

    Attributes:
        shares: of the rows to train on, to validate with (early stopping and the objective) and to test with. A part
            that the data or `test` fix already has its rows; the others keep their ratio.
        test: a source whose rows are all to test with.
    """

    components: ClassVar = {"test": SOURCES}
    shares: Sequence[float] = USUAL
    test: Any = None

    def __post_init__(self) -> None:
        if len(self.shares) != 3 or min(self.shares) <= 0 or sum(self.shares) > 1 + _NONE:
            raise ConfigError(
                "expected three shares above 0 (train, validation, test) with a sum of at most 1, "
                f"got {list(self.shares)}",
                at="shares",
            )
        if self.test is not None:
            with inside("test"):
                object.__setattr__(self, "test", source(self.test))

    def split(self, data: Data, classes: npt.NDArray[np.int64] | None, seed: int) -> Split:
        """See `Splitting`."""
        fixed = {part: _marked(data, part) for part in PARTS}
        free = _marked(data, "")
        if not len(free):
            free, fixed = _lacking(fixed)
        if not len(free):
            return enough(Split(*fixed.values()), len(data), self.shares)
        open_parts = [part for part in PARTS if not len(fixed[part])] or ["train"]
        shares = [share if part in open_parts else 0.0 for part, share in zip(PARTS, self.shares, strict=True)]
        if len(open_parts) < len(PARTS):  # what is not fixed is divided whole
            shares = [share / sum(shares) for share in shares]
        divided = self.divide(data, free, None if classes is None else classes[free], shares, seed)
        parts = [np.concatenate([fixed[part], free[rows]]) for part, rows in zip(PARTS, divided, strict=True)]
        return enough(Split(*parts), len(data), self.shares)

    @abstractmethod
    def divide(
        self, data: Data, free: Rows, classes: npt.NDArray[np.int64] | None, shares: Sequence[float], seed: int
    ) -> list[Rows]:
        """Places in `free` for each of the three parts."""


@dataclass(frozen=True, kw_only=True)
class Random(_Shared):
    """By chance. For rows that have nothing to do with each other."""

    def divide(
        self, data: Data, free: Rows, classes: npt.NDArray[np.int64] | None, shares: Sequence[float], seed: int
    ) -> list[Rows]:
        """See `_Shared`."""
        return cut(derive("split", seed).permutation(len(free)), shares)


@dataclass(frozen=True, kw_only=True)
class Stratified(_Shared):
    """By chance, each class in the same shares."""

    def divide(
        self, data: Data, free: Rows, classes: npt.NDArray[np.int64] | None, shares: Sequence[float], seed: int
    ) -> list[Rows]:
        """See `_Shared`."""
        if classes is None:
            raise ValueError("expected classes for a stratified split, got a task without; use `kind: random`")
        order = derive("split", seed).permutation(len(free))
        of_classes = [cut(order[classes[order] == label], shares) for label in np.unique(classes)]
        return [np.concatenate(parts) for parts in zip(*of_classes, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Grouped(_Shared):
    """Rows of one group stay together; parts have the rows' shares, and each class's, as nearly as groups allow."""

    def divide(
        self, data: Data, free: Rows, classes: npt.NDArray[np.int64] | None, shares: Sequence[float], seed: int
    ) -> list[Rows]:
        """See `_Shared`."""
        return by_groups(_stated(data, "group")[free], classes, shares, seed)


@dataclass(frozen=True, kw_only=True)
class Time(_Shared):
    """The oldest rows are trained on and the newest tested with; rows of one time stay together."""

    def divide(
        self, data: Data, free: Rows, classes: npt.NDArray[np.int64] | None, shares: Sequence[float], seed: int
    ) -> list[Rows]:
        """See `_Shared`."""
        time = _stated(data, "time")[free]
        order = np.argsort(time, kind="stable")
        _, place = np.unique(time[order], return_index=True)
        starts = [*place.tolist(), len(order)]
        ends = [min(starts, key=lambda start: abs(start - end)) for end in np.cumsum(shares) * len(order)]
        return [order[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Clusters(_Shared):
    """One cluster of similar inputs is left out to test with: how well is the unlike predicted?

    Attributes:
        clusters: number of them, by k-means of the standardised inputs.
        leave_out: number of the one that is left out, from 0, the largest, on.
    """

    clusters: int = 10
    leave_out: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(2, clusters=self.clusters)
        if not 0 <= self.leave_out < self.clusters:
            raise ConfigError(f"expected leave_out from 0 to {self.clusters - 1}, got {self.leave_out}", at="leave_out")

    def divide(
        self, data: Data, free: Rows, classes: npt.NDArray[np.int64] | None, shares: Sequence[float], seed: int
    ) -> list[Rows]:
        """See `_Shared`."""
        out = clusters(data.x, free, self.clusters, derive_seed("clusters", seed) % 2**31) == self.leave_out
        if data.groups is not None:
            out = np.isin(data.groups[free], data.groups[free][out])
        rest, (train, validation, _) = np.flatnonzero(~out), shares
        rule = _automatic(data, classes, self.shares)
        inner = None if classes is None else classes[rest]
        both = train + validation
        first, second, _ = rule.divide(data, free[rest], inner, [train / both, validation / both, 0.0], seed)
        return [rest[first], rest[second], np.flatnonzero(out)]


@dataclass(frozen=True, kw_only=True)
class KFold:
    """Cross-validation: one fold is tested with, the next one is validated with. Groups stay together.

    Attributes:
        folds: number of them.
        fold: number of the one that is tested with, from 0; give studies other ones, and compare or average them.
    """

    folds: int = 5
    fold: int = 0
    test: None = None

    def __post_init__(self) -> None:
        at_least(3, folds=self.folds)
        if not 0 <= self.fold < self.folds:
            raise ConfigError(f"expected fold from 0 to {self.folds - 1}, got {self.fold}", at="fold")

    def split(self, data: Data, classes: npt.NDArray[np.int64] | None, seed: int) -> Split:
        """See `Splitting`."""
        from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

        kind = {(False, False): KFold, (False, True): StratifiedKFold, (True, False): GroupKFold}.get(
            (data.groups is not None, classes is not None), StratifiedGroupKFold
        )
        rule = kind(self.folds, shuffle=True, random_state=derive_seed("folds", seed) % 2**31)
        y = np.zeros(len(data)) if classes is None else classes
        folds = [rows for _, rows in rule.split(np.zeros(len(data)), y, data.groups)]
        after = (self.fold + 1) % self.folds
        rest = [rows for i, rows in enumerate(folds) if i not in (self.fold, after)]
        return enough(Split(np.sort(np.concatenate(rest)), folds[after], folds[self.fold]), len(data), ())


@dataclass(frozen=True, kw_only=True)
class Auto(_Shared):
    """As the data say where they do; grouped where groups are known; stratified for classes; else random."""

    def divide(
        self, data: Data, free: Rows, classes: npt.NDArray[np.int64] | None, shares: Sequence[float], seed: int
    ) -> list[Rows]:
        """See `_Shared`."""
        return _automatic(data, classes, self.shares).divide(data, free, classes, shares, seed)


@dataclass(frozen=True, kw_only=True)
class Column(Auto):
    """As the data say: a column named by `part:`, or the array `parts`. What they leave open is divided as by auto."""

    def divide(
        self, data: Data, free: Rows, classes: npt.NDArray[np.int64] | None, shares: Sequence[float], seed: int
    ) -> list[Rows]:
        """See `_Shared`."""
        _stated(data, "part")
        return super().divide(data, free, classes, shares, seed)


KINDS = Components(
    kinds={
        name: f"{__name__}:{kind.__name__}"
        for name, kind in {
            "auto": Auto,
            "clusters": Clusters,
            "column": Column,
            "grouped": Grouped,
            "k_fold": KFold,
            "random": Random,
            "stratified": Stratified,
            "time": Time,
        }.items()
    }
)
"""Beside these, "module:Class"."""


def splitting(given: Sequence[float] | Mapping[str, Any] | Splitting) -> Splitting:
    """The way that is meant by three shares, by a mapping with `kind`, or by itself.

    Raises:
        ConfigError: no such kind, or options that it does not have.
    """
    if isinstance(given, Mapping):
        return splitting(made("split", KINDS, given))
    if isinstance(given, Splitting):
        return given
    try:
        return Auto(shares=tuple(map(float, given)))
    except ConfigError as error:
        raise ConfigError(f"split: {error}") from error


def described(splitting: Splitting) -> dict[str, Any]:
    """A way to divide, as JSON holds it: its kind and options, without another source."""
    kinds = {path.rpartition(":")[2]: name for name, path in KINDS.kinds.items()}
    name = type(splitting).__name__
    options: Mapping[str, Any] = vars(splitting) if dataclasses.is_dataclass(splitting) else {}
    given = {key: plain(value) for key, value in options.items() if key != "test"}
    return {"kind": kinds.get(name, name), **given}


def cut(order: Rows, shares: Sequence[float]) -> list[Rows]:
    """Parts of an order, one after the other; what the shares leave is in none."""
    ends = [round(len(order) * float(end)) for end in np.cumsum(shares)]
    return [order[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def by_groups(
    groups: npt.NDArray[np.int64], classes: npt.NDArray[np.int64] | None, shares: Sequence[float], seed: int
) -> list[Rows]:
    """Rows of the parts: each group, the largest first and else by chance, goes where most is lacking of its classes.

    Raises:
        ValueError: fewer groups than parts.
    """
    left = 1 - float(sum(shares))
    whole = [*shares, left if left > _NONE else 0.0]  # some rows may be in no part
    wanted = [part for part, share in enumerate(whole) if share > 0]
    _, codes = np.unique(groups, return_inverse=True)
    labels = np.zeros(len(groups), dtype=np.int64) if classes is None else np.unique(classes, return_inverse=True)[1]
    counts = np.zeros((codes.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(counts, (codes, labels), 1)
    if len(counts) < len(wanted):
        raise ValueError(
            f"expected at least {len(wanted)} groups to divide, got {len(counts)}; add data, or use `kind: random` if "
            "rows of a group have nothing to do with each other"
        )
    order = derive("split", seed).permutation(len(counts))
    order = order[np.argsort(-counts.sum(axis=1)[order], kind="stable")]
    place = _placed(counts, order, [whole[part] for part in wanted])
    return [np.flatnonzero(np.asarray(wanted)[place][codes] == part) for part in range(len(shares))]


def _placed(counts: npt.NDArray[np.int64], order: Rows, shares: Sequence[float]) -> npt.NDArray[np.int64]:
    """Part of each group.

    Args:
        counts: (groups, classes) rows.
        order: groups, from the largest on.
        shares: of the parts.
    """
    lacking = np.outer(np.asarray(shares) / sum(shares), counts.sum(axis=0))
    total = np.maximum(counts.sum(axis=0), 1)
    place = np.zeros(len(counts), dtype=np.int64)
    sizes = counts.sum(axis=1)
    for group in order[sizes[order] > 1].tolist():
        best = int(((lacking / total) * counts[group]).sum(axis=1).argmax())
        place[group] = best
        lacking[best] -= counts[group]
    singles = order[sizes[order] == 1]
    for label in range(counts.shape[1]):
        mine, wish = singles[counts[singles, label] == 1], np.maximum(lacking[:, label], 0)
        parts = cut(mine, wish / wish.sum()) if len(mine) else []
        for part, some in enumerate(parts):
            place[some] = part
    for part in range(len(shares)):
        if not (place == part).any():  # it is smaller than any group
            mine = np.flatnonzero(place == np.bincount(place).argmax())
            place[mine[sizes[mine].argmin()]] = part
    return place


def enough(parts: Split, n: int, shares: Sequence[float]) -> Split:
    """The parts, unless one is too small.

    Raises:
        ValueError: too few points for two to train on, one to validate with and one to test.
    """
    if len(parts.train) < 2 or len(parts.validation) < 1 or len(parts.test) < 1:
        raise ValueError(
            f"expected enough data for 2 points to train on, 1 to validate with and 1 to test, got {n} in "
            f"{f'shares {list(shares)}' if shares else 'folds'}; add data or change `split`"
        )
    return parts


def _stated(data: Data, option: str) -> npt.NDArray[Any]:
    """What the data say of each row.

    Raises:
        ValueError: nothing.
    """
    array = {"group": "groups", "part": "parts"}.get(option, option)
    found: npt.NDArray[Any] | None = getattr(data, array)
    if found is None:
        raise ValueError(
            f"expected {array} in {data.path} for this split, got none; name the column with `{option}:`, or save the "
            f"array {array!r} in an .npz"
        )
    return found


def _automatic(data: Data, classes: npt.NDArray[np.int64] | None, shares: Sequence[float]) -> _Shared:
    if data.groups is not None:
        return Grouped(shares=shares)
    return Random(shares=shares) if classes is None else Stratified(shares=shares)


def _marked(data: Data, part: str) -> Rows:
    if data.parts is None:
        return np.arange(len(data)) if part == "" else np.zeros(0, dtype=np.int64)
    return np.flatnonzero(data.parts == part)


def _lacking(fixed: dict[str, Rows]) -> tuple[Rows, dict[str, Rows]]:
    """Rows to train on, left to be divided where the data name none to validate or to test with."""
    if all(len(rows) for rows in fixed.values()):
        return np.zeros(0, dtype=np.int64), fixed
    return fixed["train"], fixed | {"train": np.zeros(0, dtype=np.int64)}
