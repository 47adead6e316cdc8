"""Where a campaign file and its results are, wherever one stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import matloop.campaigns
from matloop.orchestrator.composition.config import Config, load
from matloop.orchestrator.composition.files import campaign_file
from matloop.orchestrator.composition.places import directory_of, slug
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.ledger import Ledger

SHIPPED = Path(matloop.campaigns.__file__).parent
TEXT = """\
name: Small One
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: manual
    objectives: {y: minimise}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A campaign file in `lab`; the working directory is `elsewhere`."""
    for name in ("lab", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = tmp_path / "lab" / "lab.yaml"
    path.write_text(TEXT)
    return path


def record(directory: Path, of: Path | None) -> None:
    environment = {} if of is None else {"campaign_file": str(of.resolve())}
    Ledger.open(directory / "ledger.db", config={}, environment=environment).close()


def results(given: Path | str) -> Path:
    return directory_of(load(Path(given))).resolve()


def test_beside_the_file_from_anywhere(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = file.parent / "runs" / "small-one"
    assert results(file) == expected and results("../lab/lab.yaml") == expected
    assert directory_of(load(Path("../lab/lab.yaml"))) == Path("../lab/runs/small-one")  # as it was given, to be shown
    monkeypatch.chdir(file.parent)
    assert results("lab.yaml") == expected and directory_of(load(Path("lab.yaml"))) == Path("runs/small-one")
    monkeypatch.setenv("HOME", str(file.parent))
    assert results("~/lab.yaml") == expected
    assert campaign_file("~nobody-of-this-name/lab.yaml") == Path("~nobody-of-this-name/lab.yaml")


def test_a_folder_that_is_given_counts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert directory_of(load(file), Path("out")) == Path("out")
    assert directory_of(load(file), Path("~/out")) == Path("/home/ada/out")


def test_a_link_stands_for_the_file(file: Path) -> None:
    link = Path("link.yaml")
    link.symlink_to(file)
    expected = file.parent / "runs" / "small-one"
    assert results(link) == expected and load(link).folder == file.parent
    folder = Path("folder")
    folder.symlink_to(file.parent)
    assert results(folder / "lab.yaml") == expected
    record(Path(), file)  # the link lies in the folder of results
    assert results(link) == Path.cwd()


def test_a_ledger_beside_the_file_is_its_own(file: Path) -> None:
    record(file.parent, file)
    assert results(file) == file.parent
    Path("link.yaml").symlink_to(file)
    assert results("link.yaml") == file.parent


@pytest.mark.parametrize("of", ["this file", "a file that is gone", "nobody knows"])
def test_a_record_in_the_working_directory_is_not_started_over(file: Path, of: str) -> None:
    """As it was made before results were kept beside the file."""
    here = Path("runs/small-one")
    record(here, {"this file": file, "a file that is gone": file.with_name("old.yaml"), "nobody knows": None}[of])
    with pytest.raises(ConfigError, match=r"move the folder there, or give it with --dir") as caught:
        results(file)
    assert str(here.absolute()) in str(caught.value) and str(file.parent / "runs/small-one") in str(caught.value)
    assert directory_of(load(file), here) == here
    beside = file.parent / here
    beside.parent.mkdir()
    here.rename(beside)
    assert results(file) == beside
    record(here, file)  # two of them: the one beside the file counts
    assert results(file) == beside


def test_somebody_elses_record_in_the_working_directory_is_left_alone(file: Path) -> None:
    Path("lab.yaml").write_text(TEXT)
    record(Path("runs/small-one"), Path("lab.yaml"))
    assert results("lab.yaml") == Path("runs/small-one").absolute()
    assert results(file) == file.parent / "runs/small-one"
    Path("runs/small-one/ledger.db").unlink()
    Path("runs/small-one").joinpath("report.html").touch()
    assert results(file) == file.parent / "runs/small-one"


@pytest.mark.parametrize(("name", "folder"), [("quickstart", "light-absorbing-composites"), ("lab", "furnace")])
def test_shipped_campaigns_go_by_name_and_write_where_one_stands(file: Path, name: str, folder: str) -> None:
    config = load(Path(name))
    assert config.path.samefile(SHIPPED / f"{name}.yaml")
    assert directory_of(config) == Path("runs") / folder
    relative = Path(os.path.relpath(SHIPPED / f"{name}.yaml"))
    assert directory_of(load(relative)) == Path("runs") / folder


def test_a_file_of_that_name_goes_before_a_shipped_campaign(file: Path) -> None:
    Path("lab").write_text(TEXT)
    config = load(Path("lab"))
    assert config.name == "Small One" and directory_of(config) == Path("runs/small-one")


@pytest.mark.parametrize("name", ["lab.yaml", "here/lab", "laboratory", "../lab", "__init__"])
def test_nothing_else_is_taken_for_a_shipped_campaign(file: Path, name: str) -> None:
    assert campaign_file(name) == Path(name)
    with pytest.raises(ConfigError):
        load(Path(name))


def test_slug() -> None:
    assert slug("Light-absorbing composites, 2!") == "light-absorbing-composites-2"
    assert slug("///") == "campaign"


def test_a_campaign_read_back_from_a_ledger_has_its_place_too(file: Path) -> None:
    config = Config.from_record(load(file).model_dump(mode="json"), file)
    assert directory_of(config) == file.parent / "runs/small-one"
