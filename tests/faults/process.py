"""A forked process that runs part of matloop as a user's command would, watched and disturbed from outside."""

from __future__ import annotations

import atexit
import faulthandler
import math
import os
import random
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.faults import shim
from tests.faults.course import Course, Ended
from tests.faults.shim import Shim
from tests.faults.stand_in import StandIn

LIMIT_S = 120.0
"""After which a process counts as hanging, s; on a machine that is busy otherwise."""

POLL_S = 0.002
HANGS = "hangs"


@dataclass(frozen=True)
class Blow:
    """A signal to come.

    Attributes:
        at_s: when, after the start, s.
        number: which.
        to: "manager" for the process itself, "worker" for one of its children; "ledger" if it is no signal, and another
            program is to hold the ledger.
    """

    at_s: float
    number: int
    to: str = "manager"


def fork(action: Callable[[], object], output: Path, faults: Shim, environ: dict[str, str], *, manager: bool) -> int:
    """Do something in a process of its own, as the main program of it; return its number.

    Args:
        action: what to do.
        output: file that takes what it prints, appended.
        faults: the page that it obeys.
        environ: what it finds in its environment besides.
        manager: whether it puts down its number as the manager's.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    number = os.fork()
    if number:
        return number
    code = 70
    try:
        if manager:
            faults.page.manager = os.getpid()
        os.setsid()
        os.environ.update(environ)
        printed = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor in (1, 2):
            os.dup2(printed, descriptor)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        faulthandler.enable(2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        shim.attach(faults.path)
        if not shim.is_loaded():
            StandIn(faults.page).install()
        code = _as_main(action)
    except KeyboardInterrupt:  # while the program was made ready, or had ended
        code = 130
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


def _as_main(action: Callable[[], object]) -> int:
    """Do it, and what an interpreter does at its end; return the exit code."""
    code = 0
    try:
        action()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    return code


def fork_aside(action: Callable[[], object], output: Path) -> int:
    """Do something in a process that no fault strikes; return its number."""
    number = os.fork()
    if number:
        return number
    try:
        action()
    except BaseException:
        output.write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


def read_on(course: Course) -> None:
    """Read the ledger again and again until all is over: it can be read, and only grows."""
    from matloop.orchestrator.ledger.ledger import read

    last = 0
    while not (course.root / "over").exists():
        if course.ledger.exists():
            found = read(course.ledger).last_seq
            assert found >= last, f"a reader saw {found} events after it had seen {last}"
            last = found
        time.sleep(0.01)


def hold(course: Course, seconds: float) -> None:
    """Keep the ledger from being written, as another program would."""
    if course.ledger.exists():
        with closing(sqlite3.connect(course.ledger, isolation_level=None, timeout=10.0)) as db:
            db.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            db.execute("ROLLBACK")


class Watch:
    """Processes that are waited for, while signals are sent to the first one and whoever stopped itself is continued.

    Args:
        course: of the run.
        faults: the page that they obey.
        blows: signals to come.
        pause_s: how long a process that stopped itself stays so, the ledger is held and calls fail, s.
    """

    def __init__(self, course: Course, faults: Shim, blows: Sequence[Blow] = (), pause_s: float = 0.0) -> None:
        self._course, self._faults, self._pause_s = course, faults, pause_s
        self._draw = random.Random(f"victims {course.plan.seed}")
        self._to_come = sorted(blows, key=lambda blow: blow.at_s)
        self._begun = time.monotonic()
        self._begins: dict[int, float] = {}
        self._outputs: dict[int, Path] = {}
        self._hung: set[int] = set()
        self._stopped: tuple[int, float] | None = None
        self._free_at = math.inf if course.plan.kind.freed else None
        self._aside: list[int] = []
        self.ended: dict[int, Ended] = {}
        self.blows = 0

    def start(self, action: Callable[[], object], output: Path, environ: dict[str, str], first: bool = False) -> int:
        """Fork a process to be waited for, which is the one that gets signals if it is the first; return its number."""
        output.touch()
        number = fork(action, output, self._faults, environ, manager=first)
        if first:
            self._faults.page.manager = number
        self._begins[number], self._outputs[number] = time.monotonic(), output
        return number

    def wait(self, numbers: Sequence[int], service: Callable[[], int] | None = None) -> None:
        """Until all of them have ended; whenever the service has ended as well, it is started again."""
        serving = service() if service else None
        if self._course.plan.reader:
            self._aside.append(fork_aside(lambda: read_on(self._course), self._course.aside))
        while not self.ended.keys() >= set(numbers):
            self._look()
            if service and serving in self.ended:
                serving = service()
            time.sleep(POLL_S)
        if serving is not None and serving not in self.ended:
            os.kill(serving, signal.SIGINT)
            while serving not in self.ended:
                time.sleep(POLL_S)
                self._look()
        (self._course.root / "over").touch()
        for number in self._aside:
            if os.waitpid(number, 0)[1]:
                self._course.readers.append(f"who read meanwhile: {self._course.aside.read_text().splitlines()[-1]}")
        (self._course.root / "over").unlink()

    def _look(self) -> None:
        for number, begun in self._begins.items():
            if number in self.ended:
                continue
            seconds = time.monotonic() - begun
            found, status = os.waitpid(number, os.WNOHANG)
            if found:
                code = os.waitstatus_to_exitcode(status)
                text = self._outputs[number].read_text(errors="replace")
                self.ended[number] = Ended(code, text, seconds, number in self._hung)
            elif seconds > LIMIT_S:
                os.kill(number, signal.SIGKILL if number in self._hung else signal.SIGABRT)  # with its stacks
                self._hung.add(number)
        manager = self._faults.page.manager
        while self._to_come and time.monotonic() - self._begun >= self._to_come[0].at_s:
            blow = self._to_come.pop(0)
            if blow.to == "ledger":
                self._aside.append(fork_aside(lambda: hold(self._course, self._pause_s), self._course.aside))
                self.blows += 1
            else:
                struck = _strike(blow, manager, manager in self.ended, self._draw)
                self.blows += struck
                if not struck and blow.to == "worker" and manager not in self.ended:
                    self._to_come.insert(0, blow)  # as soon as there is one
                    break
        self._continue()

    def _continue(self) -> None:
        now = time.monotonic()
        if self._free_at is not None and self._faults.page.struck:
            self._free_at = min(self._free_at, now + self._pause_s)
            if now >= self._free_at:
                self._faults.page.armed = 0
        if self._stopped and now >= self._stopped[1]:
            with suppress(ProcessLookupError):
                os.kill(self._stopped[0], signal.SIGCONT)
            self._stopped = None
        elif not self._stopped and (number := self._faults.page.stopped):
            self._faults.page.stopped = 0
            self._stopped = number, now + self._pause_s


def _strike(blow: Blow, number: int, ended: bool, draw: random.Random) -> bool:
    """Send a signal; say whether anybody got it."""
    victims = [] if ended else [number]
    if victims and blow.to == "worker":
        with suppress(psutil.Error):
            victims = [child.pid for child in psutil.Process(number).children()]
    if victims:
        with suppress(ProcessLookupError):
            os.kill(draw.choice(victims), blow.number)
            return True
    return False


def left_behind(patience_s: float = 10.0) -> list[str]:
    """Descendants that do not end by themselves, in words; they are killed."""
    ends_at = time.monotonic() + patience_s
    while True:
        _reap()
        left = psutil.Process().children(recursive=True)
        if not left:
            return []
        if time.monotonic() > ends_at:
            break
        time.sleep(POLL_S)
    words = []
    for process in left:
        with suppress(psutil.Error):
            words.append(f"{process.pid}: {' '.join(process.cmdline())[:200]}")
            process.kill()
    return words


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
