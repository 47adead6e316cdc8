"""The serial executor."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from matloop.hpc.serial import Serial
from matloop.testing.executor import ExecutorContract


class TestSerial(ExecutorContract):
    @pytest.fixture
    def executor(self) -> Iterator[Serial]:
        with Serial() as executor:
            yield executor

    def test_runs_here_and_now(self, executor: Serial) -> None:
        future = executor.submit(os.getpid)
        assert future.done() and future.result() == os.getpid()

    def test_ctrl_c_propagates(self, executor: Serial) -> None:
        def interrupted() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            executor.submit(interrupted)
