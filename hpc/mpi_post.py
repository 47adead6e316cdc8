"""Where each rank of an MPI job is, and what it may use there."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

import psutil

from matloop.hpc.devices import Sight, look
from matloop.orchestrator.errors import MatloopError


@dataclass(frozen=True, slots=True)
class Post:
    """Where a rank is.

    Attributes:
        rank: its number in the job.
        host: what its machine calls itself.
        machine: the lowest rank there; unlike `host`, never the same for two machines.
        process: its process there.
        born: when that began, by the machine's clock.
        sight: what it may use.
    """

    rank: int
    host: str
    machine: int
    process: int
    born: float
    sight: Sight

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host}"


def muster(communicator: Any) -> list[Post]:
    """The posts of all ranks; to be called by all of them together.

    Raises:
        MatloopError: some cannot tell what they may use; on all ranks alike, and it names those.
    """
    from mpi4py import MPI

    here = communicator.Split_type(MPI.COMM_TYPE_SHARED)
    machine = here.allreduce(communicator.rank, MPI.MIN)
    here.Free()
    found = communicator.allgather(_post(communicator.rank, machine))
    if troubles := [answer for answer in found if isinstance(answer, str)]:
        raise MatloopError("\n".join(troubles))
    return found


def _post(rank: int, machine: int) -> Post | str:
    """What this rank reports; a text if it cannot, since the others wait for it."""
    try:
        me = psutil.Process()
        return Post(rank, socket.gethostname(), machine, me.pid, me.create_time(), look())
    except Exception as error:
        return f"rank {rank} on {socket.gethostname()}: {type(error).__name__}: {error}"
