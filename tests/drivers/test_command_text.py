"""What a point holds stays data: whatever the command, the shell and the values, nothing of a value is run."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matloop.drivers.command import Command, _render, _template
from matloop.drivers.parsing import CommandFailed, Output
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.processes import POSIX
from matloop.orchestrator.trial import Trial

pytestmark = pytest.mark.skipif(not POSIX, reason="there is no /bin/sh")

Y = {"y": Output(regex="y=(.*)")}
EVIL = [
    "b; touch x",
    "$(touch x)",
    "`touch x`",
    "'; touch x; '",
    '"; touch x; "',
    "\n touch x\n",
    "\\'; touch x #",
    "${IFS}$(touch x)",
    "&& touch x",
    "| touch x",
    "> x",
    "EOF\ntouch x",
    "\n'; touch x",
    "~",
    "*",
    "x=$(touch x)",
    "!(touch x)",
    "",
    " ",
]


def trial(**point: object) -> Trial:
    return Trial(id=3, study="s", number=2, point=point, seed=11)


def shell(run: str, **options: object) -> Command:
    return Command(run=run, shell=True, output=Y, keep="none", **options)  # type: ignore[arg-type]


REFUSED = {
    "echo 'y={{x}}'": "single quotes",
    'echo "y={{x}}"': "double quotes",
    'prog --name="{{x}}" > y': "double quotes",
    "echo `basename {{x}}`": "backticks",
    'echo "`basename {{x}}`"': "backticks",
    "echo $(basename {{x}})": r"\$\(…\)",
    'echo "$(basename {{x}})"': r"\$\(…\)",
    'echo "$(basename "{{x}}")"': "double quotes",
    "echo $((1 + {{x}}))": r"\$\(…\)",
    "echo ${Y:-{{x}}}": r"\$\{…\}",
    "cat <<EOF\ny={{x}}\nEOF": "here-document",
    "cat <<-'EOF'\n\ty={{x}}\n\tEOF": "here-document",
    "cat << EOF; echo a\n'\n{{x}}\nEOF": "here-document",
    "cat <<{{x}}\na\n": "no plain end",
    "true # {{x}}": "a comment",
    "true;# it's {{x}}": "a comment",
    "echo \\{{x}}": "a backslash",
    "echo a\\\\\\{{x}}": "a backslash",
    "echo ${{x}}": r"a \$",
    "echo ~{{x}}": "a ~",
    "echo $'a' {{x}}": "differently",
    "echo {% if x %}\"{% endif %} {{x}} {% if x %}\"{% endif %}": "not every branch|double quotes",
    "echo {% if x %}#a{% endif %} {{x}}": "right after|comment",
    "eval prog {{x}}": "run as a command",
    "true && eval {{x}}": "run as a command",
    "A=1 . {{x}}": "run as a command",
    "sh -c {{x}}": "run as a command",
    "/bin/bash -ec {{x}}": "run as a command",
    "command eval prog {{x}}": "run as a command",
    '"eval" prog {{x}}': "run as a command",
    "sh -o errexit -c {{x}}": "run as a command",
    "sh -c -e {{x}}": "run as a command",
    "'sh' -c {{x}}": "run as a command",
    "\\sh \\\n -c {{x}}": "run as a command",
    "bash <<< {{x}}": "run as a command",
    "echo {{x}} | sh": "run as a command",
    "printf %s {{x}} | /bin/sh -s && true": "run as a command",
    "sh -c 'prog {{x}}'": "single quotes",
    "echo \"$(case a in a) echo \"{{x}}\";; esac)\"": "case|double quotes|single",
    "echo 'it'\\''s {{x}}'": "single quotes",
    "echo \"a\\\" {{x}}\"": "double quotes",
}  # fmt: skip


@pytest.mark.parametrize("run", REFUSED)
def test_a_value_that_cannot_be_quoted_is_refused(run: str) -> None:
    with pytest.raises(ConfigError, match=REFUSED[run]) as caught:
        shell(run)
    assert "environment" in str(caught.value) and caught.value.problems[0].place == ("run",)


TAKEN = [
    "printf %s '{% if x %}a' {{x}}'{% endif %}' > out",
    "printf %s {{x}} > out",
    "printf %s a={{x}} > out",
    "printf %s {{x}}b{{x}} > out",
    "printf '%s' {{x}} > \"out\"",
    "printf %s 'it'\\''s'{{x}} > out",
    'printf %s "a\\"b"{{x}} > out',
    "printf %s \\\\{{x}} > out",
    "printf %s \\${{x}} > out",
    "printf %s '#'{{x}} >out # and so on",
    "printf %s a#{{x}} > out",
    "cat <<EOF >/dev/null\nit's\nEOF\nprintf %s {{x}} > out",
    "cat <<-'E O' >/dev/null; printf %s {{x}} > out\n\t'\n\tE O\n",
    "printf %s $(echo 'a)b') \"$(echo \"c)\")\" `echo \"d'\"` {{x}} > out",
    "printf %s $(( (1 + 2) << 3 )) {{x}} > out",
    "A=\"it's\" && (printf %s {{x}}) > out || { true; }",
    "printf %s {% if x %}'a b'{% else %}\"c\"{% endif %}{{x}} > out",
    'printf %s "{% if x %}a{% else %}b{% endif %}"{{x}} > out',
    "for i in {{x}}; do printf %s \"$i\" > out; done",
    "sh -c 'printf %s \"$1\" > out' sh {{x}}",
    "printf %s {{x}} | sh -c cat > out",
    "printf %s {{x}} | cat > out",
    "echo $HOME \"$HOME\" ${HOME} > out; printf %s {{x}} >> out",
    "printf %s {{x|upper}}{# a 'comment' #} > out",
    "{% for c in [1, 2] %}printf %s {{x}}{{c}} >> out; {% endfor %}",
    "echo 'eval this' {{x}} > out",
]  # fmt: skip


@pytest.mark.parametrize("run", TAKEN)
def test_a_bare_value_is_data_whatever_it_holds(run: str, tmp_path: Path) -> None:
    driver = shell(f"{run}\n[ -e x ] && echo y=1 || echo y=0")
    for evil in EVIL[TAKEN.index(run) % 4 :: 4]:
        assert driver(trial(x=evil)).values == {"y": 0.0}, evil  # type: ignore[union-attr]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
def test_a_bare_value_arrives_as_it_is(tmp_path: Path, value: str) -> None:
    out = tmp_path / "out"
    shell(f"printf %s {{{{x}}}} > {out}; printf '|%s' \"$X\" >> {out}; echo y=0", environment={"X": "{{x}}"})(
        trial(x=value)
    )
    assert out.read_bytes() == f"{value}|{value}".encode()


PIECES = ["'", '"', "\\", "`", "$", "(", ")", "{", "}", "#", " ", "\n", "a", "<", "<<E", "\nE\n", ";", "~", "{{x}}"]


@settings(deadline=None, max_examples=80)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(EVIL))
def test_whatever_is_taken_runs_nothing_of_a_value(pieces: list[str], evil: str) -> None:
    """Held against the shell itself: a command that is taken does the same with any value as with a harmless one."""
    text = "".join(pieces)
    try:
        driver = shell(f": {text}\n")
    except ConfigError:
        return
    filled = _render(_template(driver.run[0], True, "run"), {"x": evil, "point": {}}, "run")
    for program in {str(Path("/bin/sh").resolve()), "/bin/bash"}:
        if Path(program).exists():
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([program, "-c", filled], cwd=folder, capture_output=True, timeout=60)
                assert not Path(folder, "x").exists(), (program, filled)


@pytest.mark.parametrize(
    "run",
    [
        ["sh", "-c", "prog {{x}}"],
        ["bash", "-e", "-c", "prog '{{x}}'"],
        ["env", "A=1", "/bin/dash", "-ec", "prog {{x}} > out"],
        "bash -c 'prog {{x}}'",
    ],
)
def test_a_shell_among_the_arguments_is_no_way_around(run: str | list[str]) -> None:
    with pytest.raises(ConfigError, match="makes a command of") as caught:
        Command(run=run, output=Y)
    assert caught.value.problems[0].place == ("run",)
    handed_over = Command(
        run=["sh", "-c", 'printf y=%s "$1" > out; cat out', "sh", "{{x}}"], output={"y": Output(regex="y=(.)")}
    )
    assert handed_over(trial(x="3; touch x")).values == {"y": 3.0}  # type: ignore[union-attr]


def test_variables_are_templates_too() -> None:
    driver = shell('echo "y=$LEVEL"; echo "$NAME" > name; [ "$NAME" = "a b\'c" ]', environment={
        "LEVEL": "{{level + 1}}", "NAME": "{{name}}",
    })  # fmt: skip
    assert driver(trial(level=2, name="a b'c")).values == {"y": 3.0}  # type: ignore[union-attr]
    with pytest.raises(CommandFailed, match="'nothing' is undefined"):
        shell("true", environment={"A": "{{nothing}}"})(trial())
    for environment, message in (({"A": "{{ a"}, "A, line 1"), ({"A=B": "1"}, "names of environment variables")):
        with pytest.raises(ConfigError, match=message) as caught:
            shell("true", environment=environment)
        assert caught.value.problems[0].place[0] == "environment"


def test_a_value_that_no_argument_can_hold_fails_its_trial() -> None:
    with pytest.raises(CommandFailed, match="holds what no argument can"):
        Command(run=["echo", "{{x}}"], output=Y, keep="none")(trial(x="a\0b"))


CAMPAIGN = """\
name: pool
studies:
  s:
    space: {kind: pool, csv: cells.csv}
    driver: {kind: command, shell: true, run: "echo 'y=1 {{name}}'", output: {y: {regex: 'y=(.)'}}}
    strategy: random
    objectives: {y: maximise}
    budget: {trials: 1}
"""


def test_a_cell_of_a_table_is_not_run(tmp_path: Path) -> None:
    """With quotes around the placeholder it was; `validate` refuses that, and says what works."""
    (tmp_path / "cells.csv").write_text("name\nb; touch x\nc\n")
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN)
    with pytest.raises(ConfigError, match=r"\{\{name\}\} stands inside single quotes") as caught:
        validate(load(path))
    assert "campaign.yaml:5:" in str(caught.value)
    path.write_text(CAMPAIGN.replace("'y=1 {{name}}'", "y=1 {{name}}"))
    validate(load(path))
