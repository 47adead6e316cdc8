"""Experiments that people do: nothing is called; matloop recommends, and is told results when they come."""

from __future__ import annotations

import math
from typing import Literal

from matloop.orchestrator.errors import ConfigError, MatloopError
from matloop.orchestrator.trial import Measurement, Objective, Trial


class Manual:
    """Stands where a machine's driver would; says what is measured and what can be believed.

    Args:
        objectives: filled in from the study: what is measured, and its units.
        ranges: lowest and highest plausible value by objective, both included; a result outside is taken for a slip of
            the pen and has to be confirmed.
        instructions: shown beside every recommendation: where, how, how often to measure.
        batch: what experiments that are recommended together have in common: the most different values of an input, or
            `same` for one; a mixture may be named, too.

    Raises:
        ConfigError: a range is empty, or of something that is not measured.
    """

    repeatable = False
    by_people = True

    def __init__(
        self,
        *,
        objectives: tuple[Objective, ...] = (),
        ranges: dict[str, tuple[float, float]] | None = None,
        instructions: str = "",
        batch: dict[str, int | Literal["same"]] | None = None,
    ) -> None:
        names = [objective.name for objective in objectives]
        for name, (low, high) in (ranges or {}).items():
            if name not in names:
                raise ConfigError(
                    f"expected ranges of what is measured ({', '.join(names)}), got {name!r}; rename it",
                    at=("ranges", name),
                )
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigError(
                    f"{name}: expected a range [low, high] with low < high, got [{low:g}, {high:g}]",
                    at=("ranges", name),
                )
        for name, most in (batch or {}).items():
            if most != "same" and most < 1:
                raise ConfigError(f"{name}: expected `same` or a number >= 1, got {most}", at=("batch", name))
        self.batch = {name: 1 if most == "same" else most for name, most in (batch or {}).items()}
        self.objectives = tuple(objectives)
        self.ranges = dict(ranges or {})
        self.instructions = instructions

    def __call__(self, trial: Trial) -> Measurement:
        """Not to be called.

        Raises:
            MatloopError: always.
        """
        raise MatloopError(
            f"trial {trial.id} is an experiment for people; get recommendations with `matloop recommend` and tell "
            "results with `matloop tell`"
        )
