"""One call in a child, from the first byte sent to its answer: its limits, and how it is ended.

A call that is to end is asked to by SIGTERM and has a grace period, in which a result still counts; then it is killed.
"""

from __future__ import annotations

import json
import math
import pickle
import time
from collections.abc import Callable
from typing import Final

from matloop.hpc import child
from matloop.hpc.process import Process
from matloop.orchestrator.errors import MemoryExceeded, WorkerCrashed
from matloop.orchestrator.interruption import GRACE_S
from matloop.orchestrator.processes import resident

GIB: Final = 2**30
TICK_S: Final = 0.1  # how often a running child's memory and pulse are looked at
LOADING_S: Final = 300.0  # what importing a call's code may take on top of its time limit
SETTLE_S: Final = 1.0  # what a driver has, after it has used up its grace period, for tidying up


class Exchange:
    """A call that is being made.

    Args:
        process: is idle; belongs to the call until `answer` has returned or raised.
        timeout_s, memory_gb: limits; None for none.
        ending: asked ten times a second; an exception says that the call is to end, and how that is reported.
        patience_s: most that an interrupted call may go on, s, whatever it would like.

    Attributes:
        repeatable: whether it says that making it again is harmless.
        memory_ran_out: whether the answer says so, in a child that had been used before.
    """

    def __init__(
        self,
        process: Process,
        *,
        timeout_s: float | None,
        memory_gb: float | None,
        ending: Callable[[], Exception | None],
        patience_s: Callable[[], float],
    ) -> None:
        self._process, self._ending, self._patience_s = process, ending, patience_s
        self._timeout_s, self._memory_gb = timeout_s, memory_gb
        self._grace_s = GRACE_S
        now = time.monotonic()
        self._look_at, self._deadline = now + TICK_S, now + LOADING_S + self._allowed_s
        self._begun = timeout_s is None  # or not known
        self._why: Exception | None = None  # it was interrupted
        self._kill_at = math.inf
        self.repeatable = True
        self.memory_ran_out = False

    @property
    def interrupted(self) -> bool:
        """Whether the child was sent SIGTERM."""
        return self._why is not None

    @property
    def _allowed_s(self) -> float:
        return math.inf if self._timeout_s is None else self._timeout_s

    def answer(self, payload: bytes, *, again: bool = False) -> bytes:
        """Make the call.

        Args:
            payload: pickled (function, args, kwargs).
            again: it was made before, and memory ran out in a child that had been used.

        Returns:
            Pickled (True, result) or (False, exception).

        Raises:
            TimeoutError, MemoryExceeded: a limit was passed.
            EOFError, OSError: the child died.
            Exception: what `ending` returned.
            WorkerCrashed: somebody else sent SIGTERM to the child.
        """
        head = child.UNTIMED if self._timeout_s is None else child.TIMED
        self._process.calls += 1
        try:
            self._process.channel.send((child.AGAIN[head] if again else head) + payload)
            while True:
                now = time.monotonic()
                if (message := self._process.channel.receive(self._nap_s(now))) is not None:
                    if (answer := self._heard(message)) is not None:
                        return answer
                elif self._process.popen.poll() is not None and not self._process.channel.readable:
                    raise EOFError  # a descendant of the dead child holds the connection open
                else:
                    self._look()
        except (EOFError, OSError):
            if self._why is not None:
                raise self._why from None
            raise

    def _nap_s(self, now: float) -> float:
        return max(0.0, min(TICK_S, self._deadline - now, self._kill_at - now))

    def _heard(self, message: bytes) -> bytes | None:
        """The answer, if it is one."""
        head = message[:1]
        if head == child.BEGINS:
            said = json.loads(message[1:])
            self.repeatable, self._grace_s = said["repeatable"], said["grace_s"]
            self._begun, self._deadline = True, time.monotonic() + self._allowed_s
            return None
        if head == child.MEMORY:
            self.memory_ran_out = True
            message = message[1:]
        if self._why is not None and (head == child.INTERRUPTED or not _is_result(message)):
            raise self._why
        if head == child.INTERRUPTED:
            raise WorkerCrashed("the worker got SIGTERM during the trial, from somebody else")
        return message

    def _look(self) -> None:
        now = time.monotonic()
        if self._why is not None:
            if now >= self._kill_at:
                raise self._why
        elif (why := self._ending()) is not None:
            self._interrupt(why)
        elif now >= self._deadline:
            self._interrupt(
                TimeoutError(
                    f"took longer than its time limit of {self._timeout_s:g} s; raise `timeout_s` or make the trial "
                    "smaller"
                )
            )
        elif self._memory_gb is not None and now >= self._look_at:
            self._weigh(self._memory_gb)

    def _interrupt(self, why: Exception) -> None:
        wanted_s = self._grace_s + SETTLE_S if self._begun and self._grace_s > 0 else 0.0
        grace_s = min(wanted_s, self._patience_s())
        if grace_s <= 0 or not self._process.ask_to_end():
            raise why
        self._why, self._deadline, self._kill_at = why, math.inf, time.monotonic() + grace_s

    def _weigh(self, limit_gb: float) -> None:
        began = time.monotonic()
        used_gb = resident(self._process.popen.pid, enough=int(limit_gb * GIB)) / GIB
        self._look_at = began + 20 * (time.monotonic() - began)  # spend at most 5 % of a core on looking
        if used_gb > limit_gb:
            raise MemoryExceeded(
                f"used {used_gb:.2f} GiB of memory, its limit is {limit_gb:g} GiB; raise `memory_gb` or make the trial "
                "smaller"
            )


def _is_result(answer: bytes) -> bool:
    """Whether an answer has something to record: neither an exception nor an evaluation that failed."""
    succeeded, value = pickle.loads(answer)
    return succeeded and getattr(value, "failure", None) is None
