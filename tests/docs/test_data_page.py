"""The page about data is followed word by word, with data as it describes them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from pymatgen.core import Lattice, Structure

from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.sources.registry import KINDS as SOURCES
from matloop.drivers.training.splits import KINDS as SPLITS
from matloop.orchestrator.cli import main as cli
from matloop.orchestrator.composition.build import check
from matloop.orchestrator.composition.config import load as load_campaign
from matloop.orchestrator.composition.drafting import DATA_TEMPLATES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^matloop .*", "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)), re.MULTILINE)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The page's folders and files, small."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)

    def picture(name, array):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / name)

    for i in range(20):
        picture(
            f"micrographs/{('bainite', 'martensite')[i % 2]}/{i:03}.png", rng.integers(0, 255, (8, 8), dtype=np.uint8)
        )
    for i in range(6):
        picture(f"superalloys/images/{i}.png", rng.integers(0, 255, (16, 16), dtype=np.uint8))
        picture(f"superalloys/masks/{i}.png", 255 * rng.integers(0, 2, (16, 16), dtype=np.uint8))
        (folder / "patterns" / ("fcc", "bcc")[i % 2]).mkdir(parents=True, exist_ok=True)
        for j in range(3):
            axis = np.linspace(20, 90, 20)
            np.savetxt(
                folder / "patterns" / ("fcc", "bcc")[i % 2] / f"p{i}{j}.xy", np.stack([axis, rng.random(20)], axis=1)
            )
    metals = ["Fe", "Ti", "Zr", "Mg", "Al", "Ca", "Sr", "Ba", "Ni", "Zn"]
    rows = [(f"{metal}{i}O", 300 * i, rng.normal()) for metal in metals for i in (1, 2)]
    pd.DataFrame(rows, columns=["formula", "temperature", "conductivity"]).to_csv(folder / "oxides.csv", index=False)
    (folder / "perovskites").mkdir()
    for i, metal in enumerate(metals):
        Structure(Lattice.cubic(4), [metal, "O"], [[0] * 3, [0.5] * 3]).to(str(folder / "perovskites" / f"s{i}.cif"))
    energies = {"file": [f"s{i}.cif" for i in range(10)], "energy": rng.normal(size=10)}
    pd.DataFrame(energies).to_csv(folder / "energies.csv", index=False)
    steels = {"furnace": ["air", "salt"] * 15, "C": rng.random(30), "strength": rng.normal(size=30)}
    pd.DataFrame(steels).to_csv(folder / "steels.csv", index=False)
    with pytest.importorskip("h5py").File(folder / "scans.h5", "w") as file:
        file["x"], file["y"] = rng.random((20, 1, 6, 6)), rng.normal(size=20)
    return folder


def matloop(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["matloop", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("command", [line for line in COMMANDS if " init " in line])
def test_the_commands_as_the_page_has_them(command, data, monkeypatch):
    """A campaign is drafted and valid; one of them is run, in a moment instead of ten minutes."""
    monkeypatch.chdir(data)
    assert matloop(monkeypatch, *command.split()[1:], "--minutes", "0.02") == 0
    file = command.split()[command.split().index("--output") + 1]
    assert f"matloop run {file}" in COMMANDS
    if "table" in command:
        text = Path(file).read_text().replace("kind: local ", "kind: serial")
        Path(file).write_text(text)
        assert matloop(monkeypatch, "run", file) == 0
    else:
        assert len(check(load_campaign(Path(file)))[0]) == 1


def test_the_page_names_every_template_source_and_split():
    assert {*re.findall(r"--template (\w+)", PAGE)} >= {*DATA_TEMPLATES}
    assert {*re.findall(r"kind: (\w+)", PAGE)} >= {"images", "npz", "study", "table"}
    for kind in ("npz", "HDF5", "Zarr"):
        assert kind in PAGE
    assert {*re.findall(r"^\| `(\w+)` \|", PAGE.split("## Which rows")[1], re.MULTILINE)} == {"kind", *SPLITS.kinds}
    assert len(SOURCES.kinds) == 10


def test_the_function_of_the_page(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "my_data.py").write_text(code)
    (tmp_path / "measured.csv").write_text("a,b,y\n" + "".join(f"{i},{2 * i},{i / 3}\n" for i in range(40)))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    (line,) = re.findall(r"`data: (\{kind: \"my_data:load\".*?\})`", PAGE)
    found = load(yaml.safe_load(line))
    assert found.x.shape == (20, 2) and found.groups[:4].tolist() == [0, 0, 1, 1]
    sys.modules.pop("my_data")
