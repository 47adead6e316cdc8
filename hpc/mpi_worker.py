"""A worker rank of an MPI job: it hears the manager at all times, because it evaluates in a child of its own.

Signs of life come from a thread of their own: to start a child on a busy node, or to hand it a large driver, may take
longer than a lease.
"""

from __future__ import annotations

import math
import os
import pickle
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil

from matloop.hpc.isolate import Child
from matloop.hpc.mpi_wire import MANAGER, Kind, Message, Wire, apart
from matloop.hpc.parcel import Kept, Parcel

SHORTEST_NAP_S: Final = 20e-6
LONGEST_NAP_S: Final = 0.002  # what it costs in latency it saves in idle cores
BEATS: Final = 5  # signs of life within a lease
STUCK_S: Final = 300.0  # after so long in one step, such as a file system that hangs, a rank no longer counts as alive

Call = tuple[int, float | None, float | None, Parcel]
"""Task, timeout_s, memory_gb, parcel for `Child.run`."""


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
        self._kept = Kept()
        self._beat_s = lease_s / BEATS
        self._said_at = self._listened_at = time.monotonic()
        self._over = threading.Event()
        self._mute: Exception | None = None  # why there are no signs of life any more
        self._waiting: deque[Call | None] = deque()  # None: what was called off ends here
        self._called_off = False
        self._united: bool | None = None  # set by the manager's last word

    def serve(self) -> bool:
        """Work until the manager says that it is over.

        Returns:
            Whether the job can end as MPI has it, all ranks together.
        """
        beating = threading.Thread(target=self._beat, name="matloop-beats", daemon=True)
        beating.start()
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
            self._over.set()
            beating.join()

    def _next(self, call: Call | None) -> None:
        if call is None:
            self._called_off, self._child.patience_s = False, math.inf
            self._say(Kind.READY)
            return
        task, timeout_s, memory_gb, parcel = call
        try:
            if self._called_off:
                raise CancelledError("the executor was shut down before the trial began")
            answer = self._child.run(parcel, timeout_s=timeout_s, memory_gb=memory_gb)
        except Exception as error:
            answer = pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
        self._say(Kind.ANSWER, (task, apart(answer)))

    def _disturbed(self) -> bool:
        """During a call: stay in touch; whether it is called off."""
        self._listen()
        return self._called_off

    def _listen(self) -> bool:
        """Take in what has come; returns whether anything has."""
        if self._mute is not None:
            raise self._mute
        self._listened_at = time.monotonic()
        messages = self._wire.receive()
        for message in messages:
            self._obey(message)
        if MANAGER in self._wire.failed():
            self._child.stop()
            os._exit(1)
        return bool(messages)

    def _beat(self) -> None:
        """Show a sign of life where nothing else was said for a while."""
        due_s = self._beat_s
        try:
            while not self._over.wait(due_s):
                now = time.monotonic()
                if now - self._said_at >= self._beat_s and now - self._listened_at < STUCK_S:
                    self._say(Kind.BEAT)
                due_s = max(self._beat_s / 10, self._said_at + self._beat_s - time.monotonic())
        except Exception as error:
            self._mute = error

    def _obey(self, message: Message) -> None:
        match message.kind:
            case Kind.RUN:
                self._waiting.append(self._received(*message.content))
            case Kind.PATHS:
                sys.path += [path for path in message.content if path not in sys.path and Path(path).is_absolute()]
            case Kind.RECALL:
                self._give_back(message.content)
            case Kind.CALL_OFF:
                self._child.patience_s = message.content
                self._called_off = True
                self._waiting.append(None)
            case Kind.KILL:
                kill(*message.content)
            case Kind.STOP:
                self._child.close()
                self._say(Kind.BYE)
            case Kind.END:
                self._united = message.content

    def _received(
        self, task: int, timeout_s: float | None, memory_gb: float | None, body: bytes, key: bytes, common: bytes
    ) -> Call:
        # what came apart is no `bytes`, and these are pickled again for the child
        return task, timeout_s, memory_gb, self._kept.complete(Parcel(bytes(body), key, bytes(common)))

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
