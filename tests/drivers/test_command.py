"""Command: templates in, numbers out, and what happens when the program misbehaves."""

from __future__ import annotations

import os
import pickle
import sys
import time
import traceback
from pathlib import Path

import psutil
import pytest

from matloop.drivers import command as command_driver
from matloop.drivers.command import Command, split
from matloop.drivers.parsing import CommandFailed, Output, read
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.testing.driver import DriverContract

SUM = "import json; d = json.load(open('in.json')); json.dump({'r': {'sum': [d['a'] + d['b']]}}, open('o.json', 'w'))"


def trial(**point: object) -> Trial:
    return Trial(id=3, study="s", number=2, point=point, seed=11)


def python(code: str, **options: object) -> Command:
    given: dict[str, object] = {"run": [sys.executable, "-c", code], "output": {"y": Output(regex=r"^y=(\S+)")}}
    return Command(**{**given, **options})  # type: ignore[arg-type]


class TestContract(DriverContract):
    @pytest.fixture
    def driver(self) -> Command:
        return python("print('y={{a}}')", keep="none")

    @pytest.fixture
    def trial(self) -> Trial:
        return trial(a=1.5)

    @pytest.fixture
    def objectives(self) -> tuple[Objective, ...]:
        return (Objective("y"),)


def test_template_to_json_round_trip(tmp_path: Path) -> None:
    driver = python(
        SUM,
        inputs={"in.json": '{"a": {{a}}, "b": {{point["b"]}}}'},
        output={"total": Output(json="o.json", key="r.sum.0")},
        artifacts=["in.json"],
        scratch=tmp_path,
    )
    measured = pickle.loads(pickle.dumps(driver))(trial(a=1.25, b=2))
    assert isinstance(measured, Measurement)
    assert measured.values == {"total": 3.25}
    assert measured.artifacts == {"in.json": b'{"a": 1.25, "b": 2}'}
    assert list(tmp_path.iterdir()) == []


def test_template_files_and_plain_files(tmp_path: Path) -> None:
    (tmp_path / "model.in.j2").write_text("T = {{temperature}}\nseed = {{trial.seed}}\n")
    (tmp_path / "table.dat").write_text("{{left alone}}")
    driver = python(
        "print('y=' + open('model.in').read().split()[2]); print(open('table.dat').read())",
        templates=[tmp_path / "model.in.j2"],
        files=[tmp_path / "table.dat"],
        scratch=tmp_path / "work",
        keep="all",
    )
    measured = driver(trial(temperature=900.5))
    assert measured.values == {"y": 900.5}
    folder = Path(measured.info["folder"])
    assert (folder / "model.in").read_text() == "T = 900.5\nseed = 11\n"
    assert "{{left alone}}" in (folder / "stdout.txt").read_text()


def test_a_value_cannot_become_more_than_one_argument(tmp_path: Path) -> None:
    code = "import sys; print('y=%d' % len(sys.argv)); print(sys.argv[1])"
    evil = "a b; echo y=99 #'\""
    for shell in (False, True):
        driver = python(
            code, run=f'{sys.executable} -c "{code}" {{{{ text }}}}', shell=shell, scratch=tmp_path, keep="all"
        )
        measured = driver(trial(text=evil))
        assert measured.values == {"y": 2}
        assert Path(measured.info["folder"], "stdout.txt").read_text().splitlines()[1] == evil


def test_split_leaves_placeholders_whole() -> None:
    assert split("prog -t {{ t * 2 }} 'a {{ b }}'x") == ["prog", "-t", "{{ t * 2 }}", "a {{ b }}x"]
    with pytest.raises(ConfigError, match="close the quotes"):
        split("prog 'a")


def test_shell_pipes() -> None:
    driver = Command(run="echo 1 y={{y}} | cut -d' ' -f2", shell=True, output={"y": Output(regex="y=(.*)")})
    assert driver(trial(y=4)).values == {"y": 4}


def test_failure_names_exit_code_last_line_and_folder(tmp_path: Path) -> None:
    driver = python("import sys; print('one\\ntwo', file=sys.stderr); sys.exit(7)", scratch=tmp_path)
    with pytest.raises(CommandFailed, match="exit code 7: two") as caught:
        driver(trial())
    shown = "".join(traceback.format_exception(caught.value))
    (folder,) = tmp_path.iterdir()
    assert "one\ntwo" in shown and str(folder) in shown
    assert str(folder) not in str(caught.value)  # equal failures have equal messages


@pytest.mark.parametrize(
    ("end", "cause", "read"),
    [
        ("sys.exit(3)", "exception", {"y": 2.5}),
        ("os.abort()", "exception", {"y": 2.5}),
        ("print('z: 1')", None, None),
        ("pass", "exception", {"y": 2.5}),
    ],
)
def test_what_a_program_had_measured_is_kept_with_its_failure(
    end: str, cause: str | None, read: object, tmp_path: Path
) -> None:
    code = f"import os, sys; print('y: 2.5', flush=True); {end}"
    output = {name: Output(regex=rf"^{name}: ([-.\d]+)") for name in ("y", "z")}
    driver = python(code, output=output, keep="none")
    conditions = Conditions(driver=driver, objectives=(Objective("y"), Objective("z")), artifacts=tmp_path)
    answer = Evaluation(conditions, trial())()
    assert (answer.failure.cause if answer.failure else None) == cause
    assert answer.info.get("read") == read
    assert answer.values == (None if cause else {"y": 2.5, "z": 1.0})


def test_what_a_program_had_measured_is_kept_when_it_does_not_end(tmp_path: Path) -> None:
    (tmp_path / "y.txt").write_text("2.5")
    output = {"y": Output(regex=".+", file="y.txt")}
    driver = python("", output=output, files=[tmp_path / "y.txt"], keep="none", run="sleep 600", timeout_s=0.1)
    conditions = Conditions(driver=driver, objectives=(Objective("y"),), artifacts=tmp_path)
    answer = Evaluation(conditions, trial())()
    assert answer.failure and answer.failure.cause == "timeout" and answer.info == {"read": {"y": 2.5}}


def test_killed_program_names_its_signal() -> None:
    with pytest.raises(CommandFailed, match="SIGSEGV"):
        python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", keep="none")(trial())


def test_time_limit_kills_the_whole_family(tmp_path: Path) -> None:
    code = "import os, time; print(os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '60'), flush=True); time.sleep(60)"
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="timeout_s = 3 s"):
        python(code, timeout_s=3, scratch=tmp_path)(trial())
    assert time.monotonic() - began < 50
    pid = int(next(tmp_path.iterdir()).joinpath("stdout.txt").read_text())
    for _ in range(1200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the program's child lives on")


def test_missing_program_and_missing_value() -> None:
    with pytest.raises(CommandFailed, match="cannot start 'no-such-program'"):
        Command(run="no-such-program", output={"y": Output(regex="y")}, keep="none")(trial())
    with pytest.raises(CommandFailed, match=r"'temprature' is undefined; the point has temperature"):
        python("", inputs={"a": "{{temprature}}"}, keep="none")(trial(temperature=1))


@pytest.mark.parametrize(
    ("spec", "content", "expected"),
    [
        (Output(regex=r"E = (\S+)", file="f"), "E = 1\nE = -2.5e-3 eV\n", -2.5e-3),
        (Output(regex=r"^\d+$", file="f"), "a\n17\n", 17.0),
        (Output(json="f", key="a.1.b"), '{"a": [0, {"b": 4}]}', 4.0),
        (Output(json="f"), '{"q": 5}', 5.0),
        (Output(csv="f", column="loss"), "epoch,loss\n1,0.5\n2,0.25\n", 0.25),
        (Output(csv="f"), "epoch, q\n1, 0.5\n", 0.5),
    ],
)
def test_reading(spec: Output, content: str, expected: float, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(content)
    assert read("q", spec, tmp_path) == expected


@pytest.mark.parametrize(
    ("spec", "content", "text"),
    [
        (Output(regex="E", file="g"), "", "cannot read 'g'"),
        (Output(regex="E=(.*)", file="f"), "F=1", "nothing in 'f' matches"),
        (Output(regex="E=(.*)", file="f"), "E=nan", "expected a finite number"),
        (Output(json="f", key="a.c"), '{"a": {"b": 1}}', "no 'c' in 'f', which has b"),
        (Output(json="f"), "{", "is not JSON"),
        (Output(json="f"), '{"q": "high"}', "expected a number in 'f', got 'high'"),
        (Output(json="f"), '{"q": true}', "expected a number in 'f', got True"),
        (Output(json="f"), '{"q": 1e101}', r"expected a finite number, at most 1e\+100, got 1e\+101 in 'f'"),
        (Output(csv="f"), "a,b\n", "no rows"),
        (Output(csv="f"), "a,b\n1,2\n", "no column 'q' in 'f', which has a, b"),
    ],
)
def test_unreadable(spec: Output, content: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(content)
    with pytest.raises(CommandFailed, match=text):
        read("q", spec, tmp_path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"output": {"y": Output()}}, "expected one of regex, json and csv, got none"),
        ({"output": {"y": Output(regex="(")}}, "not a regular expression"),
        ({"output": {"y": Output(regex="a", key="b")}}, "'key' does not go with 'regex'"),
        ({"inputs": {"f": "{{ a"}}, "f, line 1 of the template"),
        ({"inputs": {"../f": "a"}}, "inside the working folder"),
        ({"files": [Path("no-such-file")]}, "does not exist"),
        ({"shell": True}, "expected a string"),
        ({"timeout_s": 0.0}, "more than 0"),
    ],
)
def test_bad_options(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        python("", **options)


def test_environment_reaches_the_program() -> None:
    driver = python("import os; print('y=' + os.environ['LEVEL'])", environment={"LEVEL": "3"})
    assert driver(trial()).values == {"y": 3}
    assert "LEVEL" not in os.environ


@pytest.mark.parametrize("folder", [False, True])
def test_files_are_copied_where_links_are_a_privilege(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    given = tmp_path / "given"
    data = given / "data.txt" if folder else given
    data.parent.mkdir(exist_ok=True)
    data.write_text("42")
    source = "given/data.txt" if folder else "given"
    measured = python(f"print('y=' + open('{source}').read())", files=[given])(trial())
    assert measured.values == {"y": 42.0}


def test_backslashes_are_kept_where_they_separate_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    text = r'"C:\Program Files\sim.exe" {{ "a b" }} -in C:\lab\a.txt'
    monkeypatch.setattr(command_driver, "POSIX", False)
    assert split(text) == [r"C:\Program Files\sim.exe", '{{ "a b" }}', "-in", r"C:\lab\a.txt"]
