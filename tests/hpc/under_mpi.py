"""The contract over MPI: `mpiexec -n 3 python -m pytest tests/hpc/under_mpi.py`, which test_mpi.py does.

Every rank goes through the tests in the same order; a worker rank serves during the fixture, then skips the test.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpc.mpi import Mpi
from tests.contracts.executor import IsolatingContract, nap


class TestMpi(IsolatingContract):
    @pytest.fixture
    def executor(self) -> Iterator[Mpi]:
        with Mpi() as executor:
            if executor is None:
                pytest.skip("a worker rank")
            yield executor

    def test_every_other_rank_is_a_slot(self, executor: Mpi) -> None:
        assert executor.slots == 2

    def test_an_exception_in_the_block_ends_what_runs(self) -> None:
        with pytest.raises(ZeroDivisionError):
            stumble()


def stumble() -> None:
    with Mpi() as executor:
        if executor is None:
            pytest.skip("a worker rank")
        executor.submit(nap, 60.0)
        raise ZeroDivisionError
