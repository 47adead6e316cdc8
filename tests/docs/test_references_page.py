"""The page on references lists every kind there is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from matloop.drivers.training.references.estimators import ESTIMATORS
from matloop.drivers.training.references.trained import NETWORKS
from matloop.orchestrator.composition.config import ReferenceConfig

PAGE = (Path(__file__).parents[2] / "docs" / "references.md").read_text(encoding="utf-8")


def test_the_table_has_every_kind_once() -> None:
    first = [row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| `")]
    named = re.findall(r"`([^`]+)`", "".join(first))
    assert sorted(named) == sorted([*ESTIMATORS, *NETWORKS, "module:factory", "module:Class"])


def test_every_key_is_explained() -> None:
    assert all(f"{key}:" in PAGE for key in ReferenceConfig.model_fields)
