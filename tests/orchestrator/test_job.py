"""What a process of a job can tell from its environment."""

from __future__ import annotations

import pytest

from matloop.orchestrator.job import MPI_RANK, RANK, is_worker_rank


@pytest.mark.parametrize("name", RANK)
def test_every_launcher_tells_its_ranks(name: str) -> None:
    assert is_worker_rank({name: "3"})
    assert not is_worker_rank({name: "0"})
    assert not is_worker_rank({name: ""})


def test_a_process_that_no_launcher_started_is_no_worker() -> None:
    assert not is_worker_rank({})


def test_mpi_is_asked_before_slurm() -> None:
    """Rank 1 of an mpiexec within task 0 of Slurm is a worker; rank 0 within task 1 is none."""
    for name in MPI_RANK:
        assert is_worker_rank({"SLURM_PROCID": "0", name: "1"})
        assert not is_worker_rank({"SLURM_PROCID": "1", name: "0"})
