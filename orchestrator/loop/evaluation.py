"""One evaluation, as it travels to a worker: the only place where any exception is caught and becomes data.

What all evaluations of a study have in common is pickled once, and unpickled once by a worker that makes one after
another; of trials and answers travel the values of their fields, which dataclasses with slots would pickle at a fifth
of the speed.
"""

from __future__ import annotations

import copyreg
import math
import os
import pickle
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from matloop.orchestrator.errors import InvalidResult
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.plain import to_json
from matloop.orchestrator.protocols import Driver, accepts_inputs
from matloop.orchestrator.trial import Answer, Failure, Measurement, Objective, Trial


@dataclass(frozen=True, slots=True)
class Limits:
    """What one evaluation may use; an executor with isolated children enforces them.

    Attributes:
        timeout_s: wall time, s; None for no limit.
        memory_gb: resident memory, GiB; None for no limit.
    """

    timeout_s: float | None = None
    memory_gb: float | None = None


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What all evaluations of a study have in common; picklable if the driver is."""

    driver: Driver
    objectives: tuple[Objective, ...]
    artifacts: Path
    limits: Limits = field(default_factory=Limits)

    @cached_property
    def packed(self) -> bytes:
        """Pickled, once."""
        return pickle.dumps((self.driver, self.objectives, self.artifacts, self.limits), pickle.HIGHEST_PROTOCOL)

    def __reduce__(self) -> tuple[Callable[[bytes], Conditions], tuple[bytes]]:
        return _unpacked, (self.packed,)


@lru_cache(maxsize=1)  # a worker makes evaluations of one study, then those of the next
def _unpacked(packed: bytes) -> Conditions:
    driver, objectives, artifacts, limits = pickle.loads(packed)
    return Conditions(driver=driver, objectives=objectives, artifacts=artifacts, limits=limits)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A driver applied to a trial. Picklable; calling it never raises an Exception."""

    conditions: Conditions
    trial: Trial

    @property
    def limits(self) -> Limits:
        """What it may use."""
        return self.conditions.limits

    def __reduce__(self) -> tuple[type[Evaluation], tuple[Conditions, Trial]]:
        return Evaluation, (self.conditions, self.trial)

    def __call__(self) -> Answer:
        """Measure and check; an exception becomes a Failure with its full traceback."""
        started_at = time.time()
        measurement, failure, stored = None, None, {}
        try:
            measurement = as_measurement(self._measure(), self.conditions.objectives)
            _check_recordable(measurement)
            stored = self._store(measurement)
        except _ArtifactsOutOfReach as error:  # the machine's fault, not the point's
            failure = Failure(cause="lost", message=_one_line(error), traceback=traceback.format_exc())
        except InvalidResult as error:
            failure = Failure(cause="invalid_result", message=str(error), traceback=traceback.format_exc())
        except TimeoutError as error:
            failure = Failure(cause="timeout", message=_one_line(error), traceback=traceback.format_exc())
        except MemoryError as error:
            failure = Failure(cause="memory", message=_one_line(error), traceback=traceback.format_exc())
        except Exception as error:
            failure = Failure(cause="exception", message=_one_line(error), traceback=traceback.format_exc())
        return Answer(
            values=dict(measurement.values) if measurement and not failure else None,
            failure=failure,
            noise=dict(measurement.noise) if measurement else {},
            info=dict(measurement.info) if measurement else {},
            artifacts=stored,
            cost=measurement.cost if measurement else None,
            started_at=started_at,
            finished_at=time.time(),
            worker=os.environ.get("MATLOOP_WORKER") or f"{socket.gethostname()}:{os.getpid()}",
        )

    def _measure(self) -> object:
        driver = self.conditions.driver
        if accepts_inputs(driver):
            return driver(self.trial, self._inputs())
        return driver(self.trial)

    def _inputs(self) -> dict[str, bytes]:
        store = ArtifactStore(self.conditions.artifacts)
        try:
            return {name: store.load_bytes(content) for name, content in self.trial.inputs.items()}
        except OSError as error:
            raise _ArtifactsOutOfReach(
                f"cannot read the inputs {dict(self.trial.inputs)} of trial {self.trial.id} from "
                f"{self.conditions.artifacts}: {error}; the folder has to be the same on every worker"
            ) from error

    def _store(self, measurement: Measurement) -> dict[str, str]:
        store = ArtifactStore(self.conditions.artifacts)
        try:
            return {name: store.save(content) for name, content in measurement.artifacts.items()}
        except OSError as error:
            raise _ArtifactsOutOfReach(f"cannot store artifacts in {self.conditions.artifacts}: {error}") from error


class _ArtifactsOutOfReach(Exception):
    """The disk did not take an artifact, or does not have it."""


def _check_recordable(measurement: Measurement) -> None:
    try:
        to_json([measurement.info, measurement.noise])
    except (TypeError, ValueError) as error:
        raise InvalidResult(
            f"expected `info` and `noise` of numbers, text, lists and mappings: {error}; "
            "return arrays and bytes as `artifacts`"
        ) from error


def as_measurement(result: object, objectives: tuple[Objective, ...]) -> Measurement:
    """Accept what drivers may return and check it.

    Raises:
        InvalidResult: not a measurement, an objective missing, or a value that is not a finite number.
    """
    names = [o.name for o in objectives]
    if isinstance(result, Measurement):
        measurement = result
    elif isinstance(result, Mapping):
        measurement = Measurement(values=result)
    elif len(names) == 1:
        measurement = Measurement(values={names[0]: result})  # type: ignore[dict-item]
    else:
        raise InvalidResult(f"expected a mapping with {names}, got {type(result).__name__}; return a dict of numbers")
    missing = [name for name in names if name not in measurement.values]
    if missing:
        raise InvalidResult(
            f"expected values for {names}, got {sorted(measurement.values)}: {missing} missing; "
            "return them from the driver or correct `objectives` in the campaign file"
        )
    values = {}
    for name, value in measurement.values.items():
        try:
            values[name] = float(value)
        except (TypeError, ValueError) as error:
            raise InvalidResult(f"expected a number for {name!r}, got {value!r}") from error
        if name in names and not math.isfinite(values[name]):
            raise InvalidResult(f"expected a finite number for objective {name!r}, got {values[name]}")
    return Measurement(
        values={name: value for name, value in values.items() if math.isfinite(value)},
        noise=measurement.noise,
        info=measurement.info,
        artifacts=measurement.artifacts,
        cost=measurement.cost,
    )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


T = TypeVar("T", Trial, Answer)


def _pickle_by_values(kind: type[T]) -> None:
    names = tuple(f.name for f in fields(kind))
    values = attrgetter(*names)
    _NAMES[kind] = names
    copyreg.pickle(kind, lambda record: (_restored, (kind, values(record))))


def _restored(kind: type[T], values: tuple[Any, ...]) -> T:
    return kind(**dict(zip(_NAMES[kind], values, strict=True)))


_NAMES: dict[type, tuple[str, ...]] = {}
_pickle_by_values(Trial)
_pickle_by_values(Answer)
