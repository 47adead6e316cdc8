"""Makes a bundle of trained networks: calibrated on rows that they were not trained on, and judged on others.

The networks are run once more on the rows that they were tested on. What they give has to be what was recorded when
they were trained; else the data have changed since, and nothing is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save

from matloop.bundles import rotations
from matloop.bundles.bundle import DOMAIN
from matloop.bundles.classes import Classes, expected_calibration_error
from matloop.bundles.domain import Domain, vectors
from matloop.bundles.intervals import LEVEL, Intervals, coverage
from matloop.bundles.meaning import Meaning
from matloop.bundles.networks import Inputs, Member, Networks, chunks
from matloop.bundles.page import page
from matloop.bundles.scores import scores
from matloop.drivers.training.material import Material
from matloop.drivers.training.predictions import Predictions
from matloop.orchestrator.bundle import PAGE, occupied, seal
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.randomness import derive
from matloop.search_spaces.networks import files

Rows = npt.NDArray[np.int64]

PREDICTIONS = "test_predictions.npz"

SAME = 1e-5
"""Largest difference from the record that counts as the same, in standard deviations of the target."""

ELSEWHERE = 1e-2
"""Largest one that another machine's arithmetic explains, such as that of a GPU."""

_PIXELS = 200_000
"""Most that probabilities are calibrated on."""

_ROWS = 20_000
"""Most training rows that the domain is measured on."""


@dataclass(frozen=True)
class Trained:
    """A network of a campaign.

    Attributes:
        trial: its id.
        state: without scales.
        notes: genome and scales.
        recorded: what it predicted of the test rows when it was trained; None if that was not recorded.
        told: what the record says of the trial: values, info, seed, times.
    """

    trial: int
    state: Mapping[str, torch.Tensor]
    notes: Mapping[str, Any]
    recorded: Predictions | None
    told: Mapping[str, Any]


def make(folder: Path, trained: Sequence[Trained], material: Material, about: Mapping[str, Any]) -> dict[str, Any]:
    """Write a bundle.

    Args:
        folder: made by this; must not be there yet, or be empty.
        trained: one network, or several that are to answer together, of the same data and task.
        material: what they were trained on.
        about: for the card, JSON-able: campaign, study, date, versions, data.

    Returns:
        The card.

    Raises:
        MatloopError: the folder is not empty, or the data are not those that the networks were trained on.
    """
    if occupied(folder):
        raise MatloopError(f"{folder} is already there and is not overwritten; choose another name")
    maker = _Maker(trained, material)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as made:
        card = maker.write(Path(made) / "bundle", about)
        try:
            if folder.exists():
                folder.rmdir()
            (Path(made) / "bundle").rename(folder)
        except OSError:
            if occupied(folder):  # by somebody else meanwhile
                raise MatloopError(f"{folder} is already there and is not overwritten; choose another name") from None
            raise
    return card


@dataclass(frozen=True)
class _Numbers:
    """Predictions of some rows and what was measured: (n, m) float64 each, in the target's unit."""

    mean: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64] | None
    measured: npt.NDArray[np.float64]
    groups: Rows | None

    def at(self, places: npt.NDArray[np.int64]) -> _Numbers:
        """Some places of (n, m, *places) as rows of their own, (n * k, m); those of a row are one group."""

        def flat(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            rows: npt.NDArray[np.float64] = values.reshape(*values.shape[:2], -1)[..., places].swapaxes(1, 2)
            return rows.reshape(-1, values.shape[1])

        own = np.arange(len(self.mean)) if self.groups is None else self.groups
        return _Numbers(
            flat(self.mean),
            None if self.spread is None else flat(self.spread),
            flat(self.measured),
            np.repeat(own, len(places)),
        )

    def column(self, j: int) -> tuple[Any, Any, Any]:
        """Of one target."""
        return self.mean[:, j], None if self.spread is None else self.spread[:, j], self.measured[:, j]


class _Maker:
    """Runs the networks on the three parts."""

    def __init__(self, trained: Sequence[Trained], material: Material) -> None:
        self.trained, self.material = trained, material
        self.networks = Networks([Member.of(one.state, one.notes, one.trial) for one in trained])
        goal = material.goal
        self.meaning = Meaning.of(
            material.task,
            goal.described(),
            material.names,
            int(trained[0].notes["genome"]["outputs"]),
            unit=material.unit,
            places=material.places,
        )
        data, parts = material.data, material.parts
        self.groups = data.groups
        self.answers = {name: self.networks.answers(self._x(rows)) for name, rows in self._held_out().items()}
        self.difference = self._compare(parts.test)

    def write(self, folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
        """Write everything into a new folder; returns the card."""
        folder.mkdir()
        members = [self._write_member(folder, i, one) for i, one in enumerate(self.trained)]
        (folder / DOMAIN).write_bytes(save(self._domain().tensors()))
        test = self.material.parts.test
        measured, predicted = self.material.goal.side_by_side(self._joined("test"), test)
        told = Predictions(self.material.data.ids[test], measured, predicted)
        (folder / PREDICTIONS).write_bytes(told.to_bytes())
        calibration, judged = self._calibrated()
        card = {
            **about,
            "members": members,
            "meaning": self.meaning.described(),
            "source": self.material.source.settings(),
            "columns": list(self.material.data.known.get("inputs", ())),
            "spread": self.networks.spread,
            "calibration": calibration,
            "test": {
                "rows": len(test),
                "scores": scores(self.material.goal, self._joined("test"), test, self._groups(test)),
                "by_class": dict(self.material.goal.by_class(self._joined("test"), test)),
                "difference_from_record": self.difference,
                **judged,
            },
        }
        whole = seal(folder, card)
        (folder / PAGE).write_text(page(whole), encoding="utf-8")
        return whole

    def _held_out(self) -> dict[str, Rows]:
        parts = self.material.parts
        return {"validation": parts.validation, "test": parts.test}

    def _x(self, rows: Rows) -> Inputs:
        return self.material.data.x[rows]

    def _groups(self, rows: Rows) -> Rows | None:
        return None if self.groups is None else self.groups[rows]

    def _joined(self, part: str) -> torch.Tensor:
        """What the networks give together, as one network would."""
        if self.meaning.symmetry:
            return rotations.together(self.answers[part], self.meaning.symmetry).float()
        return joined(self.answers[part], classes=self.meaning.classes)

    def _compare(self, rows: Rows) -> float:
        """Largest difference between what was recorded and what the networks give now, in standard deviations.

        For classes it is the share of answers that differ.

        Raises:
            MatloopError: it is too large to be another machine's arithmetic.
        """
        worst = 0.0
        ids = self.material.data.ids[rows]
        for number, one in enumerate(self.trained):
            if one.recorded is None:
                continue
            now = Predictions(ids, *self.material.goal.side_by_side(self.answers["test"][number], rows))
            if what := _changed(one.recorded, now, self.meaning):
                raise MatloopError(
                    f"expected the data that trial {one.trial} was trained on, got {what} for its test part; "
                    "put the data back as they were, or train again"
                )
            worst = max(worst, _difference(one.recorded.predicted, now.predicted, self.meaning))
        return worst

    def _write_member(self, folder: Path, number: int, one: Trained) -> dict[str, Any]:
        """Write one network; a single one into the folder itself."""
        own = folder if len(self.trained) == 1 else folder / "members" / str(number + 1)
        missing = files.write(own, one.state, one.notes)
        place = own.relative_to(folder)
        return {
            "trial": one.trial,
            "weights": (place / files.WEIGHTS).as_posix(),
            "source": (place / files.SOURCE).as_posix(),
            "onnx": None if missing else (place / files.MODEL).as_posix(),
            "without_onnx": missing,
            "genome": one.notes["genome"],
            **one.told,
        }

    def _domain(self) -> Domain:
        train = self.material.parts.train
        kept = np.sort(train[derive("domain").permutation(len(train))[:_ROWS]])
        views = []
        for rows in (kept, self.material.parts.validation):
            x = self._x(rows)
            views.append((torch.cat([vectors(part) for part in chunks(x)]), self.networks.features(x)))
        return Domain.of(views[0], views[1], named=len(getattr(self.material.data.x, "shape", ())) == 2)

    def _calibrated(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Calibration from the validation part, and how it did on the test part."""
        if self.meaning.classes:
            return self._classes()
        return self._angles() if self.meaning.symmetry else self._intervals()

    def _angles(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The angle about a predicted orientation that holds the measured one."""
        symmetry, degrees, spreads = self.meaning.symmetry, {}, {}
        for part, rows in self._held_out().items():
            found = rotations.together(self.answers[part], symmetry)
            measured = torch.as_tensor(self.material.goal.side_by_side(found.float(), rows)[0])
            degrees[part] = rotations.apart(found, measured, symmetry)
            spreads[part] = rotations.spread(self.networks.functions(self._x(rows)), found, symmetry)
        parts = self.material.parts
        none = np.zeros(len(parts.validation))
        one = Intervals.of(none, spreads["validation"], degrees["validation"], self._groups(parts.validation))
        _, within = one.bounds(np.zeros(len(parts.test)), spreads["test"])
        held = coverage(degrees["test"] <= within, self._groups(parts.test)) | {"mean_width": float(within.mean())}
        return {"level": LEVEL, "intervals": [one.described()]}, {"coverage": {"degrees": held}}

    def _intervals(self) -> tuple[dict[str, Any], dict[str, Any]]:
        validation, test = (self._numbers(part) for part in ("validation", "test"))
        found, held = [], {}
        for j, name in enumerate(self.meaning.names):
            one = Intervals.of(*validation.column(j), validation.groups)
            mean, spread, y = test.column(j)
            lower, upper = one.bounds(mean, spread)
            inside = (lower <= y) & (y <= upper)
            held[name] = coverage(inside, test.groups) | {"mean_width": float((upper - lower).mean())}
            found.append(one.described())
        return {"level": LEVEL, "intervals": found}, {"coverage": held}

    def _numbers(self, part: str) -> _Numbers:
        rows, answers = self._held_out()[part], self.answers[part]
        found = _Numbers(
            mean=self.meaning.values(answers).mean(axis=0),
            spread=self.meaning.spreads(answers, self.networks.functions(self._x(rows))),
            measured=np.asarray(self.material.goal.side_by_side(self._joined(part), rows)[0], dtype=np.float64),
            groups=self._groups(rows),
        )
        return found.at(self._places(found.mean.shape)) if self.meaning.places else found

    @staticmethod
    def _places(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Some of the places of (n, m, *places), as numbers of the flat ones, the same in each row."""
        places = int(np.prod(shape[2:]))
        kept = max(1, min(places, _PIXELS // max(shape[0], 1)))
        return np.sort(derive("pixels").permutation(places)[:kept])

    def _classes(self) -> tuple[dict[str, Any], dict[str, Any]]:
        rows = self._held_out()
        logits, y, groups = {}, {}, {}
        for part in rows:
            logits[part], y[part], groups[part] = self._pixels(part)
        found = Classes.of(logits["validation"], y["validation"], groups["validation"])
        shares, true = found.probabilities(logits["test"]).numpy(), y["test"].numpy()
        inside = found.sets(shares)[np.arange(len(true)), true]
        before = torch.softmax(logits["test"].double(), dim=2).mean(dim=0).numpy()
        judged = {
            "coverage": {"set": coverage(inside, groups["test"])},
            "calibration_error": expected_calibration_error(shares, true),
            "calibration_error_before": expected_calibration_error(before, true),
        }
        return {"level": LEVEL, "classes": found.described()}, judged

    def _pixels(self, part: str) -> tuple[torch.Tensor, torch.Tensor, Rows | None]:
        """Logits (k, n, classes), classes (n,) and groups of the rows, or of some of their places."""
        rows, answers = self._held_out()[part], self.answers[part]
        y = torch.as_tensor(np.asarray(self.material.goal.side_by_side(self._joined(part), rows)[0], dtype=np.int64))
        groups = self._groups(rows)
        if not self.meaning.places:
            return answers, y, groups
        own = np.arange(len(rows)) if groups is None else groups
        chosen = torch.as_tensor(self._places((len(y), 1, *y.shape[1:])))
        flat = answers.flatten(3)[..., chosen]  # (k, n, classes, pixels)
        return flat.movedim(3, 2).flatten(1, 2), y.flatten(1)[:, chosen].flatten(), np.repeat(own, len(chosen))


def joined(answers: torch.Tensor, *, classes: bool) -> torch.Tensor:
    """(k, n, outputs, ...) of k networks to (n, outputs, ...): the mean, or the logarithm of the mean probability."""
    if len(answers) == 1:
        return answers[0]
    if classes:
        return torch.softmax(answers.double(), dim=2).mean(dim=0).clamp_min(1e-30).log().float()
    return answers.double().mean(dim=0).float()


def _changed(recorded: Predictions, now: Predictions, meaning: Meaning) -> str:
    """What of the test part is not as it was recorded, in words; empty where it is."""
    if not np.array_equal(recorded.ids, now.ids) or recorded.predicted.shape != now.predicted.shape:
        return "other rows"
    if recorded.measured.shape != now.measured.shape or not _equal(recorded.measured, now.measured):
        return "other measurements"
    difference = _difference(recorded.predicted, now.predicted, meaning)
    return f"predictions that differ by {difference:.3g}" if difference > ELSEWHERE else ""


def _equal(recorded: npt.NDArray[Any], now: npt.NDArray[Any]) -> bool:
    """Whether measurements are the same, as far as single precision tells."""
    return np.allclose(recorded, now, rtol=SAME, atol=SAME * float(np.nanstd(recorded)), equal_nan=True)


def _difference(recorded: npt.NDArray[Any], now: npt.NDArray[Any], meaning: Meaning) -> float:
    if not recorded.size:
        return 0.0
    if meaning.classes:
        return float(np.mean(recorded != now))
    if meaning.symmetry:  # as a share of half a turn
        degrees = rotations.apart(torch.as_tensor(recorded), torch.as_tensor(now), meaning.symmetry)
        return float(degrees.max()) / 180
    std = np.array(meaning.std).reshape(1, -1, *[1] * (recorded.ndim - 2))
    scale = np.maximum(std, np.abs(recorded) * SAME)  # single precision cannot tell more
    return float(np.max(np.abs(recorded.astype(np.float64) - now) / scale))
