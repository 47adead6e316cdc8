"""What every test leaves as it found it, and the command in the process of a test."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from matloop.orchestrator.job import ANNOUNCEMENTS

for _library in ("OMP", "OPENBLAS", "MKL"):  # read when a library is loaded; several files are tested side by side
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """`matloop run` ignores a scheduler's warnings until its process ends; within a test that process goes on."""
    before = {number: signal.getsignal(number) for number in ANNOUNCEMENTS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _the_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends its process at once where a fit is left behind; here that may be one of an earlier test."""
    monkeypatch.setattr("matloop.orchestrator.cli.main._leave", lambda code: None)


@pytest.fixture
def matloop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command with these arguments; exit code, what it printed, and what it complained about."""
    from matloop.orchestrator.cli import main as cli

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["matloop", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        shown = capsys.readouterr()
        return int(caught.value.code or 0), shown.out, shown.err

    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium. For a module: its event loop would be in the way of other tests in this thread."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra 'dev'")
    path = os.environ.get("MATLOOP_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine; install it, or name it in MATLOOP_CHROMIUM")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True, scope="session")
def _data_are_cached_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's folder of caches is nothing to tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MATLOOP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test printed travels from the process that ran it in UTF-8, which has no halves of surrogate pairs."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report
