"""Several drivers as one: each measures the same point, and all their values are the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from matloop.drivers.wrapped import answer, checked, cost_of, cost_of_call, found_beforehand, passed_on
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Space, measured_by, offers_gradients
from matloop.orchestrator.trial import Measurement, Objective, Trial


class Several:
    """Measures each point with several drivers, one after another, and merges what they say.

    Values and artifacts keep their names, so no two drivers may measure a value of the same name; `info` holds that of
    each driver under the driver's name. An answer costs the sum of what the drivers' answers cost, 1 where they do not
    say. It has gradients if every driver that measures an objective has; the others are only called.

    Where one driver fails the trial has failed, and `info` has what those before it measured, as `read`. Each driver
    has a folder of its own in the trial's, `driver-1` and so on.

    Args:
        drivers: by any names; a driver that does not say what it measures takes the objectives that no other knows.
        objectives: those of the study.

    Attributes:
        generator, period_nm, thickness_nm: those of the first driver that has them.

    Raises:
        ConfigError: two drivers measure the same, or do not mean the same structure by a latent vector, or one is such
            that it cannot be combined.
    """

    def __init__(self, *, drivers: dict[str, Any], objectives: tuple[Objective, ...] = ()) -> None:
        if not drivers:
            raise ConfigError("expected drivers by name, such as {light: {kind: optics}}, got none", at="drivers")
        for name, driver in drivers.items():
            checked(driver, "drivers", name)
        for one, other in combinations(drivers, 2):
            if shared := sorted({*measured_by(drivers[one])} & {*measured_by(drivers[other])}):
                raise ConfigError(
                    f"expected drivers that measure different values, got {shared[0]!r} from {one!r} and {other!r}; "
                    "give one of them a study of its own",
                    at=("drivers", other),
                )
        generators = {str(d.generator): name for name, d in drivers.items() if hasattr(d, "generator")}
        if len(generators) > 1:
            (first, one), (second, other), *_ = generators.items()
            raise ConfigError(
                f"expected drivers with one generator, got {first} of {one!r} and {second} of {other!r}; give both the "
                "same",
                at=("drivers", other),
            )
        self.drivers = dict(drivers)
        passed_on(self, [*drivers.values()])
        self._asked = tuple(objectives)

    @property
    def repeatable(self) -> bool:
        """If all are."""
        return all(driver.repeatable for driver in self.drivers.values())

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the study asks for, or what the drivers declare if it does not say or asks for nothing of theirs."""
        wanted = tuple(o for _, of in self._shared_out() for o in of)
        return wanted or tuple(o for driver in self.drivers.values() for o in driver.objectives)

    @property
    def measures(self) -> Mapping[str, Objective]:
        """See `Offering`; what the study asks for is among them if a driver does not say what it measures."""
        known = {n: o for driver in self.drivers.values() for n, o in measured_by(driver).items()}
        return known | {o.name: o for o in self.objectives if o.name not in known}

    @property
    def call_cost(self) -> float:
        """Of a value, in calls of the drivers."""
        return sum(map(cost_of_call, self.drivers.values()))

    @property
    def gradient_cost(self) -> float:
        """See `Differentiable`; 0 where one that measures an objective has none."""
        total = 0.0
        for driver, wanted in self._shared_out():
            if wanted and not offers_gradients(driver):
                return 0.0
            total += cost_of_call(driver) * (driver.gradient_cost if wanted else 1.0)
        return total / self.call_cost

    def check(self, space: Space) -> Sequence[str]:
        """What the drivers have to say beforehand.

        Raises:
            Refused: what one of them refuses.
        """
        each = self.drivers.items()
        return [line for name, driver in each for line in found_beforehand(driver, space, "drivers", name)]

    def __call__(self, trial: Trial) -> Measurement:
        """Measure with each."""
        return self._measure(trial, gradient=False)

    def value_and_gradient(self, trial: Trial) -> Measurement:
        """See `Differentiable`."""
        return self._measure(trial, gradient=True)

    def _measure(self, trial: Trial, *, gradient: bool) -> Measurement:
        values: dict[str, float] = {}
        noise: dict[str, float] = {}
        artifacts: dict[str, Any] = {}
        info: dict[str, Any] = {}
        cost = 0.0
        shares = enumerate(zip(self.drivers.items(), self._shared_out(), strict=True), 1)
        for number, ((name, driver), (_, wanted)) in shares:
            try:
                found = answer(driver, trial, wanted, folder=f"driver-{number}", gradient=gradient and bool(wanted))
            except Exception as error:
                _remember(error, name, values)
                raise
            _merge(values, found.values, name, "value")
            _merge(artifacts, found.artifacts, name, "artifact")
            noise |= found.noise
            info |= {name: dict(found.info)} if found.info else {}
            cost += cost_of(driver, found)
        return Measurement(values=values, noise=noise, info=info, artifacts=artifacts, cost=cost)

    def _shared_out(self) -> Iterator[tuple[Any, tuple[Objective, ...]]]:
        """Each driver with the objectives that are wanted of it."""
        asked = {o.name for o in self._asked}
        known = {name for driver in self.drivers.values() for name in measured_by(driver)}
        unknown = tuple(o for o in self._asked if o.name not in known)
        for driver in self.drivers.values():
            if measured_by(driver):
                yield driver, tuple(o for o in driver.objectives if o.name in asked or not asked)
            else:
                yield driver, unknown


def _remember(error: Exception, driver: str, values: Mapping[str, float]) -> None:
    """Whose failure it is, and what the drivers before it had measured, as a failed `command` tells what it read."""
    error.add_note(f"in the driver {driver!r}")
    info = getattr(error, "info", {})
    if values:
        error.__dict__["info"] = {**info, "read": {**values, **info.get("read", {})}}


def _merge(into: dict[str, Any], found: Mapping[str, Any], driver: str, what: str) -> None:
    """What two drivers say alike, such as the microstructure that both measured, is kept once."""
    for name, value in found.items():
        if name in into and not np.array_equal(into[name], value):
            raise ValueError(
                f"expected drivers with different {what}s, got another {name!r} from {driver!r}; give it a study of "
                "its own"
            )
        into[name] = value
