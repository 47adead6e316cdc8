"""How long a network is trained: seconds, gradient steps, samples or epochs, and how much of that is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from matloop.orchestrator.errors import ConfigError

_VALIDATING = 0.1
"""Share of the time for training that validations may take, the one at the end of a stage aside."""

_OVER = 0.05
"""Share of a stage's seconds by which its last step may exceed them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit of one kind; exactly one attribute is given.

    Attributes:
        seconds: wall time, > 0; validation, and what the caller predicts afterwards, are part of it.
        steps: of the optimiser, >= 1.
        samples: examples seen, repetitions counted, >= 1.
        epochs: passes over the training data, >= 1.

    Raises:
        ConfigError: none or several are given, or one is too small.
    """

    seconds: float | None = None
    steps: int | None = None
    samples: int | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        given = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        if len(given) != 1:
            raise ConfigError(
                f"expected budget: one of seconds, steps, samples or epochs, got {given or 'none'}; "
                "write e.g. budget: {seconds: 60}",
                at="budget",
            )
        ((kind, amount),) = given.items()
        whole = kind != "seconds"
        number = isinstance(amount, int if whole else int | float) and not isinstance(amount, bool)
        if not number or not math.isfinite(amount) or amount < (1 if whole else 1e-9):
            expected = f"a whole number of {kind}, at least 1" if whole else "a number of seconds above 0"
            raise ConfigError(f"expected budget: {expected}, got {amount!r}", at="budget")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From a mapping of one entry, as a campaign file has it.

        Raises:
            ConfigError: an unknown kind, or as the constructor.
        """
        unknown = sorted(set(given) - {field.name for field in fields(cls)})
        if unknown:
            raise ConfigError(f"expected budget: seconds, steps, samples or epochs, got {unknown}", at="budget")
        return cls(**given)

    def total_steps(self, examples: int, steps_of_an_epoch: int) -> int | None:
        """Steps of the whole training; None where seconds decide.

        Args:
            examples: in an epoch.
            steps_of_an_epoch: that they are divided into.
        """
        if self.steps is not None:
            return self.steps
        if self.samples is not None:
            return max(round(self.samples * steps_of_an_epoch / examples), 1)
        return None if self.epochs is None else self.epochs * steps_of_an_epoch


class Steps:
    """Progress that is counted, the same on every run.

    Args:
        total: steps of the whole training.
        done: before this stage.
        until: share of the whole at which the stage ends, in (0, 1].
        validations: most in the whole training.
    """

    def __init__(self, total: int, *, done: int, until: float, validations: int) -> None:
        self.total, self.done = total, done
        self.last = min(max(round(until * total), 1), total)
        self.validations = min(validations, total)

    @property
    def ended(self) -> bool:
        """Whether the stage is over."""
        return self.done >= self.last

    @property
    def share(self) -> float:
        """Of the whole training, in [0, 1]."""
        return self.done / self.total

    def upcoming(self) -> float:
        """The share once the next step is done, which its learning rate follows."""
        return (self.done + 1) / self.total

    def advance(self) -> bool:
        """Count a step; whether it is time to validate."""
        self.done += 1
        return self.done * self.validations // self.total > (self.done - 1) * self.validations // self.total

    def validated(self, seconds: float) -> None:
        """Say how long a validation took; counted progress does not depend on it."""


class Seconds:
    """Progress by a clock.

    A stage begins with its set-up and ends with a validation and what the caller predicts; training has what is left,
    and at least one step. What a validation takes is estimated by the caller, until one has been made.

    Args:
        seconds: of the whole training.
        used: share before this stage.
        until: share of the whole at which the stage ends, in (0, 1].
        validations: most in the whole training; fewer if they take long.
        afterwards: what the caller will predict once the stage is over, as a multiple of a validation.
        clock: seconds that only grow.
        began: when set-up for this stage began, by the clock.
        validation: seconds that one is expected to take.

    Attributes:
        share: of the whole training at the last step, in [0, 1].
        stage: seconds of this stage; 0 if it was over before it began.
    """

    def __init__(
        self,
        seconds: float,
        *,
        used: float,
        until: float,
        validations: int,
        afterwards: float,
        clock: Callable[[], float],
        began: float | None = None,
        validation: float = 0.0,
    ) -> None:
        self.used, self.until = used, max(until, used)
        self._most, self._afterwards, self._clock = validations, afterwards, clock
        self._started = self._step_began = clock()
        self.stage = (self.until - used) * seconds
        self._set_up = self._started - (self._started if began is None else began)
        self._marked = self.share = used
        self.validated(validation)

    @property
    def ended(self) -> bool:
        """Whether the stage was over at the last step; one that was over before it began has none."""
        return self.share >= self.until

    @property
    def least(self) -> float:
        """Seconds that this stage takes without any training."""
        return self._set_up + self._reserve

    def upcoming(self) -> float:
        """The share now, which the learning rate of a step follows."""
        return min(self.used + (self.until - self.used) * self._elapsed() / self._available, self.until)

    def advance(self) -> bool:
        """Read the clock after a step; whether it is time to validate, as always at the end of the stage."""
        elapsed, now = self._elapsed(), self._clock()
        another = elapsed + now - self._step_began <= self._available + _OVER * self.stage
        share = self.share = self.upcoming() if another else self.until
        self._step_began = now
        if self.ended or math.floor(share * self.validations) > math.floor(self._marked * self.validations):
            self._marked = share
            return True
        return False

    def validated(self, seconds: float) -> None:
        """Say how long a validation took, so that time is kept for the last one and for what comes afterwards."""
        self._reserve = seconds * (1 + self._afterwards)
        self._available = max(self.stage - self.least, 1e-9)
        training = self._available / max(self.until - self.used, 1e-9)
        self.validations = min(self._most, 1 + math.floor(_VALIDATING * training / max(seconds, 1e-9)))
        self._step_began = self._clock()

    def _elapsed(self) -> float:
        return self._clock() - self._started
