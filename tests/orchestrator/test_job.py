"""What a process of a job can tell from its environment."""

from __future__ import annotations

import pytest

from matloop.orchestrator.job import MPI_RANK, RANK, SIZE, is_worker_rank, rank_of, started_with


@pytest.mark.parametrize("name", RANK)
def test_every_launcher_tells_its_ranks(name: str) -> None:
    assert is_worker_rank({name: "3"}) and rank_of({name: "3"}) == "3"
    assert not is_worker_rank({name: "0"}) and rank_of({name: "0"}) == "0"
    assert not is_worker_rank({name: ""}) and rank_of({name: ""}) == "0"


def test_a_process_that_no_launcher_started_is_no_worker() -> None:
    assert not is_worker_rank({})


def test_mpi_is_asked_before_slurm() -> None:
    """Rank 1 of an mpiexec within task 0 of Slurm is a worker; rank 0 within task 1 is none."""
    for name in MPI_RANK:
        assert is_worker_rank({"SLURM_PROCID": "0", name: "1"})
        assert not is_worker_rank({"SLURM_PROCID": "1", name: "0"})


@pytest.mark.parametrize("name", SIZE)
def test_launchers_tell_how_many_they_started(name: str) -> None:
    assert started_with({name: "12"}) == 12
    assert started_with({name: ""}) == started_with({name: "many"}) == started_with({}) == 1
