"""The contract over MPI: `mpiexec -n 3 python -m pytest tests/hpc/under_mpi.py`, which test_mpi.py does.

Every rank goes through the tests in the same order; a worker rank serves during the fixture, then skips the test.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from matloop.hpc.mpi import Mpi
from matloop.testing.executor import IsolatingContract, add, fail, nap


class TestMpi(IsolatingContract):
    @pytest.fixture
    def executor(self) -> Iterator[Mpi]:
        with Mpi() as executor:
            if executor is None:
                pytest.skip("a worker rank")
            yield executor

    def test_every_other_rank_is_a_slot(self, executor: Mpi) -> None:
        assert executor.slots == 2

    def test_a_traceback_names_the_rank(self, executor: Mpi) -> None:
        error = executor.submit(fail, "x").exception(60)
        assert any(f"on {socket.gethostname()}" in note and "rank " in note for note in getattr(error, "__notes__", []))

    def test_what_waits_behind_a_long_task_is_called_back(self, executor: Mpi) -> None:
        for _ in range(40):
            executor.submit(add, 1).result(60)  # so that tasks are placed ahead
        long, short = executor.submit(nap, 8.0), [executor.submit(add, i) for i in range(30)]
        assert [future.result(60) for future in short] == list(range(30))
        assert not long.done()
        assert long.result(60)

    def test_an_exception_in_the_block_ends_what_runs(self) -> None:
        with pytest.raises(ZeroDivisionError):
            stumble()


def stumble() -> None:
    with Mpi() as executor:
        if executor is None:
            pytest.skip("a worker rank")
        executor.submit(nap, 60.0)
        raise ZeroDivisionError
