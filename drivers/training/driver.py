"""Trains the network that a genome describes and measures how well it predicts data that it has not seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from matloop.drivers.training.checks import crossing, misfits, much_predicted, notable, notes
from matloop.drivers.training.classes import numbered_classes
from matloop.drivers.training.data import PARTS, Data
from matloop.drivers.training.fills import fills
from matloop.drivers.training.jackknife import standard_errors
from matloop.drivers.training.latency import LEAST, latency_ms
from matloop.drivers.training.material import Material
from matloop.drivers.training.predictions import Predictions
from matloop.drivers.training.recipe import Recipe, check_augmentation, shortcomings, told
from matloop.drivers.training.recipe import budget as training_budget
from matloop.drivers.training.rehearsal import OF_USERS, rehearse
from matloop.drivers.training.scales import scales
from matloop.drivers.training.sources.joined import WithTest
from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.sources.registry import KINDS as SOURCES
from matloop.drivers.training.sources.registry import source
from matloop.drivers.training.sources.source import Source
from matloop.drivers.training.splits import KINDS as SPLITS
from matloop.drivers.training.splits import USUAL, Split, Splitting, described, splitting
from matloop.drivers.training.start import CHECKPOINT, owner, start
from matloop.drivers.training.tasks.registry import KINDS as TASKS
from matloop.drivers.training.tasks.registry import aim, targeted
from matloop.drivers.training.tasks.task import Aim, Judge, Rows, Task
from matloop.orchestrator.bundle import BundleError, unseal
from matloop.orchestrator.errors import ConfigError, InvalidPoint, Refused, inside
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Space
from matloop.orchestrator.threads import limited
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.search_spaces.networks import weights
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.search_spaces.networks.module import Network, build
from matloop.surrogates.networks.augmentation import Augment, augmentation
from matloop.surrogates.networks.budget import Budget
from matloop.surrogates.networks.fitting import predict
from matloop.surrogates.networks.precision import Precision
from matloop.surrogates.networks.rows import Inputs, take


class Training:
    """Trains one genome of a network space on inputs with known targets.

    Every network sees the same split. Inputs are standardised for each channel, and targets of a regression for each
    column, by the training part. What is measured, beside `parameters` and `multiply_adds`, has the prefix
    `validation_` or `test_`: `mae` and `rmse` of a regression, in the target's own unit and averaged over the columns
    if there are several; `error`, `accuracy` and `cross_entropy` of a classification; `pixel_error`, `mean_iou` and
    `cross_entropy` of a segmentation. `latency_ms`, the median time of one forward pass, is measured if it is an
    objective; being a time, it is another on every run and machine.

    A trial with a fidelity below 1 is trained for that share of the budget, on the schedule of the whole training, and
    leaves the artifact `checkpoint`. With the input `checkpoint` a training goes on from there: on the CPU, by the same
    seed and unless the budget is in seconds, to the very weights that it would have reached in one go. The input
    `parent_weights`, the artifact `weights` of another trial, is what a mutated child starts from. That artifact is the
    state dict in safetensors; its metadata hold, as JSON under the key `matloop`, the genome and the scales.

    Args:
        data: where they are from: a mapping with `kind` and the options of a source, see
            `matloop.drivers.training.sources`; or the path of an .npz, for `{kind: npz, path: FILE}`. y is (n,) or
            (n, m) for a regression, (n,) whole numbers from 0 for a classification, and such numbers for every place
            of x, e.g. (n, height, width), for a segmentation.
        task: what the network is for.
        target: column or name of the property to predict; None for all of them, one network output each. The outputs
            of a classification or segmentation are one for each class.
        budget: of one training: `{seconds: 60}`, `{steps: N}`, `{samples: N}` or `{epochs: N}`. The learning rate
            follows it, a trial's fidelity is a share of it. Seconds begin with the evaluation, and reading data,
            validation and the last predictions are part of them.
        epochs: passes over the training part, short for `budget: {epochs: N}`; 30 where neither is given.
        patience: share of the budget without a better validation loss before training stops; 1 never stops early.
        split: how the data are divided: a mapping with `kind` and options, see `matloop.drivers.training.splits`; or
            shares to train on, to validate with (early stopping and the objective) and to test, for
            `{kind: auto, shares: SHARES}`. By default rows of one group stay together, and classes keep their shares.
        split_seed: decides which rows go where, independently of the campaign and of the trial.
        augment: random changes of training images that their property does not notice, in order, e.g.
            `[flip, turn, {crop: 128}, {noise: 0.1}]`; see `OPERATIONS` of
            `matloop.surrogates.networks.augmentation`. What has values at places, such as labels, moves along.
            "roll" is short for [shift, flip], "square" for [shift, flip, turn], both for periodic images.
        device: "auto" uses a GPU if the worker has one.
        precision: "auto" trains in bfloat16 on a GPU that has it, "mixed" in float16 on older ones too, and in
            bfloat16 on a CPU that has it (AVX-512 BF16).
        compiled: whether `torch.compile` is used on a GPU; worth its time in long trainings.
        threads: CPU threads for one training; small networks gain nothing from more.
        latency_batch: inputs in the forward pass that is timed.
        start_from: folder of a bundle, see `matloop export --bundle`, whose network's weights every network begins with
            as far as it has a place for them; those of a parent or a checkpoint go before. `inherited` in a trial's
            info is the share of its weights that it took over.
        unit: of the target, for reports.
        objectives: those of the study.

    Raises:
        ConfigError: an option out of range.
    """

    repeatable = True
    accepts_inputs = True
    components: ClassVar = {"data": SOURCES, "split": SPLITS, "task": TASKS}
    clock: Callable[[], float] = staticmethod(time.perf_counter)

    def __init__(
        self,
        *,
        data: Path | dict[str, Any] | Source,
        task: str | dict[str, Any] | Aim = "regression",
        target: int | str | None = None,
        budget: dict[str, float] | None = None,
        epochs: int | None = None,
        patience: float = 1.0,
        split: list[float] | tuple[float, ...] | dict[str, Any] | Splitting = USUAL,
        split_seed: int = 0,
        augment: Augment = "none",
        device: Literal["auto", "cpu", "cuda"] = "auto",
        precision: Precision = "auto",
        compiled: bool = False,
        threads: int = 1,
        latency_batch: int = 1,
        start_from: Path | None = None,
        unit: str = "",
        objectives: tuple[Objective, ...] = (),
    ) -> None:
        at_least(1, threads=threads, latency_batch=latency_batch)
        with inside("task"):
            self.aim = aim(task)
        if target is not None:
            self.aim = targeted(self.aim, target)
        with inside("data"):
            self.data = source(data)
        with inside("split"):
            self.split = splitting(split)
        if self.split.test is not None:
            self.data = WithTest(first=self.data, test=self.split.test)
        self.target, self.unit = getattr(self.aim, "target", None), unit
        steps = augmentation(augment)
        check_augmentation(steps, self.aim)
        self.recipe = Recipe(
            training_budget(budget, epochs), patience, steps, self.aim.places, precision, compiled, threads
        )
        self.split_seed = split_seed
        if start_from is not None:
            try:
                unseal(start_from)
            except BundleError as error:
                raise ConfigError(f"expected start_from: the folder of a bundle: {error}", at="start_from") from error
        self.device, self.start_from = device, start_from
        self.latency_batch = latency_batch
        self.asked = tuple(o.name for o in objectives)

    @property
    def fills(self) -> Mapping[str, Any]:
        """What spaces need to know of the data and of the task, see `matloop.drivers.training.fills`.

        Raises:
            ConfigError: the data are missing or not as they should be.
        """
        data, parts, goal = self._bound()
        return fills(data, parts.train, goal.outputs, self.aim, self.recipe.augmented())

    def check(self, space: Space) -> list[str]:
        """See `matloop.orchestrator.protocols.Checking`: whether the data can be read, divided, and are of the space.

        Returns:
            What is worth knowing of the data, a line each; the rows that were left out among it.
        """
        with inside("driver"):
            data, parts, goal = self._bound()
            if isinstance(data.x, Graphs) and self.recipe.steps:
                raise ConfigError("expected augment: none for graphs, got changes of images", at="augment")
        if problems := misfits(getattr(space, "fixed", {}), data, goal.outputs):
            raise ConfigError(problems=problems)
        with inside("driver"):
            rehearse(data, parts, goal, self.aim, self.recipe.augmented())
        return [*notes(data, parts, goal), *self._foreseen(space, data, parts)]

    def _foreseen(self, space: Space, data: Data, parts: Split) -> list[str]:
        """What predicting held-out rows takes of a budget in seconds, by the network that a search begins with."""
        seconds, known = self.recipe.budget.seconds, getattr(space, "recipes", [])
        if seconds is None or not known or self.device == "cuda":
            return []
        device, one = self._device(), parts.validation[:1]
        with limited(self.recipe.threads):
            network, x = build(known[0]).to(device), scales(data.x, one).rows(data.x, one)
            for _ in range(2):  # the first takes longer
                before = self.clock()
                predict(network, x).cpu()
        rows = len(parts.validation) + len(parts.test)
        return much_predicted(rows, rows * (self.clock() - before), seconds)

    def _bound(self) -> tuple[Data, Split, Task]:
        """Data, their parts and the task.

        Raises:
            ConfigError: at the option that is the cause.
        """
        with located("data"):
            data = load(self.data)
            classes = self._classes(data)
        with located("split"):
            parts = self.split.split(data, classes, self.split_seed)
        with located("data"):
            return data, parts, self.aim.bind(data, parts.train)

    @property
    def task(self) -> str:
        """Kind of the task."""
        return self.aim.kind

    def divided(self) -> tuple[Data, Split]:
        """The data, read once in each process, and which rows are for what.

        Raises:
            ValueError: the data are not as they should be, or cannot be divided so.
            OSError: there is no such file.
        """
        data = load(self.data)
        return data, self.split.split(data, self._classes(data), self.split_seed)

    def _classes(self, data: Data) -> npt.NDArray[np.int64] | None:
        if self.task != "classification" or data.y.ndim != 1:
            return None
        return numbered_classes(data.y, data.names, data.path)[0]

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The usual validation error and the size of the network, and whatever else the study asks for."""
        measured = self._measured()
        usual = [*list(measured)[:1], "parameters"]
        return tuple(measured[name] for name in dict.fromkeys((*usual, *self.asked)) if name in measured)

    def material(self) -> Material:
        """See `matloop.drivers.training.material.Providing`."""
        data, parts, goal = self.bound()
        names = data.names
        if self.target is not None:
            names = (self.target if isinstance(self.target, str) else names[self.target],) if names else ()
        how = {"split": described(self.split), "split_seed": self.split_seed}
        return Material(self.data, data, parts, goal, self.task, self.aim.places, names, self.unit, how)

    def __call__(self, trial: Trial, inputs: Mapping[str, bytes] | None = None) -> Measurement:
        """Train the genome `trial.point`, from the trial's seed or from where the inputs say.

        Raises:
            InvalidPoint: the network does not fit the data.
            ValueError: the data or the inputs are not as they should be.
            FloatingPointError: training diverged.
            ConfigError: a GPU was asked for and the worker has none.
        """
        began = self.clock()
        data, parts, goal = self.bound()
        _check_fit(trial, data, goal)
        scaling, device = scales(data.x, parts.train), self._device()
        timed = (1 + LEAST) * self.latency_batch if "latency_ms" in self.asked else 0
        with limited(self.recipe.threads):
            begun = start(trial, inputs or {}, self.start_from, scaling.listed() | dict(goal.described()))
            network = begun.network
            result = self.recipe.train(
                trial,
                network,
                begun.state,
                data,
                scaling,
                goal,
                parts,
                device=device,
                timed=timed,
                clock=self.clock,
                began=began,
            )
            outputs = {} if result.outputs is None else {"validation": result.outputs}
            for name, rows in _held_out(parts).items():
                if name not in outputs:
                    outputs[name] = predict(network, scaling.rows(data.x, rows).to(device)).cpu()
                outputs[name] = goal.aligned(outputs[name], rows)
            times = self._times(network, scaling.rows(data.x, parts.train[: self.latency_batch]))
        notes = {"genome": trial.point, "scales": scaling.listed() | dict(goal.described())}
        artifacts: dict[str, Any] = {"weights": weights.pack(network.state_dict(), notes)}
        if result.state is not None:
            result.state.owner = owner(trial.point)
            artifacts[CHECKPOINT] = result.state.to_bytes()
        found = self.measured(data, parts, goal, outputs, {**told(result), **begun.notes}, shortcomings(result))
        return replace(
            found,
            values={**found.values, **_costs(network), **times},
            artifacts={**artifacts, **found.artifacts},
        )

    def within(self, budget: Budget) -> Self:
        """The same driver with another budget for a training."""
        other = copy(self)
        other.recipe = replace(self.recipe, budget=budget)
        return other

    def bound(self) -> tuple[Data, Split, Task]:
        """The data, which rows are for what, and the task on them; the same for all that this driver measures.

        Raises:
            ValueError: the data are not as they should be.
        """
        data, parts = self.divided()
        return data, parts, self.aim.bind(data, parts.train)

    def measured(
        self,
        data: Data,
        parts: Split,
        goal: Task,
        outputs: Mapping[str, torch.Tensor],
        info: Mapping[str, Any],
        problems: Sequence[str] = (),
    ) -> Measurement:
        """The figures of outputs for the held-out rows, be they a network's or not.

        Args:
            data: all of them.
            parts: as `bound` gives them.
            goal: likewise.
            outputs: of "validation" and "test", in the form of a network's.
            info: for the record.
            problems: likewise, before those of the data.
        """
        predictions = Predictions(data.ids[parts.test], *goal.side_by_side(outputs["test"], parts.test))
        told = [*problems, *crossing(data, parts), *notable(data)]
        judges = {part: goal.judge(outputs[part], rows) for part, rows in _held_out(parts).items()}
        return Measurement(
            values={f"{part}_{name}": v for part, judge in judges.items() for name, v in judge(slice(None)).items()},
            info={
                **info,
                **self._yardsticks(goal, outputs["test"], judges["test"], data, parts),
                **({"problems": told} if told else {}),
            },
            artifacts={"test_predictions": predictions.to_bytes()},
        )

    def _yardsticks(self, goal: Task, outputs: torch.Tensor, judge: Judge, data: Data, parts: Split) -> dict[str, Any]:
        """What a constant answer would score, how sure the test figures are, and how they are made up of classes."""
        first, by_class = next(iter(self.aim.metrics)), goal.by_class(outputs, parts.test)
        groups = None if data.groups is None else data.groups[parts.test]
        try:
            errors = standard_errors(judge, groups, len(parts.test))
        except OF_USERS:  # a figure that a part of the rows does not have, such as of a class that is not in it
            errors = {}
        return {
            f"baseline_{first}": goal.baseline(parts.validation),
            f"baseline_test_{first}": goal.baseline(parts.test),
            "test_standard_errors": {name: float(f"{value:.4g}") for name, value in errors.items()},
            "rows": dict(zip(PARTS, map(len, parts), strict=True)),
        } | ({"test_by_class": by_class} if by_class else {})

    def _times(self, network: nn.Module, x: Inputs) -> dict[str, float]:
        if "latency_ms" not in self.asked:
            return {}
        device = self._device()
        return {"latency_ms": latency_ms(network, take(x.to(device), slice(None), device), self.clock)}

    def _measured(self) -> dict[str, Objective]:
        """Everything that can be an objective."""
        units = dict.fromkeys(self.aim.in_unit, self.unit)
        found = {
            f"validation_{metric}": Objective(f"validation_{metric}", wish, units.get(metric, ""))
            for metric, wish in self.aim.metrics.items()
        }
        costs = {"parameters": "", "multiply_adds": "", "latency_ms": "ms"}
        return found | {name: Objective(name, "minimise", unit) for name, unit in costs.items()}

    def _device(self) -> str:
        """Asked for on the worker, since the process that builds the campaign may have no GPU of its own."""
        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("expected a GPU for device: cuda, found none on this worker; use device: auto")
        return self.device


def _held_out(parts: Split) -> dict[str, Rows]:
    return {"validation": parts.validation, "test": parts.test}


def _costs(network: nn.Module) -> dict[str, float]:
    """Of a network that was not made from a genome only the parameters are counted."""
    if isinstance(network, Network):
        return {"parameters": network.layout.parameters, "multiply_adds": network.layout.multiply_adds}
    return {"parameters": sum(values.numel() for values in network.parameters() if values.requires_grad)}


def _check_fit(trial: Trial, data: Data, goal: Task) -> None:
    expected = {"input": list(data.x.shape[1:]), "outputs": goal.outputs}
    for key, value in expected.items():
        got = trial.point.get(key)
        if (list(got) if isinstance(got, tuple) else got) != value:
            raise InvalidPoint(
                f"expected a network with {key}: {value}, as the data have it, got {got}; "
                f"set `{key}: {value}` for the space, or choose another `data` or `target`"
            )


@contextmanager
def located(option: str) -> Iterator[None]:
    """Let what is wrong with data be an error of the option that names them."""
    try:
        yield
    except Refused as error:
        raise ConfigError(problems=[problem.inside(option) for problem in error.problems]) from error
    except (ValueError, OSError) as error:
        raise ConfigError(str(error), at=option) from error
