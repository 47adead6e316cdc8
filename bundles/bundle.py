"""A trained network to use: predictions of new inputs in their own units, how sure they are, and what they rest on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import nn

from matloop.bundles import rotations
from matloop.bundles.answers import Answers, Field, Mask
from matloop.bundles.classes import Classes
from matloop.bundles.domain import Domain, vectors
from matloop.bundles.explanation import Explanation, explain
from matloop.bundles.intervals import Intervals
from matloop.bundles.meaning import Meaning
from matloop.bundles.networks import Inputs, Member, Networks, chunks
from matloop.bundles.unit import InUnits
from matloop.bundles.whole import wholes
from matloop.drivers.training.data import not_finite
from matloop.drivers.training.sources.registry import KINDS, source_from
from matloop.drivers.training.sources.source import New, Source
from matloop.orchestrator.bundle import BundleError, unseal
from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.networks import weights
from matloop.search_spaces.networks.files import unscaled
from matloop.search_spaces.networks.graph.graphs import Graphs

if TYPE_CHECKING:
    import pandas as pd

DOMAIN = "domain.safetensors"


class Bundle:
    """One or several trained networks, with the source that reads their inputs; made by `load_bundle`.

    Attributes:
        card: what was written with it: data, split, scores, coverage, versions.
        networks, meaning, domain: its parts.
    """

    def __init__(
        self,
        card: Mapping[str, Any],
        networks: Networks,
        domain: Domain,
        *,
        own_code: bool = False,
    ) -> None:
        self.card, self.networks, self.domain = card, networks, domain
        self.meaning = Meaning.from_described(card["meaning"])
        self._own_code = own_code
        calibration = card["calibration"]
        self._intervals = [Intervals.from_described(one) for one in calibration.get("intervals", ())]
        self._classes = Classes.from_described(calibration["classes"]) if "classes" in calibration else None

    @cached_property
    def source(self) -> Source:
        """What reads new inputs as the training data were read.

        Raises:
            BundleError: a function or class of somebody's own does, and `load_bundle` was not told that it may, or it
                is not found.
        """
        kind = self.card["source"]["kind"]
        if kind not in KINDS.kinds and not self._own_code:
            raise BundleError(
                f"the bundle reads its inputs by {kind!r}, which is no part of matloop; if you trust whoever made it, "
                "load_bundle(FOLDER, own_code=True), or --own-code on the command line, lets it run"
            )
        try:
            source = source_from(self.card["source"])
        except ConfigError as error:
            text = f"{error}; run it where that module is, or put its folder on PYTHONPATH"
            raise BundleError(f"the bundle cannot read its inputs: {text}") from error
        return _overlapping(source, self.networks.members[0].genome["input"][1:]) if self.meaning.places else source

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of the outputs; empty for numbers."""
        return self.meaning.names if self.meaning.classes else ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets in the order of the outputs; empty for classes."""
        return () if self.meaning.classes else self.meaning.names

    @property
    def module(self) -> nn.Module:
        """A torch module in evaluation mode, from raw inputs to the target's unit, or to logits of classes.

        It takes (n, *input) tensors of any numbers, graphs, or the tuple of a graph's tensors, and can be moved to a
        GPU, trained further, or composed with others.
        """
        return InUnits(self.networks.members)

    def predict(self, new: Any) -> pd.DataFrame:
        """Predict new inputs.

        Args:
            new: what the source of the training data reads: a list of formulas, a DataFrame, structures, arrays
                (n, *input), a path or a list of paths.

        Returns:
            A row for each input that could be read: `id`; for numbers each target with `_lower` and `_upper`, between
            which 90 % of measurements are to lie, and `_std` (`predicted NAME` where another column has that name); for
            classes `class`, `p_NAME` of each and the `set` that holds the true one with 90 %, separated by `; `; for
            orientations `w`, `x`, `y`, `z` and `within_degrees` of which 90 % of the measured ones are to lie; for
            places `area_NAME` of each class, or `_mean`, `_min` and `_max` of each target. Then `out_of_domain`,
            `distance` (1 is the limit) and `why`. What could not be read is in `.attrs["problems"]`.

        Raises:
            ValueError: nothing of it can be read.
        """
        from matloop.bundles.table import of_answers, of_fields, of_masks

        found = self.inputs(new)
        if self.meaning.places and self.classes:
            frame = of_masks(self.masks(found), self.classes)
        elif self.meaning.places:
            frame = of_fields(self.fields(found), self.targets)
        else:
            frame = of_answers(found.ids, self.answers(found.x, found.unknown), self.meaning)
        frame.attrs["problems"] = list(found.problems)
        return frame

    def inputs(self, new: Any) -> New:
        """What the source makes of something new.

        Raises:
            ValueError: nothing of it can be read.
        """
        found = new if isinstance(new, New) else self.source.inputs(new)
        if isinstance(found.x, Graphs):
            return found
        self._check(found.x)
        return found if found.extent is not None else _finite(found, found.x)

    def answers(self, x: Inputs, why: tuple[str, ...] = ()) -> Answers:
        """Predictions of inputs as the source gives them; not for tasks with an answer for each place.

        Args:
            x: (n, *input) raw values, or graphs.
            why: what else speaks against each input, as `New.unknown` has it; empty for nothing.
        """
        seen = [self._seen(part) for part in chunks(x)]
        outputs = torch.cat([answers for answers, _, _ in seen], dim=1)
        distance = np.concatenate([far for _, far, _ in seen])
        strange = [text for _, _, texts in seen for text in texts]
        reasons = tuple("; ".join(filter(None, pair)) for pair in zip(why or [""] * len(strange), strange, strict=True))
        if self._classes is not None:
            shares = self._classes.probabilities(outputs).numpy()
            return Answers(shares, None, None, None, self._classes.sets(shares), distance, reasons)
        if self.meaning.symmetry:
            return self._orientations(x, outputs, distance, reasons)
        values = self.meaning.values(outputs).mean(axis=0)
        spreads = None
        if any(one.spreads for one in self._intervals):
            spreads = self.meaning.spreads(outputs, self.networks.functions(x))
        columns = [(values[:, j], None if spreads is None else spreads[:, j]) for j in range(values.shape[1])]
        pairs = list(zip(self._intervals, columns, strict=True))
        bounds = [one.bounds(*column) for one, column in pairs]
        lower, upper = (np.stack([b[side] for b in bounds], axis=1) for side in (0, 1))
        std = np.stack([one.std(*column) for one, column in pairs], axis=1)
        return Answers(values, lower, upper, std, None, distance, reasons)

    def _orientations(
        self, x: Inputs, outputs: torch.Tensor, distance: npt.NDArray[np.float64], why: tuple[str, ...]
    ) -> Answers:
        found, (angle,) = rotations.together(outputs, self.meaning.symmetry), self._intervals
        functions = self.networks.functions(x) if angle.spreads else None
        spread = rotations.spread(functions, found, self.meaning.symmetry)
        _, within = angle.bounds(np.zeros(len(found)), spread)
        return Answers(found.numpy(), None, None, None, None, distance, why, within)

    def masks(self, new: Any) -> Iterator[Mask]:
        """The class of each place of new arrays, of whole micrographs where the source cuts them into tiles.

        Raises:
            ValueError: nothing of it can be read.
        """
        assert self._classes is not None
        found, calibrated = self.inputs(new), self._classes
        distances: list[float] = []
        shares = self._rows(found.x, distances, lambda part, answers: calibrated.probabilities(answers).float())
        if found.extent is None:
            for name, raw, values in zip(found.ids, _array(found), shares, strict=True):
                yield _mask(str(name), raw, values.numpy(), distances.pop())
            return
        raws = wholes(found.extent, (torch.from_numpy(np.array(row, dtype=np.float32)) for row in _array(found)))
        for whole, raw in zip(wholes(found.extent, shares), raws, strict=True):
            yield _mask(whole.name, raw.values, whole.values, _taken(distances))

    def fields(self, new: Any) -> Iterator[Field]:
        """Numbers at each place of new arrays, with the interval that holds 90 % of the measurements at a place.

        Raises:
            ValueError: nothing of it can be read.
        """
        found = self.inputs(new)
        distances: list[float] = []
        rows = self._rows(found.x, distances, self._numbers)
        if found.extent is None:
            for name, values in zip(found.ids, rows, strict=True):
                yield _field(str(name), values.numpy(), distances.pop())
            return
        for whole in wholes(found.extent, rows):
            yield _field(whole.name, whole.values, _taken(distances))

    def _rows(
        self, x: Inputs, distances: list[float], read: Callable[[Inputs, torch.Tensor], torch.Tensor]
    ) -> Iterator[torch.Tensor]:
        """What is read of each input's answer, one after the other; its distance is added as it is given."""
        for part in chunks(x):
            answers, far, _ = self._seen(part)
            for row, distance in zip(read(part, answers), far.tolist(), strict=True):
                distances.append(distance)
                yield row

    def _numbers(self, part: Inputs, answers: torch.Tensor) -> torch.Tensor:
        """(n, 3 m, *places): values, and the lower and upper ends of their intervals."""
        values = self.meaning.values(answers).mean(axis=0)
        spreads = None
        if any(one.spreads for one in self._intervals):
            spreads = self.meaning.spreads(answers, self.networks.functions(part))
        ends = [
            one.bounds(values[:, j], None if spreads is None else spreads[:, j])
            for j, one in enumerate(self._intervals)
        ]
        lower, upper = (np.stack([pair[side] for pair in ends], axis=1) for side in (0, 1))
        return torch.from_numpy(np.concatenate([values, lower, upper], axis=1)).float()

    def features(self, new: Any) -> npt.NDArray[np.float32]:
        """(n, p) float32: what the last layer sees of new inputs, averaged over places; of several networks in a row.

        Raises:
            ValueError: nothing of it can be read.
        """
        found: npt.NDArray[np.float32] = self.networks.features(self.inputs(new).x).numpy()
        return found

    def explain(self, new: Any, output: int | str | None = None, *, steps: int = 64) -> Explanation:
        """What of each input made its prediction what it is, by integrated gradients from the mean input.

        Args:
            new: as `predict` takes it.
            output: number or name of the target or class; None for the first target, or the predicted class.
            steps: between the mean input and the input.

        Raises:
            ValueError: nothing of it can be read, or there is no such output.
        """
        found = self.inputs(new)
        return explain(self, found, output, steps)

    def distance(self, x: Inputs) -> tuple[npt.NDArray[np.float64], list[str]]:
        """(n,) distances from what was trained on, 1 being the limit, and what of each input never varied there."""
        seen = [self._seen(part) for part in chunks(x)]
        return np.concatenate([far for _, far, _ in seen]), [text for _, _, texts in seen for text in texts]

    def _seen(self, part: Inputs) -> tuple[torch.Tensor, npt.NDArray[np.float64], list[str]]:
        """Answers of inputs that are computed with at once, their distances, and what of them never varied."""
        answers, features = self.networks.seen(part)
        inputs = vectors(part)
        return answers, self.domain.distance(inputs, features), self.domain.reasons(inputs, self.columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features of an input, where it is a row of them and they are known."""
        return tuple(self.card.get("columns", ()))

    def _check(self, x: npt.NDArray[Any]) -> None:
        """Raise ValueError unless arrays are what the networks take; places may be more or fewer where each has one."""
        shape = self.networks.members[0].genome["input"]
        free = self.meaning.places and x.ndim == len(shape) + 1 and list(x.shape[1:2]) == list(shape[:1])
        if x.dtype.kind not in "biuf" or not (free or list(x.shape[1:]) == list(shape)):
            expected = ", ".join(map(str, ("n", *shape)))
            raise ValueError(f"expected numbers ({expected}), got {x.dtype} {x.shape}")


def load_bundle(path: Path | str, *, own_code: bool = False) -> Bundle:
    """A bundle that `matloop export runs/NAME --bundle FOLDER` has made; neither campaign nor data are needed.

    ::

        bundle = matloop.load_bundle("best")
        bundle.predict(["Fe2O3", "NaCl"])

    Args:
        path: the folder.
        own_code: whether a function or class outside matloop that the bundle names may be imported to read inputs.

    Raises:
        BundleError: it is none, of a later format, incomplete or changed.
    """
    folder = Path(path).expanduser()
    card = unseal(folder)
    try:
        members = []
        for one in card["members"]:
            state, notes = weights.unpack((folder / one["weights"]).read_bytes())
            members.append(Member.of(unscaled(state, notes), notes, one["trial"]))
        return Bundle(card, Networks(members), Domain.from_tensors(load_file(folder / DOMAIN)), own_code=own_code)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"the bundle {folder} cannot be read: {error}; export it again") from error


def _overlapping(source: Source, shape: Sequence[int]) -> Source:
    """The source with tiles of a network's own size that overlap by half, where it can cut larger arrays into tiles."""
    if not (dataclasses.is_dataclass(source) and hasattr(source, "tile") and hasattr(source, "overlap")):
        return source
    changed: Any = dataclasses.replace(source, tile=list(shape), overlap=min(shape) // 2)
    return changed


def _finite(found: New, x: npt.NDArray[Any]) -> New:
    """Rows without gaps and infinities, which somebody's own source may give; the others are problems.

    Raises:
        ValueError: all rows have some.
    """
    bad = not_finite(x)
    if not len(bad):
        return found
    if len(bad) == len(x):
        raise ValueError("expected rows of finite numbers, got none")
    problems = [*found.problems, *(f"{found.ids[i]}: expected finite numbers, got others; left out" for i in bad)]
    unknown = tuple(np.delete(np.array(found.unknown, dtype=object), bad)) if found.unknown else ()
    x, ids = np.delete(x, bad, axis=0), np.delete(found.ids, bad)
    return dataclasses.replace(found, x=x, ids=ids, problems=tuple(problems), unknown=unknown)


def _array(found: New) -> npt.NDArray[Any]:
    assert not isinstance(found.x, Graphs)
    return found.x


def _taken(distances: list[float]) -> float:
    """The median of the distances that were noted, which are forgotten."""
    found = float(np.median(distances))
    distances.clear()
    return found


def _field(name: str, numbers: npt.NDArray[np.float32], distance: float) -> Field:
    values, lower, upper = np.split(numbers, 3)
    return Field(name, values, lower, upper, distance)


def _mask(name: str, raw: npt.NDArray[Any], shares: npt.NDArray[np.float32], distance: float) -> Mask:
    return Mask(name, raw, shares.argmax(axis=0).astype(np.uint8), shares.max(axis=0), distance)
