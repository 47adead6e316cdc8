"""One evaluation, as it travels to a worker: the only place where any exception is caught and becomes data.

What all evaluations of a study have in common is pickled once, sent once to each worker, and unpickled once by a worker
that makes one after another; of trials and answers travel the values of their fields, which dataclasses with slots
would pickle at a fifth of the speed.
"""

from __future__ import annotations

import copyreg
import math
import os
import pickle
import re
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, SupportsIndex, TypeVar

from matloop.orchestrator import interruption
from matloop.orchestrator.errors import InvalidResult, NotBegun
from matloop.orchestrator.interruption import Interrupted
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.loop.blame import fault_of_a_disk, full
from matloop.orchestrator.loop.patience import Patience
from matloop.orchestrator.loop.returned import as_measurement, kept_of
from matloop.orchestrator.loop.stop import StopNow
from matloop.orchestrator.loop.transfer import (
    NOTHING_LEFT,
    Incomplete,
    InputMissing,
    Left,
    Spoiled,
    Unbegun,
    Unsaved,
    inputs,
    leave,
)
from matloop.orchestrator.measurement import shown
from matloop.orchestrator.plain import writable
from matloop.orchestrator.protocols import Driver, accepts_inputs, grace_of, offers_gradients, wants_gradient
from matloop.orchestrator.trial import Answer, Cause, Failure, Measurement, Objective, Trial
from matloop.orchestrator.workplace import Workplace, folder_of_trials

WAIT_WITHIN: Final = 0.9
"""Of its time limit, the part in which an evaluation may wait for the artifact store."""

LONGEST_MESSAGE = 500
LONGEST_TRACEBACK = 20_000
"""Characters; of what is longer, the end is kept, where the error is."""


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
    patience: Patience = field(default_factory=Patience)

    @cached_property
    def packed(self) -> bytes:
        """Pickled, once."""
        common = (self.driver, self.objectives, self.artifacts, self.limits, self.patience)
        return pickle.dumps(common, pickle.HIGHEST_PROTOCOL)

    @cached_property
    def grace_s(self) -> float | None:
        """See `grace_of`."""
        return grace_of(self.driver)

    @cached_property
    def takes_inputs(self) -> bool:
        """See `accepts_inputs`, which takes a third of the time of a short evaluation."""
        return accepts_inputs(self.driver)

    @cached_property
    def trials(self) -> str:
        """Folder of the trials' own folders, absolute: beside the artifacts."""
        return str(folder_of_trials(self.artifacts.parent))

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Callable[[bytes], Conditions], tuple[object]]:
        """Evaluations share a buffer, so that an executor may send it once (`matloop.hpc.parcel`)."""
        return _unpacked, (pickle.PickleBuffer(self.packed) if int(protocol) >= 5 else self.packed,)


@lru_cache(maxsize=1)  # a worker makes evaluations of one study, then those of the next
def _unpacked(packed: bytes) -> Conditions:
    driver, objectives, artifacts, limits, patience = pickle.loads(packed)
    return Conditions(driver=driver, objectives=objectives, artifacts=artifacts, limits=limits, patience=patience)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A driver applied to a trial. Picklable; calling it raises nothing but the KeyboardInterrupt that stops a run."""

    conditions: Conditions
    trial: Trial

    @property
    def limits(self) -> Limits:
        """What it may use."""
        return self.conditions.limits

    @property
    def repeatable(self) -> bool:
        """Whether measuring once more is harmless."""
        return self.conditions.driver.repeatable

    @property
    def grace_s(self) -> float | None:
        """How long it may go on once it was asked to end, s; None if the driver does not say."""
        return self.conditions.grace_s

    def out_of_memory(self, answer: Answer) -> bool:
        """Whether that is why its answer has no values."""
        return answer.failure is not None and answer.failure.cause == "memory"

    def __reduce__(self) -> tuple[Callable[[Conditions, Trial], Evaluation], tuple[Conditions, Trial]]:
        return _arrived, (self.conditions, self.trial)

    def __call__(self) -> Answer:
        """Measure and check; whatever the driver raises becomes a Failure with its full traceback.

        Raises:
            Interrupted: the evaluation is to end, and the driver let that pass.
        """
        started_at, began = time.time(), time.monotonic()
        trial, here = self.trial, _here()
        if (workplace := trial.workplace) is None:
            workplace = Workplace(f"{self.conditions.trials}/{trial.id}")
            trial = replace(trial, workplace=workplace)
        measurement, failure, details, left = None, None, {}, NOTHING_LEFT
        kind: Callable[..., Answer] = Answer
        try:
            try:
                returned = self._measure(trial)
            finally:
                _go_back(here)
            interruption.end()
            measurement = as_measurement(returned, self.conditions.objectives)
            if measurement.artifacts:
                left = self._store(measurement, began)
        except BaseException as error:  # SystemExit and KeyboardInterrupt too, where the driver raised them
            interruption.end()
            if stops_the_run(error):
                raise
            failure, details = _failure(error), _details(error)
            kind = next((kind for raised, kind in _KINDS if isinstance(error, raised)), Answer)
            if failure.cause == "exception" and (why := fault_of_a_disk(error, self._disks)):
                kind, failure = Spoiled, replace(failure, cause="lost", message=f"{why} ({failure.message})")
        if left.reason:
            kind = partial(Unsaved, contents=left.contents, given_up=left.given_up, reason=left.reason)
        return kind(
            values=dict(measurement.values) if measurement and not failure else None,
            failure=failure,
            noise=dict(measurement.noise) if measurement else {},
            info=dict(measurement.info) if measurement else details,
            artifacts=left.stored,
            cost=measurement.cost if measurement else None,
            started_at=started_at,
            finished_at=time.time(),
            worker=os.environ.get("MATLOOP_WORKER") or f"{socket.gethostname()}:{os.getpid()}",
            leaves_folder=workplace.made and workplace.leave(),
        )

    @property
    def _disks(self) -> tuple[Path, ...]:
        """Folders on disks that a driver may write to."""
        return self.conditions.artifacts.parent, Path(os.environ.get("TMPDIR", "/tmp"))

    def _measure(self, trial: Trial) -> object:
        driver: Any = self.conditions.driver
        if not driver.repeatable and (why := full(self.conditions.artifacts.parent)):  # it might happen in vain
            raise NotBegun(why)
        if wants_gradient(trial):
            if not offers_gradients(driver):
                raise TypeError(
                    f"expected a driver that offers gradients (optics, elasticity), got {type(driver).__name__}"
                )
            return driver.value_and_gradient(trial)
        if self.conditions.takes_inputs:
            wait_s = self.conditions.patience.wait_s
            return driver(trial, inputs(ArtifactStore(self.conditions.artifacts), self.trial.inputs, wait_s))
        return driver(trial)

    def _store(self, measurement: Measurement, began: float) -> Left:
        limit_s = self.limits.timeout_s
        until = math.inf if limit_s is None else began + WAIT_WITHIN * limit_s  # or it would pass for a slow trial
        store = ArtifactStore(self.conditions.artifacts)
        return leave(store, measurement.artifacts, self.conditions.patience, until=until)


def _here() -> str | None:
    """Where the process stands; None if nobody knows, or others may stand there too."""
    if threading.current_thread() is not threading.main_thread():
        return None
    try:
        return os.getcwd()  # noqa: PTH109 (a path takes five times as long)
    except OSError:  # it was removed
        return None


def _go_back(here: str | None) -> None:
    """Stand where the process stood before a driver moved it: all that comes next, also of matloop, has its place by
    that."""
    if here is None or _here() == here:
        return
    with suppress(OSError):
        os.chdir(here)


def _arrived(conditions: Conditions, trial: Trial) -> Evaluation:
    """One that was unpickled: its trial is nobody else's, and needs no copy to be given a folder."""
    object.__setattr__(trial, "workplace", Workplace(f"{conditions.trials}/{trial.id}"))
    return Evaluation(conditions, trial)


_KINDS: tuple[tuple[type[Exception], type[Answer]], ...] = ((NotBegun, Unbegun), (InputMissing, Incomplete))
"""Of the answers that say that nothing was begun, by what was raised."""

_CAUSES: tuple[tuple[type[BaseException], Cause], ...] = (
    (NotBegun, "lost"),  # the machine's fault, not the point's
    (InputMissing, "lost"),
    (InvalidResult, "invalid_result"),
    (TimeoutError, "timeout"),
    (BaseException, "exception"),
)


def stops_the_run(error: BaseException) -> bool:
    """Whether it comes from whoever stops the run, rather than from the driver: from `Stop`, or by Ctrl-C in a process
    that has left Python to deal with that."""
    if isinstance(error, StopNow | Interrupted):
        return True
    by_signal = isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()
    return by_signal and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _failure(error: BaseException) -> Failure:
    """What the record keeps of an exception that is being handled."""
    cause: Cause = "memory" if _memory_ran_out(error) else next(c for kind, c in _CAUSES if isinstance(error, kind))
    trace = traceback.format_exc()
    if len(trace) > LONGEST_TRACEBACK:
        trace = f"… {trace[-LONGEST_TRACEBACK:]}"
    return Failure(cause=cause, message=writable(_one_line(error)), traceback=writable(trace))


def _details(error: BaseException) -> dict[str, Any]:
    """What the driver adds to its failure: an exception may have `info`, as a measurement has."""
    try:
        return kept_of(getattr(error, "info", None))
    except (Exception, SystemExit):  # of an exception that is not ours
        return {}


def _memory_ran_out(error: BaseException | None) -> bool:
    """Of this process or of its GPU, told without importing any library that uses one."""
    while error is not None:
        names = {kind.__name__ for kind in type(error).__mro__}
        if isinstance(error, MemoryError) or "OutOfMemoryError" in names:
            return True
        if isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(_text(error)):
            return True
        error = error.__cause__
    return False


_OUT_OF_MEMORY = re.compile(
    r"(?i)\b(CUDA|HIP|XPU|MPS|cuBLAS)\b.*\bout of memory|RESOURCE_EXHAUSTED|CUBLAS_STATUS_ALLOC_FAILED"
)


def _one_line(error: BaseException) -> str:
    if isinstance(error, InvalidResult):
        more = len(error.problems) - 1
        return f"{error.problems[0]}{f' (and {more} more)' if more else ''}"
    name = type(error).__name__
    if isinstance(error, SystemExit) and not isinstance(error.code, str):
        return (
            f"{name}: expected a result, got sys.exit({'' if error.code is None else shown(error.code)}); return the "
            "result, and catch SystemExit around a program that ends so"
        )
    text = " ".join(_text(error).split())
    return f"{name}: {text}"[:LONGEST_MESSAGE] if text else name


def _text(error: BaseException) -> str:
    """Its beginning; empty if it cannot say it, being no exception of ours."""
    try:
        return str(error)[: 4 * LONGEST_MESSAGE]
    except (Exception, SystemExit):
        return ""


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
