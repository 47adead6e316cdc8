"""Where each rank of an MPI job is, and what it may use there."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

import psutil

from matloop.hpc.devices import Sight, look


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
    """The posts of all ranks; to be called by all of them together."""
    from mpi4py import MPI

    here = communicator.Split_type(MPI.COMM_TYPE_SHARED)
    machine = here.allreduce(communicator.rank, MPI.MIN)
    here.Free()
    me = psutil.Process()
    post = Post(communicator.rank, socket.gethostname(), machine, me.pid, me.create_time(), look())
    return list(communicator.allgather(post))
