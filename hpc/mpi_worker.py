"""A worker rank of an MPI job: it hears the manager at all times, because it evaluates in a child of its own."""

from __future__ import annotations

import os
import pickle
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, Final

import psutil

from matloop.hpc.isolate import Child
from matloop.hpc.mpi_wire import MANAGER, Kind, Message, Wire

SHORTEST_NAP_S: Final = 20e-6
LONGEST_NAP_S: Final = 0.002  # what it costs in latency it saves in idle cores
BEATS: Final = 5  # signs of life within a lease

Call = tuple[int, float | None, float | None, bytes]
"""Task, timeout_s, memory_gb, payload for `Child.run`."""


class Worker:
    """Makes calls one after another, in the order in which they come.

    Args:
        wire: to the manager.
        child: makes the child; its argument is asked now and then during a call, which ends once it returns True.
        lease_s: silence after which the manager gives this rank up, s.
    """

    def __init__(self, wire: Wire, child: Callable[[Callable[[], bool]], Child], lease_s: float) -> None:
        self._wire = wire
        self._child = child(self._disturbed)
        self._beat_s = lease_s / BEATS
        self._said_at = time.monotonic()
        self._waiting: deque[Call | None] = deque()  # None: what was called off ends here
        self._called_off = False
        self._united: bool | None = None  # set by the manager's last word

    def serve(self) -> bool:
        """Work until the manager says that it is over.

        Returns:
            Whether the job can end as MPI has it, all ranks together.
        """
        try:
            nap_s = SHORTEST_NAP_S
            while self._united is None:
                if self._waiting:
                    self._next(self._waiting.popleft())
                    nap_s = SHORTEST_NAP_S
                elif self._listen():
                    nap_s = SHORTEST_NAP_S
                else:
                    time.sleep(nap_s)
                    nap_s = min(2 * nap_s, LONGEST_NAP_S)
            return self._united
        finally:
            self._child.close()

    def _next(self, call: Call | None) -> None:
        if call is None:
            self._called_off = False
            self._say(Kind.READY)
            return
        task, timeout_s, memory_gb, payload = call
        try:
            if self._called_off:
                raise CancelledError("the executor was shut down before the trial began")
            answer = self._child.run(payload, timeout_s=timeout_s, memory_gb=memory_gb)
        except Exception as error:
            answer = pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
        self._say(Kind.ANSWER, (task, answer))

    def _disturbed(self) -> bool:
        """During a call: stay in touch; whether it is called off."""
        self._listen()
        return self._called_off

    def _listen(self) -> bool:
        """Take in what has come and show a sign of life where one is due; returns whether anything came."""
        messages = self._wire.receive()
        for message in messages:
            self._obey(message)
        if MANAGER in self._wire.failed():
            self._child.stop()
            os._exit(1)
        if time.monotonic() - self._said_at > self._beat_s:
            self._say(Kind.BEAT)
        return bool(messages)

    def _obey(self, message: Message) -> None:
        match message.kind:
            case Kind.RUN:
                self._waiting.append(message.content)
            case Kind.RECALL:
                self._give_back(message.content)
            case Kind.CALL_OFF:
                self._called_off = True
                self._waiting.append(None)
            case Kind.KILL:
                kill(*message.content)
            case Kind.STOP:
                self._child.close()
                self._say(Kind.BYE)
            case Kind.END:
                self._united = message.content

    def _give_back(self, task: int) -> None:
        for call in self._waiting:
            if call is not None and call[0] == task:
                self._waiting.remove(call)
                self._say(Kind.BACK, task)
                return

    def _say(self, kind: int, content: Any = None) -> None:
        self._wire.send(MANAGER, kind, content)
        self._said_at = time.monotonic()


def kill(process: int, born: float) -> None:
    """Kill a process, unless its number has become another's."""
    with suppress(psutil.Error):
        found = psutil.Process(process)
        if found.create_time() == born:
            found.kill()
