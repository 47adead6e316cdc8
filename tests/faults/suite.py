"""Many runs at once: servers that do them, and what became of them as a table."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from rich.table import Table

from tests.faults.plan import KINDS, plan_of
from tests.faults.runs import Verdict
from tests.faults.shim import compiled
from tests.faults.stand_in import DONE, STRUCK

ROOT: Final = Path(__file__).parents[2]
MEMORY: Final = Path("/dev/shm")
LEAST_FREE: Final = 2**30


def needs_shim(seed: int) -> bool:
    """Whether what that run strikes can be struck with the compiled library alone."""
    kind = plan_of(seed).kind
    return bool(kind.calls) and (STRUCK.isdisjoint(kind.calls) or kind.action not in DONE)


class Workplace:
    """A folder for runs, in memory where there is room, and the library that strikes system calls, if it can be made.

    Args:
        keep: leave the folder behind.
        with_library: make it; some faults are then injected in Python otherwise, and others are left out.
    """

    def __init__(self, keep: bool = False, with_library: bool = True) -> None:
        roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > LEAST_FREE
        self.folder = Path(tempfile.mkdtemp(prefix="matloop-faults-", dir=MEMORY if roomy else None))
        self.library = compiled(self.folder) if with_library else None
        self._keep = keep

    def __enter__(self) -> Workplace:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def server(self, name: str) -> Iterator[Callable[[int, str], Verdict]]:
        """A process that does runs: a function from a run's number, and what is broken on purpose, to its verdict."""
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        if self.library:
            environ["LD_PRELOAD"] = str(self.library)
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "tests.faults.server", str(folder)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ, cwd=ROOT) as process:
            assert process.stdin and process.stdout
            asked, answered = process.stdin, process.stdout

            def run(seed: int, broken: str = "") -> Verdict:
                asked.write(f"{seed} {broken}\n")
                asked.flush()
                if not (line := answered.readline()):
                    raise RuntimeError(f"the server of runs ended during run {seed}")
                return Verdict(**json.loads(line))

            try:
                yield run
            finally:
                asked.close()


def verdicts(
    seeds: Iterable[int], workplace: Workplace, *, jobs: int, seconds: float | None = None
) -> Iterator[Verdict]:
    """Do runs, several at once; none is begun once the time is over.

    Args:
        seeds: their numbers.
        workplace: where.
        jobs: how many at once.
        seconds: how long to begin new ones, s; None for until all are done.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    done: SimpleQueue[Verdict | BaseException | None] = SimpleQueue()
    for seed in seeds:
        waiting.put(seed)
    ends_at = None if seconds is None else time.monotonic() + seconds

    def work(name: str) -> None:
        try:
            with workplace.server(name) as run:
                while ends_at is None or time.monotonic() < ends_at:
                    done.put(run(waiting.get_nowait(), ""))
        except Empty:
            pass
        except BaseException as error:
            done.put(error)
        finally:
            done.put(None)

    for job in range(jobs):
        threading.Thread(target=work, args=(f"job-{job}",), daemon=True).start()
    for _ in range(jobs):
        while (found := done.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found


def table(found: Sequence[Verdict]) -> Table:
    """Runs by kind of fault and scene."""
    shown = Table(title=f"{len(found)} runs", title_justify="left")
    scenes = list(dict.fromkeys(scene for kind in KINDS for scene in kind.scenes))
    shown.add_column("fault")
    for column in (*scenes, "struck", "breaches", "s per run"):
        shown.add_column(column, justify="right")
    by_kind: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in found:
        by_kind[verdict.kind].append(verdict)
    for kind, some in [*((kind.name, by_kind[kind.name]) for kind in KINDS), ("all", [*found])]:
        if not some:
            continue
        counts = Counter(verdict.scene for verdict in some)
        bad = sum(bool(verdict.breaches) for verdict in some)
        row = [kind, *(str(counts[scene] or "") for scene in scenes), str(sum(v.struck for v in some))]
        shown.add_row(*row, str(bad or ""), f"{sum(v.seconds for v in some) / len(some):.2f}")
    return shown
