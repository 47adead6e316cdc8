"""Local processes: the contract, and how they start and end."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from matloop.hpc import process
from matloop.hpc.devices import own_cores
from matloop.hpc.local import Local
from matloop.hpc.process import environment
from matloop.orchestrator import processes
from matloop.orchestrator.errors import ConfigError, MemoryExceeded, NotBegun, WorkerCrashed
from matloop.orchestrator.loop.evaluation import Limits
from matloop.testing.executor import PATIENCE_S, IsolatingContract, Limited, hold_the_lock, nap, segfault

ROOT = Path(__file__).parents[2]


class TestLocal(IsolatingContract):
    @pytest.fixture
    def executor(self) -> Iterator[Local]:
        with Local(slots=2) as executor:
            yield executor


class TestLocalCallingBack(IsolatingContract):
    """As on Windows, where descriptors cannot be handed over and there are no process groups."""

    @pytest.fixture
    def executor(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Local]:
        monkeypatch.setattr(processes, "POSIX", False)
        monkeypatch.setattr(process, "POSIX", False)
        self.log = tmp_path / "workers.log"
        with Local(slots=2, log=self.log) as executor:
            yield executor

    def test_a_segfault_says_where(self, executor: Local) -> None:
        assert isinstance(executor.submit(segfault).exception(PATIENCE_S), WorkerCrashed)
        assert "in segfault" in self.log.read_text()

    def test_standard_input_is_empty_for_the_user_s_code(self, executor: Local) -> None:
        assert executor.submit(read_input).result(PATIENCE_S) == ("", "")

    def test_nothing_is_left_after_shutdown(self, executor: Local) -> None:
        before, open_files = set(psutil.Process().children()), psutil.Process().num_fds()
        with Local(slots=2, log=self.log) as another:
            another.submit(os._exit, 1).exception()
            for future in [another.submit(nap, 0.1) for _ in range(2)]:
                future.result()
        assert set(psutil.Process().children()) == before
        assert eventually(lambda: psutil.Process().num_fds() == open_files)

    def test_a_death_before_the_first_call_is_one_of_the_trial(
        self, executor: Local, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(process, "COMMAND", "import sys; sys.exit(5)")
            with pytest.raises(WorkerCrashed, match="died at its start: exit code 5"):
                executor.submit(os.getpid).result(PATIENCE_S)
        assert executor.submit(os.getpid).result(PATIENCE_S) != os.getpid()


def read_input() -> tuple[str, str]:
    program = subprocess.run([sys.executable, "-c", "print(input())"], capture_output=True, text=True, check=False)
    return sys.stdin.read(), program.stdout


def torch_threads() -> int:
    import torch

    return int(torch.get_num_threads())


def swell_by_proxy() -> None:
    program = "import time; ballast = b'x' * 400_000_000; time.sleep(60)"
    subprocess.run([sys.executable, "-c", program], check=False)


def fork_and_die(file: Path) -> None:
    """Leave a descendant behind that holds every descriptor open."""
    descendant = os.fork()
    if descendant == 0:
        os.setsid()
        time.sleep(2 * PATIENCE_S)
        os._exit(0)
    file.write_text(str(descendant))
    os._exit(7)


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_one_child_per_slot_is_kept_until_it_dies() -> None:
    with Local(slots=1) as executor:
        first, second = (executor.submit(os.getpid).result() for _ in range(2))
        assert first == second != os.getpid()
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: not psutil.pid_exists(first) or psutil.Process(first).status() == "zombie")
        assert executor.submit(os.getpid).result() not in (first, os.getpid())  # it died idle: no trial is lost


def test_nothing_is_left_after_shutdown() -> None:
    before, open_files = set(psutil.Process().children()), psutil.Process().num_fds()
    with Local(slots=2) as executor:
        executor.submit(os._exit, 1).exception()
        for future in [executor.submit(nap, 0.1) for _ in range(2)]:
            future.result()
    assert set(psutil.Process().children()) == before
    assert psutil.Process().num_fds() == open_files


def test_shutdown_without_waiting_lets_work_finish() -> None:
    executor = Local(slots=1)
    future = executor.submit(nap, 0.3)
    executor.shutdown(wait=False)
    assert not future.done()
    assert future.result(PATIENCE_S)


def test_an_exception_in_the_block_ends_what_runs() -> None:
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError), Local(slots=1) as executor:  # noqa: PT012
        future = executor.submit(time.sleep, PATIENCE_S)
        raise ZeroDivisionError
    assert future.done() and time.monotonic() - began < PATIENCE_S / 4


def test_limits_of_the_call_come_before_those_of_the_executor() -> None:
    with Local(slots=1, timeout_s=0.3) as executor:
        with pytest.raises(TimeoutError):
            executor.submit(time.sleep, 5).result()
        executor.submit(Limited(time.sleep, 0.6, Limits(timeout_s=5))).result()
        with pytest.raises(TimeoutError):
            executor.submit(Limited(time.sleep, 5, Limits())).result()


def test_imports_do_not_count_against_the_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.8)\ndef one(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    one = importlib.import_module("slow_to_import").one
    with Local(slots=1, timeout_s=0.5) as executor:
        assert executor.submit(one).result(PATIENCE_S) == 1


def test_memory_of_descendants_counts_and_they_are_killed_too() -> None:
    def family() -> set[psutil.Process]:
        return set(psutil.Process().children(recursive=True))

    others = family()  # of earlier tests, e.g. a resource tracker
    with Local(slots=1, memory_gb=0.25) as executor:
        with pytest.raises(MemoryExceeded):
            executor.submit(swell_by_proxy).result(PATIENCE_S)
        assert eventually(lambda: not family() - others)


def test_a_death_is_seen_although_a_descendant_holds_the_connection(tmp_path: Path) -> None:
    with Local(slots=1) as executor, pytest.raises(WorkerCrashed, match="exit code 7"):
        executor.submit(fork_and_die, tmp_path / "descendant").result(PATIENCE_S)
    with suppress(ProcessLookupError):  # killed with it, where somebody adopts it
        os.kill(int((tmp_path / "descendant").read_text()), signal.SIGKILL)


def test_torch_keeps_to_its_threads() -> None:
    with Local(slots=1, threads=2) as executor:
        assert executor.submit(torch_threads).result(PATIENCE_S) == 2


def test_output_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "workers.log"
    with Local(slots=1, log=log) as executor:
        executor.submit(print, "on the way").result()
        executor.submit(os._exit, 1).exception()
        executor.submit(print, "after a death").result()
    assert log.read_text().split("\n") == ["on the way", "after a death", ""]


def shout() -> int:
    for _ in range(2000):
        print("a line that the disk does not take")
        print("nor this one", file=sys.stderr)
    return 7


def test_no_trial_fails_over_a_log_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where the folder should be")
    with Local(slots=1, log=tmp_path / "file" / "trials.log") as executor:
        assert executor.submit(shout).result(PATIENCE_S) == 7


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_no_trial_fails_over_a_log_that_is_full() -> None:
    with Local(slots=1, log=Path("/dev/full")) as executor:
        assert executor.submit(shout).result(PATIENCE_S) == 7


def test_a_worker_that_cannot_be_started_is_no_crash_of_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with Local(slots=1) as executor:
        with monkeypatch.context() as patched:
            patched.setattr(subprocess, "Popen", refuse)
            with pytest.raises(NotBegun, match=r"cannot start a worker on .*: .*temporarily unavailable"):
                executor.submit(nap, 0.0).result(PATIENCE_S)
        executor.submit(nap, 0.0).result(PATIENCE_S)


def test_default_slots_share_the_cores() -> None:
    assert Local().slots == len(own_cores())
    assert Local(threads=10_000).slots == 1


@pytest.mark.parametrize(
    "options", [{"slots": 0}, {"timeout_s": 0.0}, {"memory_gb": -1.0}, {"threads": 0}, {"timeout_s": float("nan")}]
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Local(**options)  # type: ignore[arg-type]


def test_a_child_of_a_rank_does_not_pass_for_a_rank() -> None:
    outer = {"HOME": "/h", "PMIX_RANK": "1", "OMPI_COMM_WORLD_RANK": "1", "PMI_RANK": "1", "OMP_NUM_THREADS": "64"}
    inner = environment({**outer, "OMPI_ALLOW_RUN_AS_ROOT": "1"}, threads=3)
    assert inner["HOME"] == "/h" and inner["OMP_NUM_THREADS"] == "3" and inner["OMPI_ALLOW_RUN_AS_ROOT"] == "1"
    assert not {"PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"} & inner.keys()


def test_a_user_s_settings_for_mpi_reach_the_child() -> None:
    assert environment({"OMPI_MCA_btl": "self"}, threads=1)["OMPI_MCA_btl"] == "self"


USE = "from matloop.hpc.local import Local\nwith Local(slots=1) as executor:\n    print(executor.submit({}).result())\n"


def test_works_from_the_command_line(tmp_path: Path) -> None:
    done = run(sys.executable, "-c", USE.format("abs, -3"), cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_functions_of_a_shell_are_refused_with_the_remedy(tmp_path: Path) -> None:
    done = run(sys.executable, "-c", "def cube(x): return x**3\n" + USE.format("cube, 3"), cwd=tmp_path)
    assert done.returncode == 1 and "define it in a file" in done.stderr


def test_works_from_a_script_without_guard(tmp_path: Path) -> None:
    """A console script is one, too."""
    (tmp_path / "helper.py").write_text("def cube(x): return x**3\n")
    (tmp_path / "tool").write_text("from helper import cube\nprint('once')\n" + USE.format("cube, 3"))
    done = run(sys.executable, tmp_path / "tool", cwd=tmp_path.parent)
    assert (done.stdout, done.stderr) == ("once\n27\n", "")


def test_works_with_functions_of_a_guarded_script(tmp_path: Path) -> None:
    guarded = f"if __name__ == '__main__':\n{textwrap.indent(USE.format('cube, Number(3)'), '    ')}"
    (tmp_path / "script.py").write_text(
        "class Number(int): pass\ndef cube(x): assert type(x) is Number; return Number(x**3)\n" + guarded
    )
    done = run(sys.executable, tmp_path / "script.py", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("27\n", "")


def test_functions_of_an_unguarded_script_are_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("def cube(x): return x**3\n" + USE.format("cube, 3"))
    done = run(sys.executable, tmp_path / "script.py", cwd=tmp_path)
    assert done.returncode == 1 and 'if __name__ == "__main__":' in done.stderr


MANAGER = """
import os, signal, sys, time
from matloop.hpc.local import Local
from {module} import {function}
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have it ignored by what runs in the background
executor = Local(slots=1)
print(executor.submit(os.getpid).result(), flush=True)
future = executor.submit({function})
while True:
    try:
        print(future.result(), flush=True)
        break
    except KeyboardInterrupt:
        print("interrupted", flush=True)
executor.shutdown()
"""


def start_manager(function: Callable[[], object]) -> tuple[subprocess.Popen[str], int]:
    """Start a process that runs `function` in a child; returns it and the child's process id once that has begun."""
    program = MANAGER.format(module=function.__module__, function=function.__name__)
    manager = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert manager.stdout is not None
    child = int(manager.stdout.readline())
    assert manager.stdout.readline() == "begun\n"
    return manager, child


def run_a_program(seconds: float = 2 * PATIENCE_S) -> str:
    with subprocess.Popen(["sleep", str(seconds)]) as program:
        print("begun")
        return "finished" if program.wait() == 0 else "killed"


def run_a_short_program() -> str:
    return run_a_program(1.5)


def compute() -> None:
    print("begun")
    hold_the_lock()


def test_ctrl_c_leaves_running_trials_and_their_programs_alone() -> None:
    manager, _ = start_manager(run_a_short_program)
    os.killpg(manager.pid, signal.SIGINT)
    out, _ = manager.communicate(timeout=PATIENCE_S)
    assert out.split() == ["interrupted", "finished"]


def test_without_groups_nothing_survives_a_killed_manager_either(monkeypatch: pytest.MonkeyPatch) -> None:
    no_groups = "from matloop.hpc import process\nfrom matloop.orchestrator import processes\n"
    no_groups += "process.POSIX = processes.POSIX = False"
    monkeypatch.setitem(globals(), "MANAGER", f"{no_groups}\n{MANAGER}")
    manager, child = start_manager(run_a_program)
    family = [psutil.Process(child), *psutil.Process(child).children()]
    assert [p.name() for p in family[1:]] == ["sleep"]
    manager.kill()
    manager.communicate(timeout=PATIENCE_S)  # what survived would hold the output open, and for longer
    assert eventually(lambda: not any(p.is_running() and p.status() != "zombie" for p in family))


@pytest.mark.parametrize("function", [run_a_program, compute])
def test_nothing_survives_a_killed_manager(function: Callable[[], object]) -> None:
    manager, child = start_manager(function)
    family = [psutil.Process(child), *psutil.Process(child).children()]
    assert [p.name() for p in family[1:]] == (["sleep"] if function is run_a_program else [])
    manager.kill()
    manager.communicate(timeout=PATIENCE_S)  # what survived would hold the output open, and for longer
    assert eventually(lambda: not any(p.is_running() and p.status() != "zombie" for p in family))
