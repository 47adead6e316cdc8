"""Trains a reference as the driver of a search trains networks: same data, same split, same budget, same figures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.driver import Training
from matloop.drivers.training.material import Material
from matloop.drivers.training.references.estimators import Fittable, Lesson, flat
from matloop.drivers.training.references.reference import Shape
from matloop.drivers.training.references.registry import reference
from matloop.drivers.training.references.space import References
from matloop.drivers.training.references.trained import Trained
from matloop.drivers.training.splits import Split
from matloop.drivers.training.tasks.task import Rows
from matloop.orchestrator.errors import ConfigError, Problem, Refused
from matloop.orchestrator.randomness import derive_seed
from matloop.orchestrator.references import WINNER
from matloop.orchestrator.threads import limited
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.surrogates.networks.budget import Budget

FEWEST_STEPS = 16
"""Of an epoch: the usual batches suit thousands of rows, and fewer rows get smaller ones."""


class ReferenceTraining:
    """Measures references and the winner of a search with the search's own driver.

    A network is trained by that driver, with the optimiser and rates of its own recipe. An estimator is fitted to the
    same rows, in no more seconds than a trial may take where the budget is one of seconds, else as long as it needs.
    Values, artifacts and `info` are those of the search's trials.

    Args:
        driver: of the search.

    Raises:
        ConfigError: it is none that trains networks.
    """

    repeatable = True

    def __init__(self, *, driver: Any) -> None:
        if not isinstance(driver, Training):
            raise ConfigError(
                f"expected the driver training, whose data and budget references share, got {type(driver).__name__}; "
                "remove `reference`"
            )
        self.driver = driver

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Of the search's objectives those that say how well it predicts."""
        return tuple(o for o in self.driver.objectives if o.name.startswith("validation_"))

    def material(self) -> Material:
        """See `matloop.drivers.training.material.Providing`."""
        return self.driver.material()

    def check(self, space: References) -> list[str]:
        """Refuse references that cannot learn from the data; there is nothing else to say of them beforehand.

        Raises:
            ConfigError: naming all of them.
        """
        try:
            shape = self._shape()
        except Refused:  # said of the search
            return []
        problems: list[Problem] = []
        for name, made in space.references.items():
            try:
                made.check(shape)
            except ConfigError as error:
                problems += [Problem(f"{name}: {problem.text}", ("space", "kinds")) for problem in error.problems]
        if problems:
            raise ConfigError(problems=problems)
        return []

    def __call__(self, trial: Trial) -> Measurement:
        """Train what the point names, from the trial's seed."""
        name, budget = str(trial.point["reference"]), trial.point["budget"]
        driver = self.driver if budget is None else self.driver.within(Budget.of(budget))
        if name == WINNER:
            return _told(name, driver(replace(trial, point=trial.point["network"])))
        made = reference(name.partition(" ")[0])  # the rest of a name are options, which the settings repeat
        if isinstance(made, Fittable):
            return _told(name, _fitted(driver, made, trial))
        network = self._network(made, trial.point["settings"])
        return _told(name, driver(replace(trial, point=network)), batch=network["training"]["batch"])

    def _network(self, made: Trained, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the driver takes in place of a genome."""
        known, training = self.driver.fills, dict(settings["training"])
        training["batch"] = max(min(training["batch"], known["examples"] // FEWEST_STEPS), 2)
        shape = {"input": list(known["input"]), "outputs": known["outputs"]}
        return {"factory": made.factory, "options": settings["options"], **shape, "training": training}

    def _shape(self) -> Shape:
        known = self.driver.fills
        if "input" in known:
            return Shape(tuple(known["input"]), known["outputs"], self.driver.task, self.driver.aim.places)
        return Shape((known["node_features"],), known["outputs"], self.driver.task, graphs=True)


def _fitted(driver: Training, made: Fittable, trial: Trial) -> Measurement:
    """Fit an estimator to the rows that networks are trained on, and measure it as they are."""
    began = time.perf_counter()
    data, parts, goal = driver.bound()
    if isinstance(data.x, Graphs):
        raise ValueError(f"expected inputs that are arrays for the reference {made.kind}, got graphs; remove it")
    classes = goal.outputs if driver.task == "classification" else 0
    y = np.asarray(goal.targets)
    with limited(driver.recipe.threads):
        described = flat(data.x, parts.train, derive_seed(trial.seed, "components"))
        x = {name: described(rows) for name, rows in _parts(parts).items()}
        lesson = Lesson(
            x["train"],
            y[parts.train],
            x["validation"],
            y[parts.validation],
            classes=classes,
            seed=derive_seed(trial.seed, "fit"),
            threads=driver.recipe.threads,
            seconds=_left(driver.recipe.budget, began),
        )
        fitted = made.fit(lesson, trial.point["settings"]["options"])
        predicted = {name: fitted(x[name]) for name in ("validation", "test")}
    if not classes and goal.outputs == 2 * lesson.y.shape[1]:  # a network would say how sure it is, too
        spread = np.log(np.square(predicted["validation"] - lesson.y_validation).mean(axis=0) + 1e-12)
        predicted = {name: np.hstack([said, np.tile(spread, (len(said), 1))]) for name, said in predicted.items()}
    outputs = {name: _outputs(said, classes) for name, said in predicted.items()}
    return driver.measured(data, parts, goal, outputs, {"seconds": round(time.perf_counter() - began, 3)})


def _left(budget: Budget, began: float) -> float | None:
    """Seconds of a budget that are left; None where it counts something else."""
    return None if budget.seconds is None else max(budget.seconds - (time.perf_counter() - began), 0.0)


def _told(name: str, measurement: Measurement, **known: Any) -> Measurement:
    return replace(measurement, info={"reference": name, **known, **measurement.info})


def _outputs(predicted: npt.NDArray[Any], classes: int) -> torch.Tensor:
    """As networks give them: logits of classes, and standardised numbers."""
    found = np.log(np.clip(predicted, 1e-7, 1.0)) if classes else predicted
    return torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32))


def _parts(parts: Split) -> dict[str, Rows]:
    return {"train": parts.train, "validation": parts.validation, "test": parts.test}
