"""What processes of a job on a cluster are told and tell: their rank, how early to stop, how a run ended."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Final

WARNING_S: Final = 120
"""How long before its end a job begins nothing new, s; a quarter of its time if that is less."""

MORE_TO_DO: Final = 75
"""Exit code of a run that ended in time and has more to do: EX_TEMPFAIL of sysexits.h, "try again later"."""

OUTCOMES: Final[Mapping[str, int]] = {
    "finished": 0,
    "nothing answered": 3,
    "failures in a row": 4,
    "out of reach": 5,
    "out of time": MORE_TO_DO,
    "interrupted": 130,
    "terminated": 143,
}
"""How a run ends, as its record has it, and the exit code that says so. Other errors are 1, a campaign file that is
wrong is 2."""

OUT_OF_REACH: Final = OUTCOMES["out of reach"]
"""Exit code of a run that could not write its record, or reach its artifacts, for longer than it may wait."""

MPI_RANK: Final = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")
"""Environment variables in which MPI launchers tell a process its rank."""

ANNOUNCEMENTS: Final = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))
"""Signals by which schedulers announce the end of a job; Windows has neither them nor schedulers."""

RANK: Final = (*MPI_RANK, "SLURM_PROCID")


SIZE: Final = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
"""Environment variables in which launchers tell a process how many of its like they have started."""


def rank_of(environment: Mapping[str, str]) -> str:
    """The rank as which a launcher of parallel jobs started this process; told without importing MPI."""
    return next((rank for name in RANK if (rank := environment.get(name))), "0")


def is_worker_rank(environment: Mapping[str, str]) -> bool:
    """Whether a launcher of parallel jobs started this process as other than rank 0."""
    return rank_of(environment) != "0"


def started_with(environment: Mapping[str, str]) -> int:
    """How many processes a launcher started together, with this one; 1 if none did."""
    return max((int(size) for name in SIZE if (size := environment.get(name, "")).isdecimal()), default=1)
