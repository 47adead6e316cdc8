"""What the ranks of a parallel job say when something is wrong: each its own, and once what all of them find."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from matloop.orchestrator.cli import main as cli
from matloop.orchestrator.composition import opening
from matloop.orchestrator.errors import MissingExtra
from matloop.orchestrator.job import RANK, SIZE


def said(arguments: list[str], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys) -> tuple[int, str]:
    """Exit code and what is written to standard error."""
    for name in (*RANK, *SIZE):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["matloop", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert isinstance(end.value.code, int)
    return end.value.code, " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", RANK)
def test_a_rank_says_its_own_error_and_who_it_is(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that one node does not see, while rank 0 does."""
    file = str(tmp_path / "absent.yaml")
    code, alone = said(["run", file], {}, monkeypatch, capsys)
    assert code == 2 and "absent.yaml" in alone and "rank 0" not in alone
    assert said(["run", file], {name: "0"}, monkeypatch, capsys) == (2, alone)
    of_rank = alone.replace("error: ", f"error: rank 3 on {socket.gethostname()}: ")
    assert said(["run", file], {name: "3"}, monkeypatch, capsys) == (2, of_rank)


@pytest.mark.parametrize(("rank", "everywhere", "times"), [("0", True, 1), ("3", True, 0), ("3", False, 1)])
def test_what_all_ranks_find_is_said_by_one(
    rank: str,
    everywhere: bool,
    times: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        error = MissingExtra("onnx")
        error.everywhere = everywhere
        raise error

    monkeypatch.setattr(opening, "load", fail)
    code, err = said(["run", str(tmp_path / "c.yaml")], {"PMI_RANK": rank}, monkeypatch, capsys)
    assert code == 1 and err.count("'onnx'") == times
