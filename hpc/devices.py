"""Which GPUs and how many CPU threads a trial may use, so that trials on one machine do not fight over them.

What the user or the scheduler allows (`CUDA_VISIBLE_DEVICES`, `ROCR_VISIBLE_DEVICES` or `HIP_VISIBLE_DEVICES`, and the
cores of the process) is divided among the workers that see the same: with at least as many GPUs as workers each gets
as many of its own, with fewer they share them evenly. Where the scheduler has divided already, nothing is left to do.
The child of a worker gets its share through its environment, before it imports anything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from matloop.orchestrator.errors import ConfigError

VARIABLES: Final = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
WORKER: Final = "MATLOOP_WORKER"  # in a child's environment: its worker's name
LISTING_S: Final = 20.0  # what nvidia-smi may take

Threads = int | Literal["auto"]


@dataclass(frozen=True, slots=True)
class Sight:
    """What one process may use.

    Attributes:
        cores: that it may run on.
        variable: the environment variable that says which GPUs it sees.
        gpus: as that variable names them.
        identities: what tells each of them from every other GPU of the machine, as far as that is known.
    """

    cores: frozenset[int]
    variable: str
    gpus: tuple[str, ...]
    identities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker's trial may use.

    Attributes:
        threads: CPU threads.
        variable: see `Sight`.
        gpus: see `Sight`; None if there are none to speak of.
    """

    threads: int = 1
    variable: str = VARIABLES[0]
    gpus: tuple[str, ...] | None = None

    def name(self, place: str) -> str:
        """A worker's name for people: its place and its devices."""
        return f"{place}, GPU {','.join(self.gpus)}" if self.gpus else place

    def environment(self, place: str) -> dict[str, str]:
        """What the child of a worker at a place finds in its environment besides what its parent has."""
        seen = {} if self.gpus is None else {self.variable: ",".join(self.gpus)}
        return {WORKER: self.name(place), **seen}


def look(environ: Mapping[str, str] = os.environ) -> Sight:
    """What this process may use."""
    listed = _listed()
    for variable in VARIABLES:
        if variable in environ:
            gpus = _named(environ[variable])
            known = listed if variable == VARIABLES[0] else ()
            return Sight(own_cores(), variable, gpus, tuple(_identity(gpu, known) for gpu in gpus))
    return Sight(own_cores(), VARIABLES[0], tuple(str(i) for i in range(len(listed))), listed)


def divide(sights: Sequence[Sight], *, threads: Threads, trials_per_gpu: int | None, where: str = "") -> list[Share]:
    """Divide one machine among its workers.

    Args:
        sights: of its workers, in order.
        threads: CPU threads of each; "auto" for an equal share of the cores.
        trials_per_gpu: most trials at once on a GPU; None for as many as there happen to be, 0 to use none.
        where: the machine, for messages.

    Raises:
        ConfigError: there are more workers than the GPUs may have.
    """
    return [
        Share(
            threads=_threads(sight.cores, [other.cores for other in sights]) if threads == "auto" else threads,
            variable=sight.variable,
            gpus=_gpus(index, sights, trials_per_gpu, where),
        )
        for index, sight in enumerate(sights)
    ]


def own_cores() -> frozenset[int]:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _threads(own: frozenset[int], all_cores: Sequence[frozenset[int]]) -> int:
    """A launcher may have bound each worker to cores of its own; only those who meet on a core have to share."""
    return max(1, len(own) // sum(not own.isdisjoint(other) for other in all_cores))


def _gpus(index: int, sights: Sequence[Sight], trials_per_gpu: int | None, where: str) -> tuple[str, ...] | None:
    own = sights[index]
    if trials_per_gpu == 0:
        return ()
    if not own.gpus:
        return None
    sharing = [i for i, sight in enumerate(sights) if sight.identities == own.identities]
    place, workers, n = sharing.index(index), len(sharing), len(own.gpus)
    if workers <= n:
        each = n // workers
        return own.gpus[place * each : (place + 1) * each]
    if trials_per_gpu is not None and workers > n * trials_per_gpu:
        raise ConfigError(
            f"expected at most {n * trials_per_gpu} workers{where} (GPUs: {n}, trials_per_gpu: {trials_per_gpu}), got "
            f"{workers}; start fewer, raise `trials_per_gpu`, or set it to 0 for trials that need no GPU"
        )
    return (own.gpus[place * n // workers],)


def _named(value: str) -> tuple[str, ...]:
    """GPUs in a variable's value; as for the driver, the first that is no GPU ends the list."""
    found = []
    for name in (part.strip() for part in value.split(",")):
        if not name or name == "-1":
            break
        found.append(name)
    return tuple(found)


def _identity(gpu: str, listed: Sequence[str]) -> str:
    return listed[int(gpu)] if gpu.isdecimal() and int(gpu) < len(listed) else gpu


def _listed() -> tuple[str, ...]:
    """Unique names of the NVIDIA GPUs that this process may open, in order; asked of nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        text = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=LISTING_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(re.findall(r"^GPU \d+:.*\(UUID: (\S+)\)", text, re.MULTILINE))
