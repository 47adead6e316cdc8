"""The simplest executor: runs at once, in this process, in order. Nothing isolates a trial; limits do not apply."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from matloop.orchestrator.errors import WorkerCrashed

P = ParamSpec("P")
T = TypeVar("T")


class Serial(Executor):
    """Evaluates within `submit`, so the same campaign always takes the same course.

    Attributes:
        slots: 1.
    """

    slots = 1

    def __init__(self) -> None:
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn` now and return its finished future; KeyboardInterrupt propagates.

        Raises:
            RuntimeError: the executor was shut down.
        """
        if self._closed:
            raise RuntimeError("cannot submit after shutdown; make a new executor")
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except SystemExit as error:
            future.set_exception(
                WorkerCrashed(f"the trial called sys.exit({error.code!r}); raise an exception instead")
            )
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse further work; there is none left to wait for."""
        self._closed = True
