"""What a driver must offer, and what else it may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

from matloop.orchestrator.protocols.spaces import Space
from matloop.orchestrator.trial import Measurement, Objective, Proposal, Trial
from matloop.orchestrator.workplace import Keep


class Driver(Protocol):
    """Measures one trial. Pickled with every submission, so it holds settings, not data; caches are lazy.

    Attributes:
        repeatable: whether measuring the same point again is harmless; only such work is retried.
        objectives: what it measures, with unit and usual direction; empty if only the campaign file knows.

    A driver that can start from what earlier trials left is a `ContinuingDriver` besides.
    """

    @property
    def repeatable(self) -> bool: ...

    @property
    def objectives(self) -> tuple[Objective, ...]: ...

    def __call__(self, trial: Trial) -> Measurement | Mapping[str, float] | float:
        """Measure; a bare float is the value of the study's only objective. Exceptions become failed trials."""
        ...


@runtime_checkable
class ContinuingDriver(Protocol):
    """A driver that is handed the artifacts which `trial.inputs` names; others never see them.

    Attributes:
        accepts_inputs: True; what is False is called as any other driver.
    """

    @property
    def accepts_inputs(self) -> bool: ...

    def __call__(self, trial: Trial, inputs: Mapping[str, bytes]) -> Measurement | Mapping[str, float] | float:
        """Measure, as a `Driver` does.

        Args:
            trial: what to measure.
            inputs: content of each artifact in `trial.inputs`, by the same name; empty if there are none.
        """
        ...


def accepts_inputs(driver: object) -> TypeGuard[ContinuingDriver]:
    """Whether it says so."""
    return isinstance(driver, ContinuingDriver) and bool(driver.accepts_inputs)


@runtime_checkable
class ByPeople(Protocol):
    """A driver whose experiments people do (`manual`): it is never called. Any other is.

    Attributes:
        by_people: True; what is False is called.
    """

    @property
    def by_people(self) -> bool: ...


@runtime_checkable
class Guiding(Protocol):
    """A driver that helps people to measure (`manual`). Without, nothing is shown and any value is plausible.

    Attributes:
        instructions: shown beside every recommendation.
        ranges: plausible values by objective, lowest and highest.
    """

    @property
    def instructions(self) -> str: ...

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]: ...


@runtime_checkable
class Batching(Protocol):
    """A driver that does several experiments together (`manual`). Without, those of one ask need not share anything.

    Attributes:
        batch: most different values that an input, or a mixture, may have among the experiments of one ask.
    """

    @property
    def batch(self) -> Mapping[str, int]: ...


FILLED = (
    "input", "outputs", "classes", "examples", "node_features", "edge_features", "nodes", "edges", "per", "training"
)  # fmt: skip
"""Options of a space that its driver may fill in where the campaign file does not state them."""


@runtime_checkable
class Filling(Protocol):
    """A driver that knows what its spaces need to know (`training`, of its data), without knowing the space.

    Attributes:
        fills: some of `FILLED`; a space is given those that its constructor takes. Those that are None are not known.
    """

    @property
    def fills(self) -> Mapping[str, Any]: ...


@runtime_checkable
class Checking(Protocol):
    """A driver that can tell beforehand what would go wrong (`training`, of its data; `command`, of its files).

    Asked for by `validate`, `run` and `submit`, on the machine that these run on.
    """

    def check(self, space: Space) -> Sequence[str]:
        """Look at what is needed, without measuring.

        Args:
            space: of the study.

        Returns:
            What people may want to know, a line each.

        Raises:
            Refused: what would make every trial fail; places begin with "space" or "driver", then options.
        """
        ...


@runtime_checkable
class Offering(Protocol):
    """A driver that can measure more than a study asks for (`optics`, `elasticity`). Without, `objectives` are all.

    Its constructor is given the study's `objectives` and takes those that it knows; `objectives` then are these.

    Attributes:
        measures: what can be an objective, by name.
    """

    @property
    def measures(self) -> Mapping[str, Objective]: ...


def measured_by(driver: Driver) -> Mapping[str, Objective]:
    """What can be an objective, by name; empty if only the campaign file knows."""
    return driver.measures if isinstance(driver, Offering) else {o.name: o for o in driver.objectives}


GRADIENT = "gradient"
"""Key of `Proposal.extra`: true where a strategy wants the gradient of the driver's values as well."""


@runtime_checkable
class Differentiable(Protocol):
    """A driver that can tell how its values change with what a point describes (`optics`, `elasticity`). Others give
    values alone.

    A strategy asks for it with `Proposal.extra = {"gradient": True}`, and says that it does (`Differentiating`).

    Attributes:
        gradient_cost: of a value with its gradient, in calls of the driver, as measured; what has 0 offers none, as a
            combination of drivers does of which one has none.
    """

    @property
    def gradient_cost(self) -> float: ...

    def value_and_gradient(self, trial: Trial) -> Measurement:
        """Measure, as a `Driver` does, and differentiate.

        Returns:
            What the call returns, and for each objective an artifact `gradient_of(its name)`: the derivative by each
            number of the array that the point describes, which is an artifact of the same shape. Its cost is
            `gradient_cost` times that of a call.
        """
        ...


def offers_gradients(driver: object) -> TypeGuard[Differentiable]:
    """Whether it does."""
    return isinstance(driver, Differentiable) and driver.gradient_cost > 0


@runtime_checkable
class Scaled(Protocol):
    """A driver whose microstructures have a size (`optics`). Others' are shown and written in pixels.

    One of films also has `thickness_nm`, how far their pattern goes on across its plane, nm.

    Attributes:
        period_nm: sides of one period along x and y, nm.
    """

    @property
    def period_nm(self) -> tuple[float, float]: ...


def gradient_of(objective: str) -> str:
    """Name of the artifact that holds an objective's gradient."""
    return f"gradient_{objective}"


def wants_gradient(proposal: Proposal | Trial) -> bool:
    """Whether a strategy asked for it."""
    return proposal.extra.get(GRADIENT) is True


def is_by_people(driver: object) -> bool:
    """Whether it says so."""
    return isinstance(driver, ByPeople) and bool(driver.by_people)


@runtime_checkable
class Interruptible(Protocol):
    """A driver that says how long it may go on after SIGTERM, which asks it to save what it has and to end.

    Attributes:
        grace_s: s, >= 0; then it is killed. Where the time is up, as much of it as there is left.
    """

    @property
    def grace_s(self) -> float: ...


@runtime_checkable
class Keeping(Protocol):
    """A driver that says which folders of its trials (`trial.folder`) stay. Without, those of failed trials do.

    Attributes:
        keep: see `matloop.orchestrator.workplace.Keep`.
    """

    @property
    def keep(self) -> Keep: ...


def grace_of(driver: object) -> float | None:
    """What it says, s; None if it does not."""
    return driver.grace_s if isinstance(driver, Interruptible) else None


def kept_by(driver: object) -> Keep:
    """What it says, or "failed"."""
    return driver.keep if isinstance(driver, Keeping) else "failed"
