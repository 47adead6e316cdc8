"""What an executor, any `concurrent.futures.Executor`, may say of itself."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class WithSlots(Protocol):
    """An executor that says how many evaluations it runs at once. Any other gets one at a time."""

    @property
    def slots(self) -> int:
        """>= 0; may vary with time, as workers come and go."""
        ...


@runtime_checkable
class WithQueue(Protocol):
    """An executor that wants evaluations ready ahead of free slots (`mpi`). Any other gets one per slot."""

    @property
    def ahead(self) -> int:
        """How many more than slots, >= 0; may vary with time."""
        ...


@runtime_checkable
class WithGrace(Protocol):
    """An executor that asks evaluations to end before it kills them, in `shutdown(cancel_futures=True)`.

    The future of one that returns a result in its grace period may have that result; else it raises CancelledError.

    Attributes:
        patience_s: most that this may take, s; set before the shutdown.
    """

    patience_s: float
