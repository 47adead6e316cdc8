"""A campaign that is asked to predict makes a bundle of its best network, of whole and unchanged things only."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matloop.bundles import making
from matloop.orchestrator.bundle import is_bundle
from matloop.orchestrator.cli.commands.winner import FOLDER
from matloop.orchestrator.composition.opening import opened

pytestmark = pytest.mark.filterwarnings("default")  # of packages that are imported here for the first time

STUDY = """\
  {name}:
    space: {{kind: dense_network}}
    driver: {{kind: training, epochs: 1, data: {{kind: table, path: data.csv, target: y}}}}
    strategy: random
    budget: {{trials: 1}}
"""
BENCH = """\
  bench:
    space: {kind: box, parameters: {a: {type: float, low: 0, high: 1}}}
    driver: manual
    objectives: {hardness: maximise}
    strategy: random
"""
BUNDLE = Path("runs/demo") / FOLDER / "trial-0"


def searched(studies: str) -> None:
    """Data, and a campaign that has been run."""
    rng = np.random.default_rng(0)
    lines = [f"{a:.3f},{b:.3f},{a - b:.3f}" for a, b in rng.normal(size=(60, 2))]
    Path("data.csv").write_text("\n".join(["a,b,y", *lines]), encoding="utf-8")
    Path("new.csv").write_text("a,b\n0.1,0.2\n", encoding="utf-8")
    Path("c.yaml").write_text(f"name: demo\nexecutor: serial\nstudies:\n{studies}", encoding="utf-8")
    with opened(Path("c.yaml"), directory=None, accept_changes=False) as found:
        assert found is not None and found.campaign.run() == "finished"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def campaign() -> None:
    searched(STUDY.format(name="nets"))


def refused(matloop: Callable[..., tuple[int, str, str]], *arguments: Any) -> str:
    """What is said against it."""
    code, out, err = matloop("predict", *arguments)
    assert code in (1, 2) and "Traceback" not in err, out + err
    return err


@pytest.mark.usefixtures("campaign")
def test_which_network_predicts_is_said_each_time(matloop) -> None:
    for _ in range(2):
        code, out, err = matloop("predict", "runs/demo", "new.csv")
        assert code == 0 and f"the best network so far, trial 0 (nets): {BUNDLE}" in err and "new.csv, line 2" in out


@pytest.mark.usefixtures("campaign")
def test_data_that_have_changed_are_noticed(matloop) -> None:
    """Even where no test row has: a measurement that was trained on is another one."""
    content = Path("data.csv").read_text(encoding="utf-8")
    lines = content.splitlines()
    Path("data.csv").write_text("\n".join([*lines[:-1], lines[-1] + "5"]), encoding="utf-8")
    assert "have changed since: studies.nets.driver.data.path; put them back" in refused(matloop, "c.yaml", "new.csv")
    assert "have changed since" in matloop("export", "runs/demo", "--bundle", "best")[2] and not Path("best").exists()
    Path("data.csv").unlink()
    said = refused(matloop, "c.yaml", "new.csv")
    assert "the data are needed to make a bundle: " in said and "bundles made before" not in said
    Path("data.csv").write_text(content, encoding="utf-8")
    assert matloop("predict", "c.yaml", "new.csv")[0] == 0
    # Once it is made, it needs them no more; and is named where another one cannot be made.
    Path("data.csv").unlink()
    assert matloop("predict", "c.yaml", "new.csv")[0] == 0
    BUNDLE.rename(BUNDLE.with_name("trial-7"))
    assert "bundles made before, each of which predicts: trial-7" in refused(matloop, "c.yaml", "new.csv")


@pytest.mark.usefixtures("campaign")
def test_half_a_bundle_is_not_taken_for_a_whole_one(matloop) -> None:
    half = BUNDLE.parent / ".trial-0-abc" / "bundle"  # a command was killed
    half.mkdir(parents=True)
    (half / "card.json").write_text("{}", encoding="utf-8")
    assert matloop("predict", "c.yaml", "new.csv")[0] == 0 and is_bundle(BUNDLE)
    (BUNDLE / "network.py").unlink()
    said = refused(matloop, "c.yaml", "new.csv")
    assert "lacks network.py" in said and f"or remove {BUNDLE}, and it is made again" in said
    (BUNDLE / "card.json").unlink()
    said = refused(matloop, "c.yaml", "new.csv")
    assert f"expected a bundle in {BUNDLE}, got something else; remove it" in said
    shutil.rmtree(BUNDLE)
    assert matloop("predict", "c.yaml", "new.csv")[0] == 0


@pytest.mark.usefixtures("campaign")
def test_results_that_cannot_be_written_to(matloop) -> None:
    BUNDLE.parent.write_text("no folder", encoding="utf-8")
    said = refused(matloop, "runs/demo", "new.csv")
    assert f"cannot write {BUNDLE}: " in said and "`matloop export runs/demo --bundle FOLDER`" in said
    assert matloop("export", "runs/demo", "--bundle", "best")[0] == 0
    assert matloop("predict", "best", "new.csv")[0] == 0


@pytest.mark.usefixtures("campaign")
def test_exports_to_places_that_cannot_be(matloop) -> None:
    Path("empty").mkdir()
    Path("link").symlink_to("empty")
    for option, place in (
        *((option, "c.yaml/x") for option in ("--csv", "--network", "--bundle")),
        ("--bundle", "link"),
    ):
        code, _, err = matloop("export", "runs/demo", option, place)
        assert code == 1 and f"cannot write {place}: " in err, err
    assert matloop("export", "runs/demo", "--bundle", "empty")[0] == 0
    assert matloop("export", "runs/demo", "--bundle", "new/deep")[0] == 0
    assert not list(Path().glob(".*")) and [path.name for path in Path("new").iterdir()] == ["deep"]


@pytest.mark.usefixtures("campaign")
def test_two_commands_make_one_bundle(matloop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert matloop("export", "runs/demo", "--bundle", "other")[0] == 0
    write = making._Maker.write

    def overtaken(self: Any, *arguments: Any) -> Any:
        card = write(self, *arguments)
        shutil.copytree("other", BUNDLE)
        return card

    monkeypatch.setattr(making._Maker, "write", overtaken)
    code, out, err = matloop("predict", "runs/demo", "new.csv")
    assert code == 0 and "new.csv, line 2" in out, err
    assert [path.name for path in BUNDLE.parent.iterdir()] == ["trial-0"] and not (BUNDLE / "bundle").exists()


@pytest.mark.usefixtures("campaign")
def test_a_bundle_of_an_earlier_campaign_in_the_same_folder_is_not_taken(matloop) -> None:
    assert matloop("predict", "c.yaml", "new.csv")[0] == 0
    for file in Path("runs/demo").glob("ledger.db*"):
        file.unlink()
    content = Path("c.yaml").read_text(encoding="utf-8")
    Path("c.yaml").write_text(content.replace("epochs: 1", "epochs: 2"), encoding="utf-8")
    with opened(Path("c.yaml"), directory=None, accept_changes=False) as found:
        assert found is not None and found.campaign.run() == "finished"
    assert f"{BUNDLE} is of another network than trial 0" in refused(matloop, "c.yaml", "new.csv")


def test_which_study_is_meant(matloop) -> None:
    searched(STUDY.format(name="one") + STUDY.format(name="two") + BENCH)
    assert "expected one study that trained networks, got one, two; name one with --study" in refused(
        matloop, "c.yaml", "new.csv"
    )
    code, _, err = matloop("predict", "c.yaml", "new.csv", "--study", "two")
    assert code == 0 and "trial 1 (two)" in err
    said = refused(matloop, "c.yaml", "new.csv", "--study", "too")
    assert "there is no study 'too'" in said and "two" in said
    assert "expected one study that trained networks" in matloop("export", "runs/demo", "--network", "n")[2]
    # That of the people answers for itself: its points have other columns.
    assert "there is no such column" in refused(matloop, "c.yaml", "new.csv", "--study", "bench")
    for options, words in (
        (("new.csv", "--output", "x.csv"), "--output belongs to a network"),
        (("new.csv", "more.csv"), "expected one table of points"),
    ):
        said = refused(matloop, "c.yaml", *options, "--study", "bench")
        assert words in " ".join(said.replace("│", " ").split())


def test_a_campaign_that_was_not_run(matloop) -> None:
    Path("c.yaml").write_text("name: demo\nstudies:\n" + STUDY.format(name="nets"), encoding="utf-8")
    assert "no campaign has been run in runs/demo" in refused(matloop, "c.yaml", "new.csv", "--output", "x.csv")


def test_a_campaign_without_networks(matloop) -> None:
    """A function is measured, or the first training has not ended."""
    Path("f.py").write_text("def f(point):\n    return point['a']\n", encoding="utf-8")
    study = "  f:\n    space: {kind: box, parameters: {a: {type: float, low: 0, high: 1}}}\n"
    study += "    driver: {kind: python, path: 'f.py:f'}\n    objectives: {y: maximise}\n"
    searched(study + "    strategy: random\n    budget: {trials: 1}\n")
    assert "no trial has trained a network yet; `matloop status` shows" in refused(matloop, "c.yaml", "new.csv")


def test_a_function_of_ones_own_reads_new_inputs(matloop, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it may, and where its module is."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("my_reader.py").write_text(
        "import numpy as np\n\n\ndef read(new=None):\n"
        "    if new is not None:\n        return {'x': np.array([text.split(':') for text in new], dtype=float)}\n"
        "    x = np.random.default_rng(0).normal(size=(60, 2))\n    return {'x': x, 'y': x[:, 0]}\n",
        encoding="utf-8",
    )
    searched(STUDY.format(name="nets").replace("{kind: table, path: data.csv, target: y}", "{kind: 'my_reader:read'}"))
    assert "--own-code on the command line, lets it run" in refused(matloop, "c.yaml", "1:2")
    found = [entry for entry in sys.path if entry != str(Path.cwd())]
    for here in (True, False):
        monkeypatch.setattr(sys, "path", list(found))
        monkeypatch.delitem(sys.modules, "my_reader", raising=False)
        shutil.copytree(BUNDLE, Path("elsewhere/best"), dirs_exist_ok=True)
        if not here:
            monkeypatch.chdir("elsewhere")
        code, out, err = matloop("predict", "elsewhere/best" if here else "best", "1:2", "3:4", "--own-code")
        assert (code == 0 and out.count("\n") >= 3) if here else (code == 1 and "put its folder on PYTHONPATH" in err)


def test_what_is_neither_bundle_nor_campaign(matloop) -> None:
    Path("folder").mkdir()
    assert "expected a bundle, which has a card.json, or the results" in refused(matloop, "folder", "x")
    assert "there is no nothing.yaml" in refused(matloop, "nothing.yaml", "x")
    Path("folder/card.json").write_text("{", encoding="utf-8")
    assert "expected folder/card.json to be the card of a bundle" in refused(matloop, "folder", "x")
