"""An evaluation that is with the executor, and what became of it when it comes back."""

from __future__ import annotations

import time
import traceback
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass

from matloop.orchestrator.errors import MemoryExceeded, NotBegun, WorkerLost
from matloop.orchestrator.loop.transfer import Unbegun
from matloop.orchestrator.plain import writable
from matloop.orchestrator.trial import Answer, Failure


@dataclass(slots=True)
class Flight:
    """One evaluation.

    Attributes:
        submitted_at: Unix time, s.
        future: None while it is being submitted, which is when some executors make it.
    """

    submitted_at: float
    future: Future[Answer] | None = None

    @property
    def begun(self) -> bool:
        """Whether a worker may have begun it. An executor cancels no future of one that may have been."""
        return self.future is None or not self.future.cancelled()

    @property
    def measured(self) -> Answer | None:
        """Its answer, if that has values. Of what is being ended an error is not told: it may be due to that."""
        if self.future is None or not self.future.done():
            return None
        answer = outcome(self.future, self.submitted_at)
        return answer if answer is not None and answer.values is not None else None


def outcome(future: Future[Answer], submitted_at: float) -> Answer | None:
    """A future's answer; None if the executor ended it on purpose.

    Args:
        future: done.
        submitted_at: Unix time, s.
    """
    try:
        return future.result()
    except CancelledError:
        return None
    except TimeoutError as error:
        failure = Failure(cause="timeout", message=str(error) or "took longer than its time limit")
    except NotBegun as error:
        failure = Failure(cause="lost", message=writable(str(error)))
        return Unbegun(failure=failure, started_at=submitted_at, finished_at=time.time())
    except MemoryExceeded as error:
        failure = Failure(cause="memory", message=str(error))
    except WorkerLost as error:
        failure = Failure(cause="lost", message=str(error))
    except Exception as error:
        text = writable("".join(traceback.format_exception(error)))
        failure = Failure(cause="crash", message=writable(f"{type(error).__name__}: {error}"), traceback=text)
    return Answer(failure=failure, started_at=submitted_at, finished_at=time.time())


def no_answer(why: str, started_at: float, finished_at: float | None = None) -> Answer:
    """What there is of an attempt from which nothing came back.

    Args:
        why: what ended it.
        started_at: Unix time, s.
        finished_at: Unix time, s; now if it is left out.
    """
    ended_at = time.time() if finished_at is None else finished_at
    return Answer(
        failure=Failure(cause="lost", message=why), started_at=started_at, finished_at=max(started_at, ended_at)
    )
