"""From the campaign file's `executor:` to the executor of that kind."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from matloop.orchestrator.composition.config import Config
from matloop.orchestrator.errors import ConfigError

ONLY: Mapping[str, tuple[str, ...]] = {
    "address": ("dask",),
    "cluster": ("dask",),
    "lease_s": ("mpi",),
    "trials_per_child": ("local", "mpi", "dask"),
    "trials_per_gpu": ("local", "mpi", "dask"),
}
"""Options that only some kinds have."""


def make(config: Config, log: Path) -> AbstractContextManager[Executor | None]:
    """Where evaluations run; on the worker ranks of an MPI job, entering it serves and then gives None.

    Args:
        config: the campaign.
        log: file that takes what evaluations print.

    Raises:
        ConfigError: the executor has no such option.
    """
    given = config.executor
    for key, kinds in ONLY.items():
        if given.kind not in kinds and getattr(given, key) is not None:
            text = f"only `kind: {' or '.join(kinds)}` has this option; remove it"
            raise config.error(("executor", key), text)
    if given.kind == "serial":
        if given.threads == "auto":
            text = "a serial executor has no child whose threads it could set"
            raise config.error(("executor", "threads"), text)
        if given.slots not in (None, 1) or given.timeout_s or given.memory_gb:
            text = "a serial executor has one slot and enforces no limits; choose `kind: local`"
            raise config.error(("executor",), text)
        from matloop.hpc.serial import Serial

        return Serial()
    common: dict[str, Any] = {
        name: getattr(given, name)
        for name in ("timeout_s", "memory_gb", "threads", "trials_per_gpu", "trials_per_child")
    }
    if given.kind == "mpi":
        if given.slots is not None:
            text = "the launcher sets the number of slots of an MPI job; remove it and give `mpiexec -n SLOTS+1`"
            raise config.error(("executor", "slots"), text)
        from matloop.hpc.mpi import LEASE_S, Mpi

        lease_s = given.lease_s if given.lease_s is not None else LEASE_S
        return Mpi(lease_s=lease_s, log=log, **common)
    if given.kind == "dask":
        from matloop.hpc.dask import Dask

        try:
            return Dask(address=given.address, cluster=given.cluster, slots=given.slots, log=log, **common)
        except ConfigError as error:
            raise config.refused(("executor",), error) from error
    from matloop.hpc.local import Local

    return Local(slots=given.slots, log=log, **common)
