"""Row: the tests marked `gpu`; where there is no GPU, only whether they can be collected."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from device.row import Figure, Row, Setting

ROOT = Path(__file__).parents[2]
MARK = "mark.gpu"


def measure(setting: Setting) -> Iterator[Figure]:
    """Run them as they are, in a process of their own."""
    files = [str(f.relative_to(ROOT)) for f in sorted(ROOT.glob("tests/**/test_*.py")) if MARK in f.read_text("utf-8")]
    report = setting.folder / "tests.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-o",
        "addopts=",
        "-o",
        "filterwarnings=default",
        "-p",
        "no:cacheprovider",
    ]
    command += ["--import-mode=importlib", "--strict-markers", "-m", "gpu", "--continue-on-collection-errors"]
    command += [f"--junitxml={report}", "--tb=short", *files]
    if setting.device == "cpu":
        done = subprocess.run([*command, "-q", "--collect-only"], cwd=ROOT, capture_output=True, text=True)
        print(done.stdout, done.stderr)
        names = [line for line in done.stdout.splitlines() if "::" in line and not line.startswith("ERROR")]
        yield Figure("tests_collected", len(names), "tests", "they need a GPU to run")
        yield Figure("tests_unreadable", done.stdout.count("ERROR collecting"), "files")
        return
    subprocess.run([*command, "-v"], cwd=ROOT)  # named one by one, should it be killed
    yield from counted(report.read_text("utf-8"))


def counted(report: str) -> Iterator[Figure]:
    """Figures from pytest's XML; tests that did not pass are named."""
    cases = list(ElementTree.fromstring(report).iter("testcase"))
    outcomes = {case: _outcome(case) for case in cases}
    for outcome in ("passed", "failed", "skipped"):
        names = [f"{c.get('classname')}::{c.get('name')}" for c, found in outcomes.items() if found == outcome]
        note = ", ".join(names) if outcome != "passed" else ""
        yield Figure(f"tests_{outcome}", len(names), "tests", note)


def _outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


ROW = Row("tests marked gpu", 90, ("torch", "pytest"), measure)
