"""The page on references lists every kind there is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from matloop.drivers.training.references.estimators import ESTIMATORS
from matloop.drivers.training.references.trained import NETWORKS
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import ReferenceConfig, load

PAGE = (Path(__file__).parents[2] / "docs" / "references.md").read_text(encoding="utf-8")


def test_the_table_has_every_kind_once() -> None:
    first = [row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| `")]
    named = re.findall(r"`([^`]+)`", "".join(first))
    assert sorted(named) == sorted([*ESTIMATORS, *NETWORKS, "module:factory", "module:Class"])


def test_campaigns_are_valid(tmp_path: Path) -> None:
    (tmp_path / "energies.csv").write_text(
        "formula,energy\n" + "".join(f"Na{i + 1}Cl{j + 1},{i - j}\n" for i in range(5) for j in range(5))
    )
    (tmp_path / "nets.py").write_text(
        "from torch import nn\ndef MyNet(input, outputs):\n    return nn.Linear(input[0], outputs)\n"
    )
    texts = re.findall(r"^```yaml\n(studies:\n.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(texts) == 2
    for text in texts:
        (tmp_path / "c.yaml").write_text(f"name: c\n{text}")
        studies, _ = validate(load(tmp_path / "c.yaml"))
        assert studies[-1].name.endswith("-references")


def test_every_key_is_explained() -> None:
    assert all(f"{key}:" in PAGE for key in ReferenceConfig.model_fields)
