"""What every test leaves as it found it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from matloop.orchestrator.job import ANNOUNCEMENTS


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """`matloop run` ignores a scheduler's warnings until its process ends; within a test that process goes on."""
    before = {number: signal.getsignal(number) for number in ANNOUNCEMENTS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
